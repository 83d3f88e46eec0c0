from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from embedkit.backbones.features import FrozenFeatures, Tap
from embedkit.backbones.folding import fold_batch_norms
from tests.backbones.scenes import timm_model


def uneasy(model: nn.Module) -> nn.Module:
    """Give batch norms statistics as training does: folding them wrongly must show."""
    generator = torch.Generator().manual_seed(5)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.copy_(torch.randn(part.num_features, generator=generator) * 0.3)
            part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
            part.weight.data.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
            part.bias.data.copy_(torch.randn(part.num_features, generator=generator) * 0.3)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())


@pytest.mark.parametrize(
    ("name", "all_follow_convolutions"),
    [("resnet10t", True), ("mobilenetv3_small_100", True), ("mobilenetv2_050", True), ("densenet121", False)],
)
def test_folding_leaves_the_function_alone(name: str, all_follow_convolutions: bool) -> None:
    model = uneasy(timm_model(name))
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images)
        before = norms(model)
        folded = fold_batch_norms(model, torch.rand(1, 3, 96, 96))
        assert folded > 0
        assert norms(model) == before - folded
        assert (norms(model) == 0) == all_follow_convolutions
        got = model(images)
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_network_that_runs_several_times_is_folded_too() -> None:
    """Taps of several kinds each take a pass of their own, so that every part is called more than once."""
    taps = [Tap(), Tap(None, "avg"), Tap(1, "max")]
    module = FrozenFeatures(uneasy(timm_model("resnet10t")), mean=(0.5,) * 3, std=(0.2,) * 3, taps=taps)
    pixels = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = module(pixels)
        assert fold_batch_norms(module, pixels[:1]) == 14
        assert (module(pixels) - expected).abs().max() <= 1e-4 * expected.abs().max()


class SharedOutput(nn.Module):
    """The convolution's output is used beside the batch norm: folding would change it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        raw = self.conv(images)
        return (raw + self.norm(raw)).mean((2, 3))


class CalledTwice(nn.Module):
    """One convolution serves two batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.conv(self.first(self.conv(images)))).mean((2, 3))


@pytest.mark.parametrize("kind", [SharedOutput, CalledTwice])
def test_what_cannot_be_folded_stays_as_it_was(kind: Any) -> None:
    model = uneasy(kind())
    images = torch.rand(2, 3, 8, 8)
    with torch.inference_mode():
        expected = model(images)
        parts = dict(model.named_modules())
        assert fold_batch_norms(model, images[:1]) == 0
        assert dict(model.named_modules()) == parts
        assert torch.equal(model(images), expected)


def test_no_hook_is_left_behind() -> None:
    model = uneasy(timm_model("resnet10t"))
    with torch.inference_mode():
        fold_batch_norms(model, torch.rand(1, 3, 64, 64))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
