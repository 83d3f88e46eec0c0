"""Judge predictions: the protocol's own metric with its interval, and every other metric that the predictions allow.

Layer: evaluation; above metrics and statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from embedkit.evaluation import metrics
from embedkit.evaluation.metrics import Metric, Sampled
from embedkit.evaluation.predictions import Float64, Predicted, Targets
from embedkit.evaluation.statistics import bootstrap_intervals, mean_interval, wilson_interval

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

BOUNDED = frozenset(METRICS) - {"log_loss", "r2", "pearson", "quadratic_kappa"}
"""Metrics that lie between 0 and 1."""

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

    One draw: Wilson's interval for shares of rows that are right, else the bootstrap over test rows, stratified by
    class. Several draws that differ: Student's interval over draws. The interval is None where the metric is not
    defined (one class in the test rows, constant values).
    """
    if all(np.array_equal(draw.targets, draws[0].targets) for draw in draws[1:]):
        draws = draws[:1]  # draws of all rows: an interval over them would have no width
    judged: dict[str, dict[str, Any]] = {}
    sampled: dict[str, Sampled] = {}
    for name in names:
        prepared = [METRICS[name].sampled(y, draw) for draw in draws]
        values = [float(one(np.ones((len(y), 1)))[0]) for one in prepared]
        value, interval = float(np.mean(values)), None
        if not np.isfinite(value):
            value = None
        elif len(draws) > 1:
            interval = mean_interval(values)
        elif name in ("accuracy", "top5_accuracy") and y.ndim == 1:
            interval = wilson_interval(round(value * len(y)), len(y))
        else:
            sampled[name] = prepared[0]
        judged[name] = {"value": value, "interval": interval}
    if sampled:
        size = y.size if draws[0].scores is None else draws[0].scores.size
        strata = y if y.ndim == 1 and y.dtype != np.float64 else np.zeros(len(y))
        intervals = bootstrap_intervals(
            list(sampled.values()),
            strata,
            n_resamples=n_resamples if size <= _LONG else min(n_resamples, _FEWER_RESAMPLES),
            random_state=random_state,
        )
        for name, interval in zip(sampled, intervals, strict=True):
            judged[name]["interval"] = interval
    for name in BOUNDED & judged.keys():
        if judged[name]["interval"] is not None:
            low, high = judged[name]["interval"]
            judged[name]["interval"] = max(0.0, low), min(1.0, high)
    return judged


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
