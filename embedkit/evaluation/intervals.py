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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import scipy.special

from embedkit.evaluation.predictions import Float64
from embedkit.evaluation.statistics import wilson_interval

Scale = Literal["share", "logit", "log", "fisher", "residual"]
"""Where an interval is symmetric; ``"residual"`` is the logarithm of 1 - R2."""

_COUNTS_AT_ONCE = 1 << 20
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


def spread_of_rows(values: Float64) -> Spread | None:
    """Give the spread of a mean over rows.

    Parameters
    ----------
    values : ndarray of shape (n_draws, n_rows)
    """
    n = values.shape[1]
    if n < 2:
        return None
    return Spread(
        variance=float(values.mean(axis=0).var(ddof=1)) / n,
        of_draws=float(values.var(axis=1, ddof=1).mean()) / n,
        freedom=n - 1,
        rows=n,
    )


def spread_of_classes(values: Float64, y: npt.NDArray[np.intp]) -> Spread | None:
    """Give the spread of a mean over classes of means over their rows; None where a class has one row.

    Parameters
    ----------
    values : ndarray of shape (n_draws, n_rows)
    y : ndarray of shape (n_rows,)
    """
    _, codes, m = np.unique(y, return_inverse=True, return_counts=True)
    if m.min() < 2:
        return None
    several = np.concatenate([values.mean(axis=0, keepdims=True), values])
    means = np.stack([np.bincount(codes, row) for row in several]) / m
    squares = np.stack([np.bincount(codes, row) for row in (several - means[:, codes]) ** 2])
    variances = squares / (m * (m - 1)) / len(m) ** 2
    of_mean = variances[0]
    freedom = _freedom(of_mean, m - 1) if of_mean.any() else _freedom(1 / m, m - 1)
    return Spread(
        variance=float(of_mean.sum()),
        of_draws=float(variances[1:].sum(axis=1).mean()),
        freedom=freedom,
        rows=len(m) ** 2 / float((1 / m).sum()),
    )


def spread_of_resamples(resampled: Float64, sizes: npt.NDArray[np.intp]) -> Spread | None:
    """Give the spread of a metric over resamples of the rows, of shape (n_draws, n_resamples).

    Parameters
    ----------
    sizes : ndarray of shape (n_classes,)
        Rows of each class that the metric is a mean of.
    """
    defined = resampled[:, np.isfinite(resampled).all(axis=0)]
    if defined.shape[1] < 2 or sizes.min() < 2:
        return None
    return Spread(
        variance=float(defined.mean(axis=0).var(ddof=1)),
        of_draws=float(defined.var(axis=1, ddof=1).mean()),
        freedom=_freedom(1 / sizes, sizes - 1),
        rows=float(sizes.sum()),
    )


def interval(values: Sequence[float], spread: Spread, scale: Scale) -> tuple[float, float] | None:
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
        centre, slope = _there(mean, scale)
        half = quantile * float(np.sqrt(variance)) * slope
        low, high = sorted((_back(centre - half, scale), _back(centre + half, scale)))
    return (low, high) if variance > 0 and np.isfinite([low, high]).all() else None


def resample(
    statistics: Sequence[Callable[[Float64], Float64]], strata: npt.ArrayLike, n_resamples: int, random_state: int = 0
) -> Float64:
    """Give metrics of resamples of the rows, each stratum of m rows by m - 1 of them that weigh m / (m - 1).

    Parameters
    ----------
    statistics : sequence of callable
        Each computes a metric of several resamples, shape (b,), from the weights of rows in them, shape (n_rows, b).
    strata : array-like of shape (n_rows,)
        Rows of one stratum stand for each other; a single one stays.
    n_resamples : int
    random_state : int

    Returns
    -------
    ndarray of shape (n_statistics, n_resamples), float64
    """
    _, codes = np.unique(np.asarray(strata), return_inverse=True)
    parts = [np.stack([one(counts) for one in statistics]) for counts in _counts(codes, n_resamples, random_state)]
    return np.concatenate(parts, axis=1)


def _counts(codes: npt.NDArray[np.intp], n_resamples: int, random_state: int) -> Iterator[Float64]:
    """Yield weights of rows in some resamples at a time, so few that they stay in the cache."""
    members = [np.flatnonzero(codes == code) for code in range(int(codes.max()) + 1)]
    random = np.random.default_rng(random_state)
    at_once = max(1, _COUNTS_AT_ONCE // len(codes))
    for start in range(0, n_resamples, at_once):
        counts = np.ones((len(codes), min(at_once, n_resamples - start)))
        for rows in members:
            m = len(rows)
            if m > 1:
                drawn = random.integers(0, m, (m - 1, counts.shape[1])) + m * np.arange(counts.shape[1])
                times = np.bincount(drawn.ravel(), minlength=m * counts.shape[1]).reshape(-1, m).T
                counts[rows] = times * (m / (m - 1))
        yield counts


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
