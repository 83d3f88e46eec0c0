"""Networks of linear bottlenecks as layers: a convolution, its batch norm with the activation, and a gate.

MobileNetV2, MnasNet and EfficientNet as timm has them, with squeeze-and-excitation or without: a stem, one depthwise
separable block, inverted residuals, and a head of 1 x 1. What passes from block to block is no activation.

Layer: adaptation. Imports torch and timm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from timm.models import EfficientNet  # pyright: ignore[reportPrivateImportUsage]
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual, SqueezeExcite
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, its batch norm with the activation, and what gates its channels, if anything."""

    conv: Any
    norm: Any
    gate: Any = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return what comes after the gate."""
        activated = self.norm(self.conv(x))
        return activated if self.gate is None else self.gate(activated)

    def linear(self, x: Tensor) -> Tensor:
        """Return what the batch norm gives, before any activation."""
        norm = self.norm
        return functional.batch_norm(
            self.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
        )

    def weights(self) -> Tensor:
        """Return those of a 1 x 1 convolution and its batch norm together, float64 (outputs, inputs)."""
        slope = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        return (self.conv.weight.flatten(1) * slope[:, None]).double()

    def is_depthwise(self) -> bool:
        """Whether each channel is computed of one."""
        return self.conv.groups == self.conv.in_channels == self.conv.out_channels


def has_bottlenecks(network: nn.Module) -> bool:
    """Whether a network is a stem, a depthwise separable block, linear bottlenecks and a head of 1 x 1."""
    if not isinstance(network, EfficientNet):
        return False
    first, *others = blocks_of(network)
    return (
        type(first) is DepthwiseSeparableConv
        and not first.has_pw_act
        and all(type(block) is InvertedResidual for block in others)
        and all(map(_is_plain, [first, *others]))
        and all(_is_fitted(layer) for layer in (stem_and_head(network)[1], *_all_layers(network)))
    )


def blocks_of(network: nn.Module) -> list[Any]:
    """Return the blocks, first to last."""
    return [block for stage in cast(Any, network).blocks for block in stage]


def layers_of(block: Any) -> list[Layer]:
    """Return the layers of a block: what comes before the last is inside, the last gives what passes on."""
    gate = None if isinstance(block.se, nn.Identity) else block.se
    if isinstance(block, InvertedResidual):
        own = cast(Any, block)
        return [Layer(own.conv_pw, own.bn1), Layer(own.conv_dw, own.bn2, gate), Layer(own.conv_pwl, own.bn3)]
    return [Layer(block.conv_dw, block.bn1, gate), Layer(block.conv_pw, block.bn2)]


def stem_and_head(network: nn.Module) -> tuple[Layer, Layer]:
    """Return what comes before the blocks and after them."""
    own = cast(Any, network)
    return Layer(own.conv_stem, own.bn1), Layer(own.conv_head, own.bn2)


def after(layers: Sequence[Layer], batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield what layers make of batches."""
    for batch in batches:
        for layer in layers:
            batch = layer(batch)
        yield batch


def _all_layers(network: nn.Module) -> list[Layer]:
    return [layer for block in blocks_of(network) for layer in layers_of(block)]


def _is_plain(block: Any) -> bool:
    plain_gate = isinstance(block.se, nn.Identity | SqueezeExcite)
    return plain_gate and block.conv_s2d is None and isinstance(block.aa, nn.Identity)


def _is_fitted(layer: Layer) -> bool:
    """Whether it is a 1 x 1 or a depthwise convolution, and a batch norm."""
    if not isinstance(layer.conv, nn.Conv2d) or not isinstance(layer.norm, nn.BatchNorm2d):
        return False
    return layer.is_depthwise() or (layer.conv.kernel_size == (1, 1) and layer.conv.groups == 1)
