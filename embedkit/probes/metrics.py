"""Metrics of predictions, larger is better unless said: each a function of targets and `Predicted`.

scikit-learn's functions where it has them. A class that no test row belongs to has no recall, no ranking and no
precision: averages over classes leave it out.

Layer: probes; above scikit-learn, probes.predictions and probes.tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.probes import tasks
from embedkit.probes.predictions import Float64, Predicted, Targets

Metric = Callable[[Targets, Predicted], float]

ECE_BINS = 15
"""Of equal width, as in C. Guo et al., On calibration of modern neural networks, ICML 2017."""


def correct(y: Targets, predicted: Predicted) -> Float64:
    """Say of each row whether it is right, 1 or 0; with several labels a row, the share of its marks that are."""
    right = np.asarray(predicted.targets == y, dtype=np.float64)
    return right if right.ndim == 1 else right.mean(axis=1)


def accuracy(y: Targets, predicted: Predicted) -> float:
    """Give the share of rows (several labels a row: of marks) that are right."""
    return float(correct(y, predicted).mean())


def mean_per_class_accuracy(y: Targets, predicted: Predicted) -> float:
    """Give the mean over classes of the share of their rows that is right, also known as balanced accuracy."""
    right, counts = correct(y, predicted), np.bincount(y)
    present = counts > 0
    return float((np.bincount(y, weights=right)[present] / counts[present]).mean())


def top_5_accuracy(y: Targets, predicted: Predicted) -> float:
    """Give the share of rows whose class is among the five of highest score; of equals, the first classes."""
    scores = _scores(predicted)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    # A class that the model does not know is nobody's guess.
    known = np.take_along_axis(scores, best, axis=1) > -np.inf
    return float(((best == y[:, None]) & known).any(axis=1).mean())


def macro_f1(y: Targets, predicted: Predicted) -> float:
    """Give the mean over classes of F1, the harmonic mean of precision and recall.

    Equal to scikit-learn's f1_score, classes being those of the rows or of the predictions, without its checks.
    """
    size = int(max(y.max(), predicted.targets.max())) + 1
    found = np.bincount(y, minlength=size) + np.bincount(predicted.targets, minlength=size)
    right = np.bincount(y[y == predicted.targets], minlength=size)
    present = found > 0
    return float((2 * right[present] / found[present]).mean())


def roc_auc(y: Targets, predicted: Predicted) -> float:
    """Give the mean over classes of the area under the ROC curve, each class against the rest.

    For two classes it is the area of either. Equal to scikit-learn's; by ranks, so that ties count half.
    """
    import scipy.stats

    scores, marks = _finite(_scores(predicted)), _marks(y, predicted)
    positives = marks.sum(axis=0)
    negatives = len(marks) - positives
    defined = (positives > 0) & (negatives > 0)
    if not defined.any():
        return float("nan")
    ranks = cast(Float64, cast(Any, scipy.stats).rankdata(scores[:, defined], axis=0))
    p, n = positives[defined], negatives[defined]
    sums = (ranks * marks[:, defined]).sum(axis=0)
    return float(((sums - p * (p + 1) / 2) / (p * n)).mean())


def mean_average_precision(y: Targets, predicted: Predicted) -> float:
    """Give the mean over classes of the average precision, the sum of precisions at each step of recall.

    Equal to scikit-learn's average_precision_score, without its checks, which take ten times as long.
    """
    return _mean_over_classes(y, predicted, _average_precision)


def mean_average_precision_11(y: Targets, predicted: Predicted) -> float:
    """Give the mean over classes of the 11-point average precision of PASCAL VOC 2007.

    The mean over recalls 0, 0.1, ..., 1 of the highest precision at that recall or a higher one (M. Everingham et al.,
    The PASCAL visual object classes challenge, IJCV 88, 2010, section 4.2).
    """
    return _mean_over_classes(y, predicted, average_precision_11)


def mean_average_precision_area(y: Targets, predicted: Predicted) -> float:
    """Give the mean over classes of the area under the interpolated precision-recall curve (PASCAL VOC from 2010)."""
    return _mean_over_classes(y, predicted, _average_precision_area)


def log_loss(y: Targets, predicted: Predicted) -> float:
    """Give the mean negative log-probability of the truth, in nats; smaller is better.

    Probabilities are clipped at the machine epsilon of float64, as scikit-learn does.
    """
    probabilities = _probabilities(predicted)
    tiny = float(np.finfo(np.float64).eps)
    one_class = y.ndim == 1
    of_truth = probabilities[np.arange(len(y)), y] if one_class else np.where(y, probabilities, 1 - probabilities)
    return float(-np.log(np.clip(of_truth, tiny, 1 - tiny)).mean())


def expected_calibration_error(y: Targets, predicted: Predicted) -> float:
    """Give the mean gap between confidence and accuracy over 15 bins of confidence; smaller is better."""
    confidence = _probabilities(predicted).max(axis=1)
    right = correct(y, predicted)
    # (0, 1/15], (1/15, 2/15], ...: as the original.
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.intp) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(y))


def r2(y: Targets, predicted: Predicted) -> float:
    """Give the share of the variance of values that is explained."""
    return tasks.r2(y, predicted.targets)


def pearson(y: Targets, predicted: Predicted) -> float:
    """Give the correlation of values and predictions; 0 where either does not vary."""
    return tasks.pearson(y, predicted.targets)


def average_precision_11(marks: npt.NDArray[np.bool_], scores: Float64) -> float:
    """Give the 11-point average precision of one class; as in the originals, the precision at recall 0 is 1."""
    precision, recall = _precision_recall(marks, scores)
    # Rounding must not put a recall of 3 / 10 below the level 0.3.
    levels = [precision[recall >= level - 1e-12].max() for level in np.linspace(0.1, 1, 10)]
    return float((1 + sum(levels)) / 11)


def _average_precision(marks: npt.NDArray[np.bool_], scores: Float64) -> float:
    precision, recall = _precision_recall(marks, scores)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _average_precision_area(marks: npt.NDArray[np.bool_], scores: Float64) -> float:
    precision, recall = _precision_recall(marks, scores)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _precision_recall(marks: npt.NDArray[np.bool_], scores: Float64) -> tuple[Float64, Float64]:
    """Give precision and recall at each distinct score from the highest on; recalls ascend to 1."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    found = np.cumsum(marks[order])[last]
    return found / (last + 1), found / found[-1]


def _mean_over_classes(
    y: Targets, predicted: Predicted, metric: Callable[[npt.NDArray[np.bool_], Float64], float]
) -> float:
    scores, marks = _finite(_scores(predicted)), _marks(y, predicted)
    present = np.flatnonzero(marks.any(axis=0))
    values = [metric(marks[:, k], scores[:, k]) for k in present]
    return float(np.mean(values)) if values else float("nan")


def _marks(y: Targets, predicted: Predicted) -> npt.NDArray[np.bool_]:
    return y if y.ndim == 2 else cast(npt.NDArray[np.bool_], y[:, None] == np.arange(_scores(predicted).shape[1]))


def _finite(scores: Float64) -> Float64:
    """Rank what is not known behind everything, in numbers that can be sorted and subtracted."""
    return np.where(np.isfinite(scores), scores, -np.finfo(np.float64).max)


def _scores(predicted: Predicted) -> Float64:
    if predicted.scores is None:
        raise UsageError("this metric needs scores, and the predictions have none")
    return predicted.scores


def _probabilities(predicted: Predicted) -> Float64:
    if not predicted.are_probabilities:
        raise UsageError("this metric needs probabilities, and the scores are none")
    return _scores(predicted)
