"""Sums of squares over batches of maps, each place of each image a row, and ridge regressions made of them.

Layer: adaptation. Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

RIDGE = 1e-3
"""Of the mean variance of what a layer is fed."""

_ROWS = 1 << 14
"""Of a batch, about: of large maps, whose places are alike, some are looked at, evenly spaced."""

_linalg: Any = torch.linalg


@dataclass(frozen=True, slots=True)
class Regression:
    """What targets are of inputs by ridge regression: weights (outputs, inputs), and the moments behind them."""

    weights: Tensor
    mean: Tensor
    covariance: Tensor
    wanted: Tensor


def regression(inputs: Iterable[Tensor], targets: Iterable[Tensor], ridge: float = RIDGE) -> Regression:
    """Regress (n, D, H, W) on (n, C, H, W), batch by batch; each place is a row.

    Parameters
    ----------
    inputs, targets : iterable of Tensor
    ridge : float
        Of the mean variance of the inputs.
    """
    count, sums, squares = 0, [torch.zeros((), dtype=torch.float64)] * 2, [torch.zeros((), dtype=torch.float64)] * 2
    for pair in zip(inputs, targets, strict=True):
        x, y = map(_rows, pair)
        count += len(x)
        sums = [sums[0] + x.sum(0), sums[1] + y.sum(0)]
        squares = [squares[0] + x.T @ x, squares[1] + x.T @ y]
    mean, wanted = (one / count for one in sums)
    covariance, mixed = squares[0] / count - torch.outer(mean, mean), squares[1] / count - torch.outer(mean, wanted)
    weights: Tensor = _linalg.solve(ridged(covariance, ridge), mixed).T
    return Regression(weights, mean, covariance, wanted)


def covariance(batches: Iterable[Tensor]) -> Tensor:
    """Return the covariance of the channels, each place a row."""
    count, sums, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for batch in batches:
        x = _rows(batch)
        count, sums, squares = count + len(x), sums + x.sum(0), squares + x.T @ x
    return squares / count - torch.outer(sums / count, sums / count)


def spread(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel."""
    count, sums, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for batch in batches:
        x = _rows(batch)
        count, sums, squares = count + len(x), sums + x.sum(0), squares + x.square().sum(0)
    return sums / count, (squares / count - (sums / count).square()).clamp(min=0).sqrt()


def eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, the smallest first, and vectors, each a column."""
    values, vectors = _linalg.eigh(symmetric)
    return values, vectors


def inverted(matrix: Tensor) -> Tensor:
    """Return the inverse."""
    return _linalg.inv(matrix)


def ridged(covariance: Tensor, ridge: float = RIDGE) -> Tensor:
    """Add a share of the mean variance to each variance."""
    strength = ridge * covariance.diagonal().mean().clamp(min=1e-6)
    return covariance + strength * torch.eye(len(covariance), dtype=torch.float64)


def _rows(x: Tensor) -> Tensor:
    rows = x.permute(0, 2, 3, 1).flatten(0, 2)
    return rows[:: max(1, len(rows) // _ROWS)].double()
