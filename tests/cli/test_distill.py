"""distill, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from embedkit import load_model, load_result
from tests.photos import make_folder, make_manifest

TEACHER = ("--teacher", "test_vit=vit.safetensors")
SMALL = ("--student", "test_resnet", "--input-size", "64", "--epochs", "2", "--views", "1", "--batch-size", "8")
OUT = ("--weights-output", "small.safetensors", "--store", "store")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_manifest(tmp_path / "photos", {"red": 10, "green": 10, "blue": 10}, test=3)
    make_folder(
        tmp_path / "plain", {"ones": 14}
    )  # the first ten are the red ones of photos, three of them tested there
    torch.manual_seed(5)
    tensors = timm.create_model("test_vit", num_classes=0).state_dict()
    safetensors.torch.save_file(tensors, tmp_path / "vit.safetensors")
    return tmp_path


def test_a_student_its_card_and_its_weights(cli, photos):
    asked = ("distill", *TEACHER, *SMALL, "--images", "photos/split.csv", "plain", "--evaluate", "photos/split.csv")
    ran = cli(*asked, *OUT, "-o", "card.json", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert (said["images"], said["views"], said["batch_size"]) == (21 + 4, 1, 8)
    assert said["teacher_passes"] == 2 * said["images"]
    assert said["student_passes"] == 2 * 24
    assert said["output"] == "small.safetensors"
    assert said["parameters"] == sum(
        one.numel() for one in timm.create_model("test_resnet", num_classes=0).parameters()
    )
    [judged] = said["judged"]
    gain = judged["teacher"] - judged["pixels"]
    expected = (judged["student"] - judged["pixels"]) / gain if gain > 0 else None
    assert said["retained"] == {"photos": expected} == {"photos": judged["retained"]}
    assert judged["n_test"] == 9
    assert said["licences"]["test_vit"].startswith("of a file, unknown")
    assert "photos: 9 images of the test split are not trained on" in ran.err
    assert "plain: 3 images are tested by the evaluation, and not trained on" in ran.err
    assert "the student is wider than the teacher: 96 features" in ran.err

    shown = cli("report", "card.json", "-o", "page.html")
    assert shown.code == 0, shown.err
    assert "started from random weights" in (photos / "page.html").read_text("utf-8")
    assert load_result(photos / "card.json").card == said["card"]

    second = cli(*asked, "--seed", "0", "--weights-output", "other.safetensors", "--store", "store", "--rate", "1e-3")
    assert second.code == 0, second.err
    assert "teacher passes  0 in this run" in second.out

    exact = ("--precision", "fp32", "--engine", "torch", "--input-size", "64", "-o", "s.h5")
    ran = cli("extract", "photos/split.csv", "--model", "test_resnet", "--weights", "small.safetensors", *exact)
    assert ran.code == 0, ran.err
    probed = cli("probe", "s.h5", "--estimator", "logistic", "--no-floors", "--json")
    assert json.loads(probed.out)["results"][0]["value"] == judged["student"]


def test_a_classifier_is_distilled_into_a_model_file_and_exported(cli, photos):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    own = ("--model", "test_vit", "--weights", "vit.safetensors", "--store", "store")
    ran = cli("fit", "photos/split.csv", *own, "-o", "model.skops")
    assert ran.code == 0, ran.err
    ran = cli(
        "distill", "--student-task", "model.skops", *SMALL, "--images", "photos/split.csv", *OUT,
        "--model-output", "small.skops", "--evaluate", "photos/split.csv", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    [agreed] = said["agreed"]
    assert agreed["n_test"] == 9
    model = load_model(photos / "small.skops")
    assert model.classes == ["blue", "green", "red"]
    ran = cli("predict", "small.skops", "photos/split.csv", "--json", "--store", "store")
    assert ran.code == 0, ran.err
    named = {one["path"]: one["predicted"] for one in json.loads(ran.out)["predictions"]}
    tested = [line.split(",") for line in (photos / "photos/split.csv").read_text().split() if ",test," in line]
    right = np.mean([named[path] == label for path, label, *_ in tested])
    assert agreed["student"] == pytest.approx(right)
    names = timm.create_model("test_resnet", num_classes=0).state_dict().keys()
    assert safetensors.torch.load_file(photos / "small.safetensors").keys() == names  # the projection is not among them
    ran = cli("export", "small.skops", "-o", "small.onnx")
    assert ran.code == 0, ran.err
    assert (photos / "small.onnx").is_file()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((*TEACHER, "--student", "test_vit", "--images", "plain"), 1, "student and teacher are both test_vit"),
        ((*TEACHER, "--student", "test_resnet"), 2, "no images are named"),
        (("--student", "test_resnet", "--images", "plain"), 1, "name one teacher"),
    ],
)
def test_bad_input(cli, photos, options, code, said):
    ran = cli("distill", *options, *OUT)
    assert ran.code == code, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err
