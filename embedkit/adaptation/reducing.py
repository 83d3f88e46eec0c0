"""A narrow network of linear bottlenecks fitted by least squares to a wider one, layer by layer, without training.

Front to back each 1 x 1 convolution is fitted by ridge regression to say, of what the narrow network feeds it, what the
wide network says there, as far as that is kept (He et al., Channel pruning for accelerating very deep neural networks,
ICCV 2017); depthwise filters are taken over, with the mean and the deviation of what they give.

Layer: adaptation. Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedkit.adaptation.bottlenecks import Layer, after, blocks_of, layers_of, stem_and_head
from embedkit.adaptation.keeping import directions, evenly_spaced, kept_channels, streams_of
from embedkit.adaptation.least_squares import regression, spread


def reduce(network: nn.Module, wider: nn.Module, batches: Sequence[Tensor]) -> None:
    """Fit a network of linear bottlenecks to a wider one with the same layers, in place.

    Parameters
    ----------
    network, wider : nn.Module
        Each `has_bottlenecks`.
    batches : sequence of Tensor (n, 3, H, W)
        Images, normalised.
    """
    network.eval()
    wider.eval()
    (stem, head), (wide_stem, wide_head) = stem_and_head(network), stem_and_head(wider)
    with torch.no_grad():
        seen = list(after([wide_stem], batches))
        given: list[Tensor] = []
        streams = streams_of(wider, wide_head, seen)
        for few, many, stream in zip(blocks_of(network), blocks_of(wider), streams, strict=True):
            layers = layers_of(few)
            kept = kept_channels(layers_of(many), seen, stream, layers[-1].conv.in_channels)
            if not given:
                # Nothing but a depthwise convolution lies between the stem and these: its channels are the same.
                _take_over(stem, wide_stem, kept, batches, batches)
                given = list(after([stem], batches))
            _fit_block(few, many, given, seen, kept, directions(stream, layers[-1].conv.out_channels))
            seen = [many(batch) for batch in seen]
            given = [few(batch) for batch in given]
        kept = evenly_spaced(head.conv.out_channels, wide_head.conv.out_channels)
        _fit(head, given, (wide_head.linear(batch)[:, kept] for batch in seen))


def _fit_block(
    few: Any, many: Any, given: Sequence[Tensor], seen: Sequence[Tensor], kept: Tensor, towards: Tensor
) -> None:
    """Fit a block, layer by layer, to say of what it is given what the wide one says, as far as that is kept."""
    layers, models = layers_of(few), layers_of(many)
    for number, (layer, model) in enumerate(zip(layers[:-1], models[:-1], strict=True)):
        inputs, model_inputs = after(layers[:number], given), after(models[:number], seen)
        if not layer.is_depthwise():
            _fit(layer, inputs, (model.linear(batch)[:, kept] for batch in model_inputs))
            continue
        _take_over(layer, model, kept, inputs, model_inputs)
        if layer.gate is not None:
            _fit_gate(layer, model, kept, after(layers[:number], given), after(models[:number], seen))
    wanted = (functional.conv2d(many(batch), towards.float()[:, :, None, None]) for batch in seen)
    if few.has_skip:
        wanted = (whole - short for whole, short in zip(wanted, given, strict=True))
    _fit(layers[-1], after(layers[:-1], given), wanted)


def _fit(layer: Layer, inputs: Iterable[Tensor], targets: Iterable[Tensor]) -> None:
    """Fit a 1 x 1 convolution and its batch norm, whose statistics are those of what it then gives."""
    found = regression(inputs, targets)
    deviation = (found.weights @ found.covariance * found.weights).sum(1).clamp(min=0).sqrt()
    layer.conv.weight.copy_(found.weights[:, :, None, None])
    _set_norm(layer.norm, found.weights @ found.mean, deviation, found.wanted, deviation)


def _take_over(
    layer: Layer, model: Layer, kept: Tensor, inputs: Iterable[Tensor], model_inputs: Iterable[Tensor]
) -> None:
    """Take the filters of some channels; each then has the mean and the deviation that it has in the wide network."""
    layer.conv.weight.copy_(model.conv.weight[kept])
    mean, deviation = spread(layer.conv(batch) for batch in inputs)
    wanted, wanted_deviation = spread(model.linear(batch)[:, kept] for batch in model_inputs)
    _set_norm(layer.norm, mean, deviation, wanted, wanted_deviation * model.norm.weight[kept].sign())


def _set_norm(norm: Any, mean: Tensor, deviation: Tensor, wanted: Tensor, wanted_deviation: Tensor) -> None:
    """Let a batch norm make of a mean and a deviation those that are wanted."""
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(deviation.square())
    norm.weight.copy_(wanted_deviation * (deviation.square() + norm.eps).sqrt() / deviation.clamp(min=norm.eps))
    norm.bias.copy_(wanted)


def _fit_gate(
    layer: Layer, model: Layer, kept: Tensor, inputs: Iterable[Tensor], model_inputs: Iterable[Tensor]
) -> None:
    """Fit squeeze-and-excitation: two linear maps of each channel's mean over the places of an image."""
    few, many = layer.gate, model.gate
    means = [layer.norm(layer.conv(batch)).mean((2, 3), keepdim=True) for batch in inputs]
    squeezed = [many.conv_reduce(model.norm(model.conv(batch)).mean((2, 3), keepdim=True)) for batch in model_inputs]
    taken = evenly_spaced(few.conv_reduce.out_channels, many.conv_reduce.out_channels)
    _fit_biased(few.conv_reduce, means, (one[:, taken] for one in squeezed))
    activated = (few.act1(few.conv_reduce(one)) for one in means)
    _fit_biased(few.conv_expand, activated, (many.conv_expand(many.act1(one))[:, kept] for one in squeezed))


def _fit_biased(conv: Any, inputs: Iterable[Tensor], targets: Iterable[Tensor]) -> None:
    found = regression(inputs, targets)
    conv.weight.copy_(found.weights[:, :, None, None])
    conv.bias.copy_(found.wanted - found.weights @ found.mean)
