"""LoRA: a product of two thin matrices, added to a weight that stays as it is (Hu et al. 2021, arXiv:2106.09685).

Written as a parametrization of torch's, so that timm's own blocks run unchanged, fused projections included, and what
was learnt becomes part of the weight itself when it is taken off again.

Layer: adaptation. Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """W + B A, with B at zero, so that nothing changes before the first step.

    Parameters
    ----------
    rows, columns : int
        Of W.
    rank : int
    seed : int
        Of A: uniform as in a linear layer of torch's.
    """

    def __init__(self, rows: int, columns: int, rank: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        bound = columns**-0.5
        drawn = torch.rand(rank, columns, generator=generator)
        self.A = nn.Parameter(bound * (2 * drawn - 1))
        self.B = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the sum."""
        return weight + self.B @ self.A


def linears(blocks: Iterable[nn.Module]) -> Iterator[nn.Linear]:
    """Yield the linear layers of blocks, in order: of a vision transformer qkv, proj, fc1 and fc2 of each."""
    for block in blocks:
        yield from (part for part in block.modules() if isinstance(part, nn.Linear))


def add_low_rank(blocks: Iterable[nn.Module], rank: int) -> list[nn.Parameter]:
    """Add a product of rank `rank` at most to each linear layer of blocks; return what is to be trained."""
    trained: list[nn.Parameter] = []
    for number, layer in enumerate(linears(blocks)):
        rows, columns = layer.weight.shape
        product = LowRank(rows, columns, min(rank, rows, columns), number).to(layer.weight.device)
        parametrize.register_parametrization(layer, "weight", product)
        trained += [product.A, product.B]
    return trained


def merge_low_rank(blocks: Iterable[nn.Module]) -> None:
    """Make what was learnt part of the weights themselves."""
    for layer in linears(blocks):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def set_weight(layer: nn.Module, value: Tensor) -> None:
    """Replace a weight, and forget what was added to it."""
    if parametrize.is_parametrized(layer, "weight"):
        held: Any = cast(Any, layer).parametrizations.weight
        held.original.copy_(value)
        held[0].B.zero_()
    else:
        cast(Any, layer).weight.copy_(value)
