"""distill, as a person types it; what it leaves behind is looked at from Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from embedkit import FeatureRequest, export_model, fit, load_model, load_result, predict, probe, write_page
from embedkit.render import as_text
from tests.photos import make_folder, make_manifest

TEACHER = ("--teacher", "test_vit=vit.safetensors")
SMALL = ("--student", "test_resnet", "--input-size", "64", "--epochs", "2", "--views", "1", "--batch-size", "8")
OUT = ("--weights-output", "small.safetensors", "--store", "store")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_manifest(tmp_path / "photos", {"red": 10, "green": 10, "blue": 10}, test=3)
    make_folder(tmp_path / "plain", {"ones": 14})  # ten are the red ones of photos, three of them tested there
    torch.manual_seed(5)
    tensors = timm.create_model("test_vit", num_classes=0).state_dict()
    safetensors.torch.save_file(tensors, tmp_path / "vit.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def student() -> FeatureRequest:
    size = {"input_size": (64, 64)}
    return FeatureRequest("test_resnet", "small.safetensors", preprocess=size, precision="fp32", engine="torch")


def test_a_student_its_card_and_its_weights(cli, photos):
    asked = ("distill", *TEACHER, *SMALL, "--images", "photos/split.csv", "plain", "--evaluate", "photos/split.csv")
    ran = cli(*asked, *OUT, "-o", "card.json")
    assert ran.code == 0, ran.err
    result = load_result("card.json")
    assert as_text(result) == ran.out.rstrip("\n")
    assert (result.images, result.views, result.batch_size) == (21 + 4, 1, 8)
    assert (result.teacher_passes, result.student_passes) == (2 * 25, 2 * 24)
    network = timm.create_model("test_resnet", num_classes=0)
    assert result.parameters == sum(one.numel() for one in network.parameters())
    # The projection is not among what is written.
    assert safetensors.torch.load_file("small.safetensors").keys() == network.state_dict().keys()
    [judged] = result.judged
    gain = judged.teacher - judged.pixels
    assert result.retained == {"photos": (judged.student - judged.pixels) / gain if gain > 0 else None}
    assert judged.n_test == 9
    assert judged.trained_on
    assert result.licences == {"test_vit": "of a file, unknown (apache-2.0 are timm's own)"}
    assert "photos: 9 images of the test split are not trained on" in ran.err
    assert "plain: 3 images are tested by the evaluation, and not trained on" in ran.err
    assert "the student is wider than the teacher: 96 features" in ran.err
    report = probe("photos/split.csv", student(), estimator="logistic", floors=False, store="store")
    assert report.results[0].value == judged.student
    write_page(result, "page.html", store="store")
    assert "test_resnet, started from random weights" in Path("page.html").read_text("utf-8")


def test_a_classifier_is_distilled_into_a_model_file_and_exported(cli, photos):
    fit("photos/split.csv", FeatureRequest("test_vit", "vit.safetensors"), output="model.skops", store="store")
    ran = cli(
        "distill", "--student-task", "model.skops", *SMALL, "--images", "photos/split.csv", *OUT,
        "--model-output", "small.skops", "--evaluate", "photos/split.csv", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    [agreed] = json.loads(ran.out)["agreed"]
    model = load_model("small.skops")
    assert model.classes == ["blue", "green", "red"]
    split = [line.split(",") for line in Path("photos/split.csv").read_text().split()]
    tested = {path: label for path, label, part, *_ in split if part == "test"}
    right: dict[str, list[bool]] = {}
    for name in ("small.skops", "model.skops"):
        named = {one.path: one.predicted for one in predict(name, "photos/split.csv", store="store").predictions}
        right[name] = [named[path] == label for path, label in tested.items()]
    assert agreed["n_test"] == 9
    assert (agreed["student"], agreed["teacher"]) == tuple(pytest.approx(np.mean(one)) for one in right.values())
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    exported = export_model("small.skops", "small.onnx")  # which compares it with the model file
    assert exported.classes == ["blue", "green", "red"]


def test_bad_input_is_a_line(cli, photos):
    ran = cli("distill", *TEACHER, "--student", "test_vit", "--images", "plain", *OUT)
    assert ran.code == 1
    assert ran.err.startswith("embedkit: error: student and teacher are both test_vit")
    assert len(ran.err.splitlines()) == 1
