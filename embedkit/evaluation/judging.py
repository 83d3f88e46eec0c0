"""Judge predictions: the protocol's own metric with its interval, and every other metric that the predictions allow.

Layer: evaluation; above metrics and statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import metrics
from embedkit.evaluation.intervals import (
    Scale,
    Spread,
    interval,
    resample,
    spread_of_classes,
    spread_of_resamples,
    spread_of_rows,
)
from embedkit.evaluation.metrics import Metric, Sampled
from embedkit.evaluation.predictions import Float64, Predicted, Targets
from embedkit.evaluation.statistics import wilson_interval

METRICS: dict[str, Metric] = {
    "accuracy": metrics.accuracy,
    "mean_per_class_accuracy": metrics.mean_per_class_accuracy,
    "top5_accuracy": metrics.top_5_accuracy,
    "macro_f1": metrics.macro_f1,
    "weighted_f1": metrics.weighted_f1,
    "quadratic_kappa": metrics.quadratic_kappa,
    "roc_auc": metrics.roc_auc,
    "roc_auc_ovo": metrics.roc_auc_one_against_one,
    "average_precision": metrics.mean_average_precision,
    "map_11_point": metrics.mean_average_precision_11,
    "map_11_point_as_published": metrics.mean_average_precision_11_as_published,
    "map_area": metrics.mean_average_precision_area,
    "log_loss": metrics.log_loss,
    "ece": metrics.expected_calibration_error,
    "r2": metrics.r2,
    "pearson": metrics.pearson,
}
"""By their names in results."""

_ROWS = {"accuracy": metrics.correct, "top5_accuracy": metrics.in_top_5, "log_loss": metrics.log_losses}
"""Metrics that are means over rows, by what they are means of."""

_SCALES: dict[str, Scale] = {
    "accuracy": "share",
    "top5_accuracy": "share",
    "mean_per_class_accuracy": "share",
    "log_loss": "log",
    "r2": "residual",
    "pearson": "fisher",
    "quadratic_kappa": "fisher",
}
"""Where intervals are symmetric; the logit of the others."""

WITHOUT_INTERVAL = frozenset({"ece", "map_11_point", "map_11_point_as_published", "map_area"})
"""Biased by more than they vary: the error of calibration is never 0, of a calibrated model either, and the highest
precision at a recall or any higher one is partly that of chance."""

LEAST_FOR_LOSSES = 100
"""Rows: of fewer, the few large losses of a sure model that decide its mean are mostly not among them."""
LEAST_OF_CLASS = 20
"""Rows that each class needs for intervals of its precision: that of few rows is biased."""

_RESAMPLES, _FEWER_RESAMPLES, _LONG = 1000, 200, 1_000_000
"""Resamples of the bootstrap; fewer for further metrics, and where rows x classes are many."""


def judge(
    names: Sequence[str],
    y: Targets,
    draws: Sequence[Predicted],
    *,
    n_resamples: int = _RESAMPLES,
    random_state: int = 0,
) -> dict[str, dict[str, Any]]:
    """Give the means of metrics over draws with their 95 % intervals: ``{name: {"value": ..., "interval": ...}}``.

    One draw: by the choice of the test rows. Several draws that differ: by that of the test rows and of the draws
    together. The interval is None where the metric is not defined (one class in the test rows, constant values), where
    it is a mean over classes one of which has a single row, or, of average precisions, fewer than twenty, of a
    log-loss, fewer than a hundred, and of the error of calibration and interpolated precisions.
    """
    if all(np.array_equal(draw.targets, draws[0].targets) for draw in draws[1:]):
        draws = draws[:1]  # draws of all rows: they say nothing of others
    judged: dict[str, dict[str, Any]] = {}
    resampled: dict[str, list[Sampled]] = {}
    values: dict[str, list[float]] = {}
    for name in names:
        prepared = [METRICS[name].sampled(y, draw) for draw in draws]
        values[name] = [float(one(np.ones((len(y), 1)))[0]) for one in prepared]
        value = float(np.mean(values[name]))
        judged[name] = {"value": value if np.isfinite(value) else None, "interval": None}
        if not np.isfinite(value) or name in WITHOUT_INTERVAL:
            continue
        if len(draws) == 1 and y.ndim == 1 and name in ("accuracy", "top5_accuracy"):
            judged[name]["interval"] = wilson_interval(round(value * len(y)), len(y))
        elif name == "log_loss" and len(y) < LEAST_FOR_LOSSES:
            continue
        elif (spread := _spread(name, y, draws)) is not None:
            judged[name]["interval"] = interval(values[name], spread, _SCALES[name])
        elif name not in _ROWS and name != "mean_per_class_accuracy" and _sizes(y).min() >= _least(name):
            resampled[name] = prepared
    if resampled:
        size = len(draws) * (y.size if draws[0].scores is None else draws[0].scores.size)
        parts = resample(
            [one for prepared in resampled.values() for one in prepared],
            y if y.ndim == 1 and y.dtype != np.float64 else np.zeros(len(y)),
            n_resamples if size <= _LONG else min(n_resamples, _FEWER_RESAMPLES),
            random_state,
        ).reshape(len(resampled), len(draws), -1)
        for name, part in zip(resampled, parts, strict=True):
            spread = spread_of_resamples(part, _sizes(y))
            if spread is not None:
                judged[name]["interval"] = interval(values[name], spread, _SCALES.get(name, "logit"))
    return judged


def _spread(name: str, y: Targets, draws: Sequence[Predicted]) -> Spread | None:
    """Give the spread of a metric that has one in closed form."""
    if name in _ROWS:
        return spread_of_rows(np.stack([_ROWS[name](y, draw) for draw in draws]))
    if name == "mean_per_class_accuracy":
        return spread_of_classes(np.stack([metrics.correct(y, draw) for draw in draws]), y)
    return None


def _sizes(y: Targets) -> npt.NDArray[np.intp]:
    """Count the rows of each class that a metric is a mean of; all rows where there are no classes."""
    if y.dtype == np.float64:
        return np.array([len(y)])
    counts = y.sum(axis=0) if y.ndim == 2 else np.bincount(y)
    return counts[counts > 0]


def _least(name: str) -> int:
    return LEAST_OF_CLASS if name == "average_precision" else 2


def further_metrics(
    main: str, y: Targets, draws: Sequence[Predicted], random_state: int = 0, own: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Judge by every metric that the predictions allow beside the main one, and a protocol's own."""
    asked = [name for name in own if name != "roc_auc_ovo" or draws[0].scores is not None]
    names = [name for name in [*applicable(y, draws[0]), *asked] if name != main]
    n_resamples = _RESAMPLES if y.dtype == np.float64 else _FEWER_RESAMPLES  # those of values cost little
    return judge(names, y, draws, n_resamples=n_resamples, random_state=random_state)


def applicable(y: Targets, predicted: Predicted) -> list[str]:
    """Name the metrics that predictions allow."""
    if y.dtype == np.float64:
        return ["r2", "pearson"]
    ranking = ["roc_auc", "average_precision", "map_11_point"] if predicted.scores is not None else []
    if y.ndim == 2:
        return ["accuracy", *ranking]
    names = ["accuracy", "mean_per_class_accuracy", "macro_f1"]
    if predicted.scores is not None and predicted.scores.shape[1] > 5:
        names.append("top5_accuracy")
    calibration = ["log_loss", "ece"] if predicted.are_probabilities else []
    # The precision of a class is a metric of lists of images; of one class an image it adds nothing to ROC-AUC.
    return [*names, *ranking[:1], *calibration]


def per_image(y: Targets, draws: Sequence[Predicted]) -> Float64:
    """Give what paired tests compare: the share of draws in which a row is right; of values, minus squared errors."""
    if y.dtype == np.float64:
        return -np.mean([(y - draw.targets) ** 2 for draw in draws], axis=0)
    return np.mean([metrics.correct(y, draw) for draw in draws], axis=0)
