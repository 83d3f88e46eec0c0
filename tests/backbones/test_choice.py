"""What `auto` decides, with engines whose pace and drift are made up, and with real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedkit.backbones import FeatureRequest, PreprocessOverrides, choice, load_backbone
from embedkit.backbones.choice import Wanted, choose_engine
from embedkit.backbones.conversions import Conversion
from embedkit.backbones.drift import drift_images
from embedkit.backbones.features import FrozenFeatures, Tap
from embedkit.errors import DeviceError, DriftError, MissingExtraError


class Workshop:
    """Engines that take as long as told, on a clock of their own, and stray as far as told."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.seconds = {("torch", "fp32"): 0.1, ("torch", "bf16"): 0.04, ("openvino", "bf16"): 0.02}
        self.noise: dict[tuple[str, str], float] = {}
        self.runs: dict[tuple[str, str], int] = {}
        self.conversions = 0

    def engine(self, name: str, precision: str) -> Any:
        def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            key = name, precision
            self.clock += self.seconds.get(key, 0.1) * len(pixels)
            self.runs[key] = self.runs.get(key, 0) + len(pixels)
            features = pixels[:, :, :8, 0].reshape(len(pixels), -1).astype(np.float32)
            return features + self.noise.get(key, 0.0) * np.random.default_rng(0).standard_normal(features.shape)

        return run


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch) -> Workshop:
    shop = Workshop()
    monkeypatch.setattr(choice, "TorchEngine", lambda _module, _device, precision: shop.engine("torch", precision))
    monkeypatch.setattr(choice.time, "perf_counter", lambda: shop.clock)
    monkeypatch.setattr(choice, "available_cores", lambda: 1)

    def convert(module: Any, height: int, width: int, conversion: Any = None) -> Any:
        shop.conversions += not (conversion is not None and conversion.is_kept())
        return module

    openvino = choice.openvino
    monkeypatch.setattr(openvino, "is_installed", lambda: True)
    monkeypatch.setattr(openvino, "available_precisions", lambda: ["fp32", "bf16"])
    monkeypatch.setattr(openvino, "convert", convert)
    monkeypatch.setattr(openvino, "OpenVinoEngine", lambda _converted, precision: shop.engine("openvino", precision))
    return shop


def decide(
    images: int | None = 10_000, engine: Any = "auto", precision: Any = "auto", conversion: Conversion | None = None
) -> Any:
    wanted = Wanted(
        engine=engine,
        precision=precision,
        device="cpu",
        expected_images=images,
        input_size=(16, 16),
        conversion=conversion,
    )
    module: Any = nn.Identity()
    found = choose_engine(module, wanted)
    return found.name, found.precision, found


def test_the_fastest_within_the_bound(workshop: Workshop) -> None:
    name, precision, found = decide()
    assert (name, precision) == ("openvino", "bf16")
    assert found.drift.worst == 1
    for words in ("torch fp32 100 ms an image", "torch bf16 40 ms an image (drift worst 1.0000", "openvino bf16 20 ms"):
        assert words in found.reason
    assert max(workshop.runs.values()) == 32 + 4, "the drift images are all that is run, besides a batch to warm up"


def test_few_images_are_computed_at_once(workshop: Workshop) -> None:
    name, precision, found = decide(images=50)
    assert (name, precision, found.drift) == ("torch", "fp32", None)
    assert "50 images" in found.reason
    assert workshop.runs == {}


