"""Features are timm's own, with controls that show that the comparison can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import timm
import timm.data
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from embedkit.backbones import FeatureRequest, load_backbone
from embedkit.backbones.drift import centred_cosines
from tests.backbones.scenes import features_by_timm, pictures, pixels_for, timm_model

ARCHITECTURES = ["resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_100"]
REAL = ["vit_tiny_patch16_224", "mobilenetv2_100"]
Resize = Literal["exact", "fast"]


def check(got: NDArray[np.float32], expected: NDArray[np.float32], exchanged: NDArray[np.float32]) -> None:
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    assert centred_cosines(got, expected).min() >= 0.9999
    assert centred_cosines(np.roll(got, 1, axis=0), expected).max() < 0.9999, "shuffled rows must not pass"
    assert centred_cosines(exchanged, expected).min() < 0.9999, "red and blue exchanged must not pass"


@pytest.mark.parametrize("resize", ["exact", "fast"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_random_weights(name: str, resize: Resize) -> None:
    images = pictures(8)
    backbone = load_backbone(FeatureRequest(name, "random", precision="fp32", engine="torch", resize=resize))
    pixels = pixels_for(backbone, images)
    expected = features_by_timm(timm_model(name), images)
    check(backbone(pixels), expected, backbone(pixels[:, ::-1]))


def test_random_weights_that_magnify_single_grey_levels() -> None:
    """mobilenetv2 at random turns one level in one of 250 pixels into 0.9998: exact pixels must bring it back."""
    images = pictures(8)
    backbone = load_backbone(
        FeatureRequest("mobilenetv2_100", "random", precision="fp32", engine="torch", resize="exact")
    )
    pixels = pixels_for(backbone, images)
    check(backbone(pixels), features_by_timm(timm_model("mobilenetv2_100"), images), backbone(pixels[:, ::-1]))


@pytest.mark.parametrize("resize", ["exact", "fast"])
@pytest.mark.parametrize("name", REAL)
def test_real_weights(name: str, resize: Resize, assets: Path) -> None:
    file = assets / "weights" / f"{name}.safetensors"
    images = photos(assets)
    backbone = load_backbone(FeatureRequest(name, str(file), precision="fp32", engine="torch", resize=resize))
    anything: Any = timm
    model = anything.create_model(name, num_classes=1000)
    model.load_state_dict(load_file(file), strict=True)
    model.reset_classifier(0)
    pixels = pixels_for(backbone, images)
    check(backbone(pixels), features_by_timm(model, images), backbone(pixels[:, ::-1]))


@pytest.mark.parametrize("resize", ["exact", "fast"])
@pytest.mark.parametrize("name", REAL)
def test_the_recorded_features_of_real_weights(name: str, resize: Resize, assets: Path) -> None:
    recorded = np.load(assets / "weights" / "reference_outputs.npz")
    folder = assets / "data" / "imagenet_sample"
    images = [np.asarray(Image.open(folder / str(path)).convert("RGB")) for path in recorded["path"]]
    file = assets / "weights" / f"{name}.safetensors"
    backbone = load_backbone(FeatureRequest(name, str(file), precision="fp32", engine="torch", resize=resize))
    pixels = pixels_for(backbone, images)
    check(backbone(pixels), recorded[f"{name}/features"], backbone(pixels[:, ::-1]))


def test_normalisation_is_totensor_and_normalize_to_rounding() -> None:
    backbone = load_backbone(FeatureRequest("resnet10t", "random", precision="fp32", engine="torch"))
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 1, 3).transpose(2, 0, 1)
    anything: Any = timm.data
    transform = anything.create_transform(
        input_size=(3, 256, 1), crop_pct=1.0, mean=backbone.preprocess.mean, std=backbone.preprocess.std
    )
    expected = transform(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))).numpy()
    module = backbone.module
    got = ((torch.from_numpy(pixels.copy())[None].float() - module.shift) / module.scale)[0].numpy()
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=5e-7)


def photos(assets: Path) -> list[NDArray[np.uint8]]:
    """Twelve photos of groceries, which are larger than the networks' input."""
    folder = assets / "data" / "grocery"
    files = sorted(file for file in folder.glob("*/*.jpg"))[:: 1518 // 12][:12]
    assert len(files) == 12
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]
