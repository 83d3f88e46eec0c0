"""Judge predictions: the protocol's own metric with its interval, and every other metric that the predictions allow.

Layer: evaluation; above metrics and statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from embedkit.evaluation import metrics
from embedkit.evaluation.estimate import Estimate, mean_of_values
from embedkit.evaluation.intervals import Scale, interval
from embedkit.evaluation.metrics import Metric
from embedkit.evaluation.predictions import Float64, Predicted, Targets
from embedkit.evaluation.statistics import mean_interval, share_interval

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

_SCALES: dict[str, Scale] = {
    "accuracy": "share",
    "top5_accuracy": "share",
    "mean_per_class_accuracy": "share",
    "log_loss": "log",
    "r2": "residual",
    "pearson": "fisher",
    "quadratic_kappa": "signed share",
    "macro_f1": "share",
    "weighted_f1": "share",
}
"""Where intervals are symmetric; the logit of the others."""

WITHOUT_INTERVAL = frozenset({"ece", "map_11_point", "map_11_point_as_published", "map_area"})
"""Biased by more than they vary: the error of calibration is never 0, of a calibrated model either, and the highest
precision at a recall or any higher one is partly that of chance."""

LEAST_ROWS = {"log_loss": 100}
"""Of a log-loss: of fewer rows, the few large losses of a sure model that decide its mean are mostly not among them."""
LEAST_OF_CLASS = {"mean_per_class_accuracy": 2, "macro_f1": 5, "roc_auc": 2, "roc_auc_ovo": 2, "average_precision": 50}
"""Rows that each class needs for intervals of means over classes."""
LEAST_OF_RAREST, LEAST_OF_RARE, RARE = 20, 200, 0.1
"""Rows of the rarest class times classes that metrics of classes need, and where the rarest has less than a tenth of
all rows: the few of them that are named wrong or rank low decide the metric, and mostly they are not among fewer."""
_RANKING = frozenset({"roc_auc", "roc_auc_ovo", "average_precision"})


def judge(names: Sequence[str], y: Targets, draws: Sequence[Predicted]) -> dict[str, dict[str, Any]]:
    """Give the means of metrics over draws with their 95 % intervals: ``{name: {"value": ..., "interval": ...}}``.

    One draw: by the choice of the test rows. Several draws that differ: by that of the test rows and of the draws
    together. Where the interval is None, ``"no_interval"`` says why.
    """
    if all(np.array_equal(draw.targets, draws[0].targets) for draw in draws[1:]):
        draws = draws[:1]  # draws of all rows: they say nothing of others
    return {name: _judged(name, y, draws) for name in names}


def _judged(name: str, y: Targets, draws: Sequence[Predicted]) -> dict[str, Any]:
    estimates = [estimated(name, y, draw) for draw in draws]
    value = float(np.mean([one.value for one in estimates]))
    if not np.isfinite(value):
        return {"value": None, "interval": None, "no_interval": "it is not defined on the test images"}
    found = interval_of(name, y, estimates)
    if found is None:
        reason = _too_few(name, y) or "nothing varies among the test images"
        return {"value": value, "interval": None, "no_interval": reason}
    return {"value": value, "interval": found}


def estimated(name: str, y: Targets, predicted: Predicted) -> Estimate:
    """Give a metric by its name, and how much each row moves it."""
    return METRICS[name].estimate(y, predicted)


def interval_of(name: str, y: Targets, estimates: Sequence[Estimate]) -> tuple[float, float] | None:
    """Give the 95 % interval of a metric, or of its mean over draws, of which each is estimated on the same rows.

    None where there is no honest one.
    """
    if len(estimates) == 1 and y.ndim == 1 and name in ("accuracy", "top5_accuracy"):
        return share_interval(round(estimates[0].value * len(y)), len(y))
    if _too_few(name, y):
        return None
    return interval(estimates, _SCALES.get(name, "logit"), _worth(name, y))


def interval_of_scores(scores: Float64) -> tuple[float, float]:
    """Give the 95 % interval of the mean of scores of images between 0 and 1, as `per_image` gives those of classes."""
    found = interval([mean_of_values(scores)], "share", len(scores))
    return found or (0.0, 1.0)


def interval_over_draws(name: str, values: Sequence[float]) -> tuple[float, float] | None:
    """Give Student's 95 % interval of a metric's mean over seeds; of shares as Wilson's. None where nothing varies."""
    if len(set(values)) < 2:
        return None
    if _SCALES.get(name, "logit") in ("share", "logit") and 0 <= min(values) <= max(values) <= 1:
        return interval([mean_of_values(np.array(values))], "share", len(values))
    return mean_interval(values)


def _too_few(name: str, y: Targets) -> str:
    """Say why the rows are too few for an interval; empty where they are not."""
    if name in WITHOUT_INTERVAL:
        return "its estimate is biased by more than it varies"
    if len(y) < LEAST_ROWS.get(name, 2):
        return f"fewer than {LEAST_ROWS.get(name, 2)} test images"
    if name in LEAST_OF_CLASS or name == "quadratic_kappa":
        counts = y.sum(axis=0) if y.ndim == 2 else np.bincount(y)
        counts = counts[counts > 0]
        if y.ndim == 1 and len(counts) < 2:
            return "the test images are of one class only"
        rarest = int(counts.min())
        if rarest < LEAST_OF_CLASS.get(name, 1):
            return f"fewer than {LEAST_OF_CLASS[name]} test images of some class"
        if name == "quadratic_kappa" and len(counts) > 2:
            return ""
        # Of two classes that exclude each other there is one area only.
        several = 1 if name in _RANKING and y.ndim == 1 and len(counts) == 2 else len(counts)
        least = LEAST_OF_RARE if rarest < RARE * len(y) and several < 10 else LEAST_OF_RAREST
        if rarest * several < least:
            return f"fewer than {-(-least // several)} test images of some class"
    return ""


def _worth(name: str, y: Targets) -> float:
    """Say how many rows a metric is worth."""
    if name != "mean_per_class_accuracy":
        return len(y)
    counts = np.bincount(y)
    counts = counts[counts > 0]
    return len(counts) ** 2 / float((1 / counts).sum())


def further_metrics(
    main: str, y: Targets, draws: Sequence[Predicted], own: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """Judge by every metric that the predictions allow beside the main one, and a protocol's own."""
    asked = [name for name in own if name != "roc_auc_ovo" or draws[0].scores is not None]
    return judge([name for name in [*applicable(y, draws[0]), *asked] if name != main], y, draws)


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