def test_a_conversion_must_pay(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert decide(images=500)[:2] == ("torch", "bf16")
    assert workshop.conversions == 0
    assert decide(images=None)[:2] == ("openvino", "bf16"), "1000 images at 40 ms"
    assert workshop.conversions == 1
    monkeypatch.setattr(choice, "available_cores", lambda: 2)
    assert decide(images=1000)[:2] == ("torch", "bf16"), "20 s on two cores"
    assert workshop.conversions == 1


def test_a_network_that_was_converted_before_pays_for_a_few_hundred_images(workshop: Workshop, tmp_path: Path) -> None:
    conversion = Conversion(tmp_path, {"weights": "a"})
    assert decide(images=300, conversion=conversion)[:2] == ("torch", "bf16")
    conversion.keep(b"<xml>", b"w")
    assert decide(images=300, conversion=conversion)[:2] == ("openvino", "bf16")
    assert workshop.conversions == 0
    assert decide(images=100, conversion=conversion)[:2] == ("torch", "fp32"), "too few to look for anything"


def test_what_strays_is_not_chosen(workshop: Workshop) -> None:
    workshop.noise = {("torch", "bf16"): 60.0, ("openvino", "bf16"): 60.0}
    workshop.seconds["openvino", "fp32"] = 0.05
    name, precision, found = decide()
    assert (name, precision, found.drift.worst) == ("openvino", "fp32", 1)
    assert "torch bf16 40 ms an image (drift worst 0.3" in found.reason


def test_what_is_hardly_faster_is_not_chosen(workshop: Workshop) -> None:
    workshop.seconds = {("torch", "bf16"): 0.095, ("openvino", "bf16"): 0.092}
    assert decide()[:2] == ("torch", "fp32")


def test_features_that_are_not_finite_are_not_chosen(workshop: Workshop) -> None:
    workshop.noise = {("torch", "bf16"): float("nan"), ("openvino", "bf16"): float("inf")}
    with np.errstate(invalid="ignore"):
        assert decide()[:2] == ("torch", "fp32")


def test_what_is_named_is_honoured(workshop: Workshop) -> None:
    workshop.noise = {("torch", "bf16"): 60.0}
    assert decide(engine="torch", precision="bf16")[:2] == ("torch", "bf16")
    assert workshop.runs == {}, "and not measured"
    assert decide(engine="torch")[:2] == ("torch", "fp32")
    workshop.noise = {}
    assert decide(engine="torch")[:2] == ("torch", "bf16")
    assert decide(precision="fp32")[:2] == ("torch", "fp32")
    assert decide(precision="bf16")[:2] == ("openvino", "bf16")
    assert decide(precision="bf16", images=10)[:2] == ("torch", "bf16")
    assert decide(engine="openvino", images=10)[:2] == ("openvino", "bf16")


def test_a_named_engine_that_computes_something_else(workshop: Workshop) -> None:
    workshop.noise = {("openvino", "bf16"): 60.0, ("openvino", "fp32"): 60.0}
    with pytest.raises(DriftError, match="other features than fp32 torch.*use engine='torch'"):
        decide(engine="openvino")
    assert decide()[:2] == ("torch", "bf16"), "auto passes it over"


def test_an_engine_that_cannot_convert_is_passed_over(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise DeviceError("OpenVINO cannot convert it")

    monkeypatch.setattr(choice.openvino, "convert", refuse)
    assert decide()[:2] == ("torch", "bf16")
    with pytest.raises(DeviceError, match="cannot convert"):
        decide(engine="openvino")


def test_an_engine_that_is_not_installed(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice.openvino, "is_installed", lambda: False)
    name, precision, found = decide()
    assert (name, precision) == ("torch", "bf16")
    assert "pip install openvino" in found.reason


def test_a_named_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install openvino"):
        load_backbone(FeatureRequest("resnet10t", "random", engine="openvino"))


class Brittle(nn.Module):
    """Adds and takes away a thousand: in fp32 nothing is lost, in bf16 nearly everything."""

    def forward(self, images: Tensor) -> Tensor:
        means = images[:, :, :8, :8].reshape(len(images), -1)
        return (means + 1000) - 1000


@pytest.mark.parametrize("expected_images", [200, 100_000])
def test_real_engines_refuse_a_precision_that_loses_the_signal(expected_images: int) -> None:
    module = FrozenFeatures(Brittle(), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), taps=[Tap()])
    wanted = Wanted(
        engine="torch", precision="auto", device="cpu", expected_images=expected_images, input_size=(16, 16)
    )
    found = choose_engine(module, wanted)
    assert (found.name, found.precision, found.drift) == ("torch", "fp32", None)
    assert "torch bf16" in found.reason


def test_auto_on_a_real_model_says_what_it_measured() -> None:
    small = PreprocessOverrides(input_size=(64, 64))
    backbone = load_backbone(FeatureRequest("resnet10t", "random", preprocess=small, engine="torch"))
    assert backbone.choice.startswith(f"torch in {backbone.spec.precision}: torch fp32 ")
    assert "torch bf16" in backbone.choice
    if backbone.spec.precision == "bf16":
        assert backbone.drift is not None
        assert backbone.drift >= 0.99
        assert backbone.module.dtype == torch.bfloat16
    features = backbone(drift_images(64, 64))
    fp32 = load_backbone(FeatureRequest("resnet10t", "random", preprocess=small, engine="torch", precision="fp32"))
    np.testing.assert_allclose(features, fp32(drift_images(64, 64)), atol=0.05 * np.abs(features).max())
