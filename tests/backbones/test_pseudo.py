from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from embedkit.backbones import FeatureRequest, PreprocessOverrides, load_backbone
from embedkit.errors import DeviceError, UsageError
from embedkit.preprocess import Preprocessor

IMAGE = np.random.default_rng(4).integers(0, 256, (90, 60, 3), dtype=np.uint8)


def test_pixels32_is_the_image_itself() -> None:
    backbone = load_backbone(FeatureRequest("pixels32"))
    pixels = Preprocessor(backbone.preprocess)(IMAGE)[None]
    features = backbone(pixels)
    assert (features.dtype, features.shape, backbone.spec.width) == (np.float32, (1, 3072), 3072)
    np.testing.assert_array_equal(features.reshape(3, 32, 32), pixels[0].astype(np.float32) / 255)
    assert np.abs(features.reshape(3, -1).mean(1) - IMAGE.mean((0, 1)) / 255).max() < 0.01


def test_the_histogram_counts_colours() -> None:
    backbone = load_backbone(FeatureRequest("colour-histogram"))
    height, width = backbone.preprocess.input_size
    pixels = np.zeros((2, 3, height, width), np.uint8)
    pixels[0, :, :, : width // 4] = np.array([255, 32, 0])[:, None, None]
    features = backbone(pixels)
    assert features.shape == (2, 512)
    assert features[0].nonzero()[0].tolist() == [0, 7 * 64 + 1 * 8]
    np.testing.assert_allclose(features[0, [0, 456]], [0.75, 0.25])
    assert features[1].nonzero()[0].tolist() == [0]
    rest = backbone(np.random.default_rng(0).integers(0, 256, (300, 3, height, width), dtype=np.uint8))
    np.testing.assert_allclose(rest.sum(1), 1, atol=1e-5)
    assert (rest[0] != rest[1]).any()


@pytest.mark.parametrize("name", ["pixels32", "colour-histogram"])
def test_pseudo_backbones_describe_themselves(name: str) -> None:
    backbone = load_backbone(FeatureRequest(name, weights="random"))
    assert backbone.spec.architecture == name
    assert backbone.spec.weights == "none"
    assert backbone.module is None
    assert backbone.weights_files == ()
    assert backbone.device == "cpu"
    assert backbone.preprocess.resize == "exact"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"layer": 1}, UsageError),
        ({"pool": "avg"}, UsageError),
        ({"model_args": {"depth": 3}}, UsageError),
        ({"preprocess": PreprocessOverrides(crop_pct=0.5)}, UsageError),
        ({"device": "cuda"}, DeviceError),
        ({"precision": "bf16"}, DeviceError),
        ({"engine": "openvino"}, DeviceError),
    ],
)
def test_what_only_a_network_has_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="pixels32"):
        load_backbone(FeatureRequest("pixels32", **fields))
