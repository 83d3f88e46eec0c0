"""Apple's and Intel's devices through the promises of the others; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedkit.backbones import FeatureRequest, devices, load_backbone
from embedkit.backbones.drift import drift_images, measure_drift
from embedkit.backbones.torch_engine import TorchEngine
from embedkit.errors import DeviceError

PIXELS = drift_images(224, 224)
OTHERS = [name for name in devices.available_devices() if name.startswith(("mps", "xpu"))]


def load(device, precision):
    return load_backbone(FeatureRequest("resnet18", "random", device=device, precision=precision, engine="torch"))


@pytest.mark.skipif(not OTHERS, reason="neither mps nor xpu")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_features_are_those_of_the_cpu(precision):
    for device in OTHERS:
        drift = measure_drift(load(device, precision)(PIXELS), load("cpu", "fp32")(PIXELS))
        assert drift.worst > (0.9999 if precision == "fp32" else 0.99)


def test_they_are_taken_when_they_are_named_and_never_by_auto(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 2)
    assert devices.available_devices() == ["cpu", "mps", "xpu:0", "xpu:1"]
    assert devices.resolve_device("auto") == "cpu"
    assert [devices.resolve_device(name) for name in ("mps", "xpu", "xpu:1")] == ["mps", "xpu:0", "xpu:1"]
    with pytest.raises(DeviceError, match="'xpu:2' is not available, there is cpu, mps, xpu:0, xpu:1"):
        devices.resolve_device("xpu:2")
    assert devices.available_precisions("mps") == ["fp32", "fp16"]
    assert "bf16" in devices.available_precisions("xpu:0")


def test_what_they_run_computes_the_same_on_a_cpu():
    engine = load("cpu", "fp32").runner.engine
    assert isinstance(engine, TorchEngine)
    with torch.inference_mode():
        elsewhere = engine._elsewhere(PIXELS[:4])
    np.testing.assert_array_equal(elsewhere, engine(PIXELS[:4]))
