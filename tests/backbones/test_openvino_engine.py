from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from embedkit.backbones import Backbone, FeatureRequest, PreprocessOverrides, load_backbone
from embedkit.backbones.drift import drift_images, measure_drift
from embedkit.errors import DeviceError

pytest.importorskip("openvino", reason="the extra 'fast' is not installed")

SMALL = PreprocessOverrides(input_size=(64, 64))
PIXELS = drift_images(64, 64)


def load(name: str, engine: Any, precision: Any) -> Backbone:
    arguments: Any = {"depth": 2} if name.startswith("vit") else {}
    return load_backbone(
        FeatureRequest(name, "random", arguments, engine=engine, precision=precision, preprocess=SMALL)
    )


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224"])
def test_openvino_computes_what_torch_computes(name: str) -> None:
    from embedkit.backbones.openvino_engine import available_precisions

    reference = load(name, "torch", "fp32")(PIXELS)
    exact = load(name, "openvino", "fp32")
    assert (exact.spec.engine, exact.spec.precision) == ("openvino", "fp32")
    features = exact(PIXELS)
    assert measure_drift(features, reference).worst > 0.99999
    if "bf16" in available_precisions():
        lower = load(name, "openvino", "bf16")(PIXELS)
        assert measure_drift(lower, reference).acceptable
        assert not np.array_equal(lower, features)
    np.testing.assert_allclose(exact(PIXELS[:3]), features[:3], atol=1e-5 * np.abs(features).max())
    with ThreadPoolExecutor(3) as executor:
        parts = list(executor.map(lambda start: exact(PIXELS[start : start + 8]), range(0, 32, 8)))
    np.testing.assert_allclose(np.concatenate(parts), features, atol=1e-5 * np.abs(features).max())
    assert "openvino" in exact.provenance


def test_openvino_by_name_with_its_precision_left_open() -> None:
    backbone = load("resnet10t", "openvino", "auto")
    assert backbone.spec.engine == "openvino"
    assert backbone.drift is not None
    assert backbone.drift >= 0.99


def test_precisions_that_openvino_does_not_have() -> None:
    with pytest.raises(DeviceError, match="not available with openvino on this CPU, there is fp32"):
        load("resnet10t", "openvino", "fp16")


def test_the_converter_sends_no_telemetry():
    code = (
        "import torch, timm; from embedkit.backbones import FeatureRequest, load_backbone;"
        "load_backbone(FeatureRequest('test_resnet', weights='random', engine='openvino', precision='fp32'));"
        "import sys; print(sys.modules['openvino_telemetry'], 'openvino.tools.ovc.telemetry_stub' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "True"]
