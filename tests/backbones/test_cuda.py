"""The CUDA path through the same promises; skipped where there is no NVIDIA GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embedkit.backbones import Backbone, FeatureRequest, PreprocessOverrides, load_backbone
from embedkit.backbones.drift import drift_images, measure_drift
from embedkit.errors import DeviceError
from embedkit.extraction import run
from embedkit.images import open_source
from embedkit.store import FeatureStore
from tests.photos import make_folder

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU"),
]

NAMES = ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_100"]
PIXELS = drift_images(224, 224)


def load(name: str, precision: Any, device: str = "cuda", batch_size: int | None = None, **fields: Any) -> Backbone:
    request = FeatureRequest(name, "random", device=device, precision=precision, engine="torch", **fields)
    return load_backbone(request, batch_size=batch_size)


@pytest.mark.parametrize("name", NAMES)
def test_fp32_is_the_cpus_fp32(name: str) -> None:
    cpu, cuda = load(name, "fp32", "cpu")(PIXELS), load(name, "fp32")(PIXELS)
    drift = measure_drift(cuda, cpu)
    assert drift.worst > 0.99999
    np.testing.assert_allclose(cuda, cpu, atol=1e-4 * np.abs(cpu).max())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", NAMES)
def test_lower_precisions_stay_close(name: str, precision: str) -> None:
    drift = measure_drift(load(name, precision)(PIXELS), load(name, "fp32")(PIXELS))
    assert drift.worst > 0.98, drift


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_features_of_an_image_do_not_depend_on_its_batch(name: str, precision: str) -> None:
    backbone = load(name, precision, batch_size=16)
    expected = backbone(PIXELS)
    order = np.random.default_rng(0).permutation(32)
    np.testing.assert_array_equal(backbone(PIXELS[order]), expected[order])
    np.testing.assert_array_equal(backbone(PIXELS[5:6])[0], expected[5])


def test_threads_get_what_one_thread_gets() -> None:
    backbone = load("resnet18", "bf16", batch_size=8)
    expected = backbone(PIXELS)
    with ThreadPoolExecutor(3) as executor:
        for _ in range(5):
            parts = list(executor.map(lambda start: backbone(PIXELS[start : start + 8]), range(0, 32, 8)))
            np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_auto_takes_a_lower_precision_and_says_why() -> None:
    backbone = load_backbone(FeatureRequest("resnet18", "random"), expected_images=10_000)
    assert backbone.device == "cuda:0"
    assert backbone.spec.precision in ("bf16", "fp16")
    assert backbone.drift is not None
    assert backbone.drift >= 0.99
    assert load_backbone(FeatureRequest("resnet18", "random"), expected_images=10).spec.precision == "fp32"


def test_openvino_is_for_cpus() -> None:
    with pytest.raises(DeviceError, match="runs on the CPU only"):
        load_backbone(FeatureRequest("resnet18", "random", engine="openvino"))


def test_a_run_gives_the_features_of_the_cpu_from_pinned_batches(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path / "photos", {"red": 30, "green": 21}))
    rows: list[NDArray[np.float32]] = []
    for device in ("cpu", "cuda"):
        backbone = load("resnet18", "fp32", device, batch_size=4)
        assert torch.from_numpy(backbone.new_pixels(2)).is_pinned() == (device == "cuda")
        request = FeatureRequest("resnet18", "random", device=device, precision="fp32", engine="torch")
        done = run(source, request, FeatureStore(tmp_path / device), backbone=backbone)
        assert done.forward_passes == 51
        rows.append(done.features.get(done.digests))
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-4 * np.abs(rows[0]).max())


def test_running_out_of_memory_halves_the_batch(caplog: pytest.LogCaptureFixture) -> None:
    small = PreprocessOverrides(input_size=(512, 512))
    backbone = load("resnet18", "fp32", batch_size=64, preprocess=small)
    pixels = np.zeros((64, 512, 512, 3), np.uint8).transpose(0, 3, 1, 2)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(1.5e9 / total)
    try:
        features = backbone(pixels)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert features.shape == (64, 512)
    assert backbone.batch_size < 64
    assert "the batch size is now" in caplog.text
