"""95 % intervals of metrics: what the choice of test images moves, and of few-shot protocols also that of the draws.

Variances are sums of squares of the influences of rows. Each class gives its variance without bias (its squares are
divided by m - 1), so that a class of one row gives none. Ends are found where metrics are nearly normal: shares by
Wilson's score interval of as many rows as the variance is worth, the others on the scale of their logit, logarithm or
Fisher's z, around the value without its bias. Quantiles are Student's.

Layer: evaluation; NumPy and SciPy. `benchmarks/coverage.py` measures how often they hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import scipy.special

from embedkit.evaluation.estimate import Estimate
from embedkit.evaluation.predictions import Float64
from embedkit.evaluation.statistics import share_interval

Scale = Literal["share", "signed share", "logit", "log", "fisher", "residual"]
"""Where an interval is symmetric: Wilson's of shares, also of those between -1 and 1; ``"residual"`` is the logarithm
of 1 - R2."""

_special = cast(Any, scipy.special)  # not typed throughout


def interval(estimates: Sequence[Estimate], scale: Scale, rows: float) -> tuple[float, float] | None:
    """Give the 95 % interval of a metric, or of its mean over draws of training rows.

    The variances of both sources are added, as in a table crossed by rows and draws; what rows and draws have
    together, which each of them measures, counts once.

    Parameters
    ----------
    estimates : sequence of Estimate
        Of each draw, all of the same rows; one where there are no draws.
    scale : Scale
    rows : float
        How many rows the metric is worth where nothing varies.

    Returns
    -------
    (float, float) or None
        None where nothing varies and the scale has no end there, or the metric has no slope.
    """
    if any(one.influence is None for one in estimates):
        return None
    influences = np.stack([cast(Float64, one.influence) for one in estimates])
    values = [one.value for one in estimates]
    mean, bias = float(np.mean(values)), float(np.mean([one.bias for one in estimates]))
    freedom = float(np.mean([one.freedom for one in estimates]))
    variance = float(np.square(influences.mean(axis=0)).sum())
    quantile = float(_special.stdtrit(freedom, 0.975))
    if len(values) > 1:
        of_draws = float(np.square(influences).sum(axis=1).mean())
        together = max(0.0, of_draws - variance) / (len(values) - 1)
        by_draws, by_rows = float(np.var(values, ddof=1)) / len(values), max(0.0, variance - together)
        variance = by_draws + by_rows
        # Each part with a quantile of its own: degrees of freedom of the sum would be guessed from few draws.
        for_draws = float(_special.stdtrit(len(values) - 1, 0.975))
        if variance > 0:
            quantile = float(np.sqrt((for_draws**2 * by_draws + quantile**2 * by_rows) / variance))
    if scale == "share":
        return _of_share(mean - bias, variance, quantile, rows)
    if scale == "signed share":
        low, high = _of_share((1 + mean - bias) / 2, variance / 4, quantile, rows)
        return 2 * low - 1, 2 * high - 1
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        centre, slope = _there(mean - bias, scale)
        half = quantile * float(np.sqrt(variance)) * slope
        low, high = sorted((_back(centre - half, scale), _back(centre + half, scale)))
    return (low, high) if variance > 0 and np.isfinite([low, high]).all() else None


def _of_share(share: float, variance: float, quantile: float, rows: float) -> tuple[float, float]:
    """Give Wilson's interval of as many rows as the variance is worth."""
    if not 0 < share < 1:
        worth = max(1, round(rows))
        return share_interval(worth if share >= 1 else 0, worth)
    variance = variance if variance > 0 else share * (1 - share) / rows
    square = quantile**2 * variance / (share * (1 - share))
    centre, half = share + square / 2, np.sqrt(square * share * (1 - share) + square**2 / 4)
    return float((centre - half) / (1 + square)), float((centre + half) / (1 + square))


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
