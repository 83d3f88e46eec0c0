"""Judge predictions: the protocol's own metric with its interval, and every other metric that the predictions allow.

Layer: probes.protocols; above probes.metrics and probes.statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from embedkit.probes import metrics
from embedkit.probes.metrics import Metric
from embedkit.probes.predictions import Float64, Predicted, Targets
from embedkit.probes.statistics import bootstrap_interval, mean_interval, wilson_interval

METRICS: dict[str, Metric] = {
    "accuracy": metrics.accuracy,
    "mean_per_class_accuracy": metrics.mean_per_class_accuracy,
    "top5_accuracy": metrics.top_5_accuracy,
    "macro_f1": metrics.macro_f1,
    "roc_auc": metrics.roc_auc,
    "average_precision": metrics.mean_average_precision,
    "map_11_point": metrics.mean_average_precision_11,
    "map_area": metrics.mean_average_precision_area,
    "log_loss": metrics.log_loss,
    "ece": metrics.expected_calibration_error,
    "r2": metrics.r2,
    "pearson": metrics.pearson,
}
"""By their names in results."""

BOUNDED = frozenset(METRICS) - {"log_loss", "r2", "pearson"}
"""Metrics that lie between 0 and 1."""

_RESAMPLES, _FEWER_RESAMPLES, _LONG = 1000, 200, 20_000
"""Resamples of the bootstrap; fewer for further metrics, and where rows x classes are many."""


def judge(name: str, y: Targets, draws: list[Predicted], *, n_resamples: int = _RESAMPLES) -> dict[str, Any]:
    """Give the mean of a metric over draws, and its 95 % interval, as ``{"value": ..., "interval": ...}``.

    One draw: Wilson's interval for shares of rows that are right, else the bootstrap over test rows, stratified by
    class. Several draws: Student's interval over draws. The interval is None where the metric is not defined (one
    class in the test rows, constant values).
    """
    metric = METRICS[name]
    values = [metric(y, draw) for draw in draws]
    value = float(np.mean(values))
    if not np.isfinite(value):
        return {"value": None, "interval": None}
    if len(draws) > 1:
        interval = mean_interval(values)
    elif name in ("accuracy", "top5_accuracy") and y.ndim == 1:
        interval = wilson_interval(round(value * len(y)), len(y))
    else:
        size = len(y) if draws[0].scores is None else draws[0].scores.size
        interval = _bootstrapped(metric, y, draws[0], n_resamples if size <= _LONG else _FEWER_RESAMPLES)
    if interval is not None and name in BOUNDED:
        interval = max(0.0, interval[0]), min(1.0, interval[1])
    return {"value": value, "interval": interval}


def further_metrics(y: Targets, draws: list[Predicted]) -> dict[str, dict[str, Any]]:
    """Judge by every metric that the predictions allow."""
    return {name: judge(name, y, draws, n_resamples=_FEWER_RESAMPLES) for name in applicable(y, draws[0])}


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


def per_image(y: Targets, draws: list[Predicted]) -> Float64:
    """Give what paired tests compare: the share of draws in which a row is right; of values, minus squared errors."""
    if y.dtype == np.float64:
        return -np.mean([(y - draw.targets) ** 2 for draw in draws], axis=0)
    return np.mean([metrics.correct(y, draw) for draw in draws], axis=0)


def _bootstrapped(metric: Metric, y: Targets, predicted: Predicted, n_resamples: int) -> tuple[float, float] | None:
    statistic: Callable[[Any], float] = lambda rows: metric(y[rows], _take(predicted, rows))  # noqa: E731
    values: list[float] = []

    def finite(rows: Any) -> float:
        value = statistic(rows)
        values.append(value)
        return value if np.isfinite(value) else 0.0

    strata = y if y.ndim == 1 and y.dtype != np.float64 else np.zeros(len(y))
    interval = bootstrap_interval(finite, strata, n_resamples=n_resamples)
    return interval if np.isfinite(values).all() else None


def _take(predicted: Predicted, rows: Any) -> Predicted:
    return Predicted(
        targets=predicted.targets[rows],
        scores=None if predicted.scores is None else predicted.scores[rows],
        are_probabilities=predicted.are_probabilities,
    )
