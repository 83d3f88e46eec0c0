"""95 % intervals of metrics: what the choice of test images moves, and of few-shot protocols also that of the draws.

Means over rows and over classes have variances in closed form, everything else those of the bootstrap. Each class gives
its variance without bias (its squares are divided by m - 1; the bootstrap draws m - 1 of m rows, J. N. K. Rao, C. F. J.
Wu, Resampling inference with complex survey data, JASA 83, 1988), so that a class of one row gives none, and a metric
of classes has no interval then. Ends are found where metrics are nearly normal: shares by Wilson's score interval of as
many rows as the variance is worth, the others on the scale of their logit, logarithm or Fisher's z. Quantiles are
Student's; degrees of freedom are those of F. E. Satterthwaite, Biometrics Bulletin 2, 1946.

Layer: evaluation; NumPy and SciPy. `benchmarks/coverage.py` measures how often they hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import scipy.special

from embedkit.evaluation.predictions import Float64
from embedkit.evaluation.statistics import wilson_interval

Scale = Literal["share", "logit", "log", "fisher", "residual"]
"""Where an interval is symmetric; ``"residual"`` is the logarithm of 1 - R2."""

_special = cast(Any, scipy.special)  # not typed throughout


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How much the test rows move a metric.

    Attributes
    ----------
    variance : float
        Of the metric, or of its mean over draws.
    of_draws : float
        Mean of the variances of single draws.
    freedom : float
        Degrees of freedom of both.
    rows : float
        How many rows the metric is worth where nothing varies.
    """

    variance: float
    of_draws: float
    freedom: float
    rows: float


def spread_of_rows(influences: Float64, rows: float | None = None) -> Spread | None:
    """Give the spread of a metric from the influences of the rows; None for a single row.

    Parameters
    ----------
    influences : ndarray of shape (n_draws, n_rows)
    rows : float, optional
        How many rows the metric is worth; by default all.
    """
    n = influences.shape[1]
    if n < 2:
        return None
    squares = np.square(np.concatenate([influences.mean(axis=0, keepdims=True), influences])) * (n / (n - 1))
    variances = squares.sum(axis=1)
    return Spread(
        variance=float(variances[0]),
        of_draws=float(variances[1:].mean()),
        freedom=_freedom_of_rows(squares[0]),
        rows=n if rows is None else rows,
    )


def spread_of_classes(influences: Float64, y: npt.NDArray[np.intp]) -> Spread | None:
    """Give the spread of a mean over classes; None where a class has one row.

    Parameters
    ----------
    influences : ndarray of shape (n_draws, n_rows)
    y : ndarray of shape (n_rows,)
    """
    _, codes, m = np.unique(y, return_inverse=True, return_counts=True)
    if m.min() < 2:
        return None
    several = np.concatenate([influences.mean(axis=0, keepdims=True), influences])
    means = np.stack([np.bincount(codes, row) for row in several]) / m
    within = np.stack([np.bincount(codes, row) for row in (several - means[:, codes]) ** 2]) * m / (m - 1)
    # Also how many rows a class has is by chance, where a metric moves with it.
    variances = (within + m * means**2).sum(axis=1)
    freedoms = m - 1
    return Spread(
        variance=float(variances[0]),
        of_draws=float(variances[1:].mean()),
        freedom=_freedom(within[0], freedoms) if within[0].any() else _freedom(1 / m, freedoms),
        rows=len(m) ** 2 / float((1 / m).sum()),
    )


def interval(values: Sequence[float], spread: Spread, scale: Scale, bias: float = 0.0) -> tuple[float, float] | None:
    """Give the 95 % interval of a metric, or of its mean over draws of training rows.

    The variances of both sources are added, as in a table crossed by rows and draws; what rows and draws have
    together, which each of them measures, counts once.

    Parameters
    ----------
    values : sequence of float
        The metric of each draw; one where there are none.
    spread : Spread
        By the test rows.
    scale : Scale
    bias : float
        What the values exceed those of many rows by; the interval is around what is left.

    Returns
    -------
    (float, float) or None
        None where nothing varies and the scale has no end there.
    """
    mean, variance = float(np.mean(values)), spread.variance
    quantile = float(_special.stdtrit(spread.freedom, 0.975))
    if len(values) > 1:
        together = max(0.0, spread.of_draws - spread.variance) / (len(values) - 1)
        by_draws, by_rows = float(np.var(values, ddof=1)) / len(values), max(0.0, spread.variance - together)
        variance = by_draws + by_rows
        # Each part with a quantile of its own: degrees of freedom of the sum would be guessed from few draws.
        of_draws = float(_special.stdtrit(len(values) - 1, 0.975))
        if variance > 0:
            quantile = float(np.sqrt((of_draws**2 * by_draws + quantile**2 * by_rows) / variance))
    if scale == "share":
        return _of_share(mean, variance, quantile, spread.rows)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        centre, slope = _there(mean - bias, scale)
        half = quantile * float(np.sqrt(variance)) * slope
        low, high = sorted((_back(centre - half, scale), _back(centre + half, scale)))
    return (low, high) if variance > 0 and np.isfinite([low, high]).all() else None


def _of_share(share: float, variance: float, quantile: float, rows: float) -> tuple[float, float]:
    """Give Wilson's interval of as many rows as the variance is worth."""
    if not 0 < share < 1:
        worth = max(1, round(rows))
        return wilson_interval(round(share) * worth, worth)
    variance = max(variance, share * (1 - share) / rows) if variance <= 0 else variance
    square = quantile**2 * variance / (share * (1 - share))
    centre, half = share + square / 2, np.sqrt(square * share * (1 - share) + square**2 / 4)
    return float((centre - half) / (1 + square)), float((centre + half) / (1 + square))


def _freedom(variances: npt.NDArray[Any], freedoms: npt.NDArray[Any]) -> float:
    return float(variances.sum() ** 2 / (variances**2 / freedoms).sum())


def _freedom_of_rows(squares: Float64) -> float:
    """Give the degrees of freedom of a sum of squares whose own variance is that of its terms."""
    n, total = len(squares), float(squares.sum())
    if total == 0:
        return n - 1
    spread = float((squares**2).sum()) / total**2 - 1 / n
    return float(np.clip(2 / spread, 1, n - 1)) if spread > 0 else n - 1


def _there(value: float, scale: Scale) -> tuple[float, float]:
    """Give a value on a scale, and the slope of the scale there."""
    v = np.float64(value)
    match scale:
        case "log":
            return float(np.log(v)), float(1 / v)
        case "fisher":
            return float(np.arctanh(v)), float(1 / (1 - v * v))
        case "residual":
            return float(np.log(1 - v)), float(1 / (1 - v))
        case _:
            return float(_special.logit(v)), float(1 / (v * (1 - v)))


def _back(place: float, scale: Scale) -> float:
    match scale:
        case "log":
            return float(np.exp(place))
        case "fisher":
            return float(np.tanh(place))
        case "residual":
            return float(1 - np.exp(place))
        case _:
            return float(_special.expit(place))
