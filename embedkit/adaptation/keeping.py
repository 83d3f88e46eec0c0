"""Which part of a wide network of linear bottlenecks a narrow one keeps.

What passes from block to block is a sum of linear maps, so any linear part of it can be kept: the directions from which
the layers that read it are best served (reduced-rank regression). Of the channels inside a block, which an activation
follows, some are kept: one after the other is left out whose loss, made up for by the others, costs the output least
(Hassibi and Stork, Second order derivatives for network pruning, NIPS 1992).

Layer: adaptation. Imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from embedkit.adaptation.bottlenecks import Layer, after, blocks_of, layers_of
from embedkit.adaptation.least_squares import covariance, eigen, inverted, ridged


@dataclass(slots=True)
class Stream:
    """What passes between blocks that add to each other: its covariance after each, and the maps that read it."""

    covariances: list[Tensor] = field(default_factory=list[Tensor])
    maps: list[Tensor] = field(default_factory=list[Tensor])

    def read(self) -> Tensor:
        """Return all maps as one, (outputs, channels)."""
        return torch.cat(self.maps)


def streams_of(wide: nn.Module, head: Layer, seen: Sequence[Tensor]) -> list[Stream]:
    """Return the stream that each block writes to."""
    blocks = blocks_of(wide)
    found: list[Stream] = []
    for block, reader in zip(blocks, [*(layers_of(one)[0] for one in blocks[1:]), head], strict=True):
        seen = [block(batch) for batch in seen]
        stream = found[-1] if found and block.has_skip else Stream()
        stream.covariances.append(covariance(seen))
        stream.maps.append(reader.weights())
        found.append(stream)
    return found


def directions(stream: Stream, few: int) -> Tensor:
    """Return the directions (few, channels) from which what the stream's readers make of it is best regained.

    Each has variance 1, and is uncorrelated with the others.
    """
    values, vectors = eigen(ridged(torch.stack(stream.covariances).mean(0)))
    root, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    mapped = stream.read() @ root
    _, found = eigen(mapped.T @ mapped)
    return found[:, -few:].T @ inverse


def kept_channels(layers: Sequence[Layer], seen: Sequence[Tensor], stream: Stream, few: int) -> Tensor:
    """Return which channels inside a block of the wide network are kept, in order."""
    inverse = inverted(ridged(covariance(after(layers[:-1], seen))))
    read = stream.read()
    values, vectors = eigen(read.T @ read)
    weights = values.clamp(min=0).sqrt()[:, None] * vectors.T @ layers[-1].weights()
    left = torch.ones(len(inverse), dtype=torch.bool)
    for _ in range(len(inverse) - few):
        costs = weights.square().sum(0) / inverse.diagonal()
        costs[~left] = torch.inf
        out = int(costs.argmin())
        left[out] = False
        row = inverse[out] / inverse[out, out]
        weights -= torch.outer(weights[:, out], row)
        inverse -= torch.outer(inverse[:, out], row)
        inverse[out, out] = 1.0  # what is left out is not looked at again, but divided by
    return left.nonzero().flatten()


def evenly_spaced(few: int, many: int) -> Tensor:
    """Return which of many channels are taken: the same for whatever reads what another layer wrote."""
    return torch.linspace(0, many - 1, few).round().long()
