"""What distill refuses, each in one line, and what it makes of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from embedkit import DistillSettings, FeatureRequest, distill, probe
from embedkit.errors import AdaptationError, EmbedkitError, EmptySourceError, LabelsError, UsageError
from embedkit.render import as_text
from tests.photos import make_folder, make_manifest, make_photo

TEACHER = "test_vit"
SHORT = DistillSettings(epochs=1, views=0, batch_size=8)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distill")
    make_manifest(folder / "photos", {"red": 6, "green": 6}, test=1)
    make_folder(folder / "one", {"ones": 9})
    (folder / "flat").mkdir()
    for number in range(8):
        make_photo(100 + number).save(folder / "flat" / f"{number}.png")
    (folder / "empty").mkdir()
    torch.manual_seed(5)
    safetensors.torch.save_file(timm.create_model(TEACHER, num_classes=0).state_dict(), folder / "vit.safetensors")
    return folder


def run(scene: Path, images: Any, student: Any = None, **options: Any) -> Any:
    small = FeatureRequest("test_resnet", "random", preprocess={"input_size": (64, 64)})
    asked = {"teacher": FeatureRequest(TEACHER, scene / "vit.safetensors"), "output": scene / "s.safetensors"}
    asked |= {"store": scene / "store", "settings": SHORT, "force": True} | options
    return distill(images, student or small, **asked)


@pytest.mark.parametrize(
    ("images", "options", "error", "said"),
    [
        ("flat", {"labels": True}, LabelsError, "no image of flat has one: name a column by --label-column"),
        ("one", {"labels": True}, LabelsError, "all labels say 'ones', and a class is learnt beside another"),
        ("photos/split.csv", {"labels": True, "label_column": "weight"}, LabelsError, "has labels of the kind 'value'"),
        ("empty", {}, EmptySourceError, "empty"),
        ("flat", {"teacher": None}, UsageError, "name one teacher"),
        (
            "flat",
            {"teacher": FeatureRequest(TEACHER, "random")},
            UsageError,
            "random weights, and nothing to teach",
        ),
        ("flat", {"student": "test_vit"}, UsageError, "student and teacher are both test_vit"),
        (
            "flat",
            {"wider": "mobilenetv2_100", "student": FeatureRequest("lcnet_050", "s.pth")},
            UsageError,
            "leave one",
        ),
        ("flat", {"output": "s.pth"}, UsageError, "s.pth ends in '.pth', expected .safetensors"),
        ("flat", {"model_output": "m.skops"}, UsageError, "a model file is of a classifier"),
        ("flat", {"evaluate": ["flat"]}, LabelsError, "has labels of the kind 'none'"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    scene: Path, images: str, options: dict[str, Any], error: type[EmbedkitError], said: str
) -> None:
    if "evaluate" in options:
        options = {"evaluate": [scene / "flat"]}
    with pytest.raises(error) as raised:
        run(scene, scene / images, **options)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_only_tested_images_are_none(scene: Path) -> None:
    with pytest.raises(EmptySourceError, match="no image is left to train on in photos"):
        run(scene, scene / "photos" / "split.csv", evaluate=_all_tested(scene))


def _all_tested(scene: Path) -> Path:
    manifest = scene / "photos" / "all.csv"
    lines = (scene / "photos" / "split.csv").read_text().replace(",train,", ",test,").replace(",val,", ",test,")
    manifest.write_text(lines)
    return manifest


def test_images_with_and_without_labels_are_taught_together(scene: Path) -> None:
    (scene / "broken").mkdir()
    (scene / "broken" / "no.png").write_bytes(b"not an image")
    sources = [scene / "photos" / "split.csv", scene / "flat", scene / "broken"]
    result = run(scene, sources, labels=True)
    assert (result.images, result.labelled, result.task) == (10 + 8, 10, "labels")
    assert [one.key for one in result.skipped] == ["broken/no.png"]
    plain = run(scene, sources)
    assert result.losses[0] > plain.losses[0]  # by the cross-entropy of the labels
    assert np.isfinite(result.losses).all()
    assert result.teacher_passes == 18
    assert plain.teacher_passes == 0


def test_a_student_is_judged_beside_its_untaught_start(scene: Path) -> None:
    torch.manual_seed(7)
    weights = scene / "resnet.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), weights)
    start = FeatureRequest(
        "test_resnet", weights, preprocess={"input_size": (64, 64)}, precision="fp32", engine="torch"
    )
    photos = scene / "photos" / "split.csv"
    result = run(scene, photos, start, evaluate=photos)
    [judged] = result.judged
    alone = probe(photos, start, estimator="logistic", floors=False, store=scene / "store")
    assert judged.start == alone.results[0].value
    gain = judged.teacher - judged.pixels
    assert judged.start_retained == ((judged.start - judged.pixels) / gain if gain > 0 else None)
    assert 0 <= judged.start_p <= 1
    text = as_text(result)
    assert "start  retained by it  random weights" in text
    # Two tested photos are too few for a p below 0.05.
    assert "photos: not significantly better than its start (p " in text
    assert not list((scene / "store" / "memo").glob("distill-*"))
    assert "start" not in as_text(run(scene, photos, evaluate=photos)).split("student", 2)[2]


def test_a_student_starts_as_a_part_of_a_wider_network(scene: Path) -> None:
    torch.manual_seed(8)
    weights = scene / "wide.safetensors"
    safetensors.torch.save_file(timm.create_model("mobilenetv2_050", num_classes=0).state_dict(), weights)
    small = FeatureRequest("mobilenetv2_035", "random", preprocess={"input_size": (64, 64)})
    photos = scene / "photos" / "split.csv"
    result = run(scene, photos, small, wider=FeatureRequest("mobilenetv2_050", weights), evaluate=photos)
    assert result.start == "a part of mobilenetv2_050"
    assert result.judged[0].start is not None
    with pytest.raises(AdaptationError, match="mobilenetv2_035 cannot start from test_resnet: .* name a wider network"):
        run(scene, photos, small, wider=FeatureRequest("test_resnet", "random"))
