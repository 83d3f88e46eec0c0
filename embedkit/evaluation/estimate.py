"""A metric of some rows, and how much each of them moves it.

Layer: evaluation; NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.evaluation.predictions import Float64


class Estimate(NamedTuple):
    """A metric of some rows.

    Attributes
    ----------
    value : float
        NaN where the metric is not defined.
    influence : ndarray of shape (n_rows,), float64, or None
        How much each row moves the value: the sum of their squares is the variance, without bias. None where the metric
        has no slope, or is not defined.
    freedom : float
        Degrees of freedom of that variance.
    bias : float
        What the value exceeds that of many rows by, as the jackknife finds it (M. H. Quenouille, Notes on bias in
        estimation, Biometrika 43, 1956); 0 where it is small.
    """

    value: float
    influence: Float64 | None = None
    freedom: float = 0.0
    bias: float = 0.0


UNDEFINED = Estimate(float("nan"))


def of_rows(value: float, influence: Float64, *, decided_by_few: bool = False) -> Estimate:
    """Give a metric from the slope of each row.

    Parameters
    ----------
    value : float
    influence : ndarray of shape (n_rows,)
    decided_by_few : bool
        Some rows may weigh far more than others: degrees of freedom are those of a sum of squares whose own variance is
        that of its terms; else n - 1.
    """
    n = len(influence)
    freedom = freedom_of_squares(influence) if decided_by_few else n - 1
    return Estimate(value, influence * np.sqrt(n / max(n - 1, 1)), freedom)


def mean_of_values(values: Float64, *, decided_by_few: bool = False) -> Estimate:
    """Give the mean of values, one a row."""
    mean = float(values.mean())
    return of_rows(mean, (values - mean) / len(values), decided_by_few=decided_by_few)


def of_groups(
    value: float, influence: Float64, groups: npt.NDArray[Any], *, bias: float = 0.0, decided_by_few: bool = False
) -> Estimate:
    """Give a metric of means over groups, such as classes, from the slope of each row.

    Parameters
    ----------
    value, bias : float
    influence : ndarray of shape (n_rows,)
    groups : ndarray of shape (n_rows,)
        Each of m rows gives its variance m - 1 degrees of freedom.
    decided_by_few : bool
        Some rows may weigh far more than others: the harmonic mean with the degrees of freedom that `of_rows` has then.
    """
    _, codes, m = np.unique(groups, return_inverse=True, return_counts=True)
    freedoms = np.maximum(m - 1, 1)
    widened = influence * np.sqrt(m / freedoms)[codes]
    variances = np.bincount(codes, np.square(widened))
    freedom = satterthwaite(variances if variances.any() else 1 / m, freedoms)
    if decided_by_few:
        freedom = 2 / (1 / freedom + 1 / freedom_of_squares(influence))
    return Estimate(value, widened, freedom, bias)


def freedom_of_squares(influence: Float64) -> float:
    """Give the degrees of freedom of a sum of squares that some terms of it may decide."""
    n, squares = max(2, len(influence)), np.square(influence)
    total = float(squares.sum())
    spread = float(np.square(squares).sum()) / total**2 - 1 / n if total > 0 else 0.0
    return float(np.clip(2 / spread, 1, n - 1)) if spread > 0 else n - 1


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Average metrics of the same rows; undefined of nothing."""
    if not estimates:
        return UNDEFINED
    value, bias = (float(part) for part in np.mean([(one.value, one.bias) for one in estimates], axis=0))
    influences = [one.influence for one in estimates if one.influence is not None]
    if len(influences) < len(estimates):
        return Estimate(value)
    variances = np.array([float(np.square(influence).sum()) for influence in influences])
    freedoms = np.array([one.freedom for one in estimates])
    freedom = satterthwaite(variances if variances.any() else np.ones(len(estimates)), freedoms)
    return Estimate(value, sum(influences[1:], influences[0]) / len(estimates), freedom, bias)


def satterthwaite(variances: npt.NDArray[Any], freedoms: npt.NDArray[Any]) -> float:
    """Give the degrees of freedom of a sum of independent variances.

    F. E. Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946.
    """
    return float(variances.sum() ** 2 / (variances**2 / freedoms).sum())
