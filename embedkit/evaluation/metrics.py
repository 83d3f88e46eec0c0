"""Metrics of predictions, larger is better unless said; each with the influence of the rows, for its interval.

The influence of a row is what the metric gains per weight of the row: its slope, whose squares add up to the variance
of the metric (the infinitesimal jackknife: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter
21; for the area under the ROC curve that of E. R. DeLong et al., Biometrics 44, 1988). A class that no row belongs to
has no recall, no ranking and no precision: averages over classes leave it out.

Layer: evaluation; above predictions, estimate and rankings; NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.evaluation import rankings
from embedkit.evaluation.estimate import UNDEFINED, Estimate, mean_of, mean_of_values, of_groups, of_rows
from embedkit.evaluation.predictions import Float64, Predicted, Targets

ECE_BINS = 15
"""Of equal width, as in C. Guo et al., On calibration of modern neural networks, ICML 2017."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that judges predictions; NaN where it is not defined.

    Attributes
    ----------
    estimate : callable (y, predicted) -> Estimate
    """

    estimate: Callable[[Targets, Predicted], Estimate]

    def __call__(self, y: Targets, predicted: Predicted) -> float:
        """Give the metric alone."""
        return self.estimate(y, predicted).value


def correct(y: Targets, predicted: Predicted) -> Float64:
    """Say of each row whether it is right, 1 or 0; with several labels a row, the share of its marks that are."""
    right = np.asarray(predicted.targets == y, dtype=np.float64)
    return right if right.ndim == 1 else right.mean(axis=1)


@Metric
def accuracy(y: Targets, predicted: Predicted) -> Estimate:
    """Give the share of rows (several labels a row: of marks) that are right."""
    return mean_of_values(correct(y, predicted))


@Metric
def mean_per_class_accuracy(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean over classes of the share of their rows that is right, also known as balanced accuracy."""
    right, rows = correct(y, predicted), np.bincount(y)
    recalls = np.bincount(y, right) / np.maximum(rows, 1)
    classes = np.count_nonzero(rows)
    slope = (right - recalls[y]) / rows[y] / classes
    return of_groups(float(recalls.sum() / classes), slope, y, decided_by_few=True)


@Metric
def top_5_accuracy(y: Targets, predicted: Predicted) -> Estimate:
    """Give the share of rows whose class is among the five of highest score; of equals, the first classes."""
    return mean_of_values(in_top_5(y, predicted))


def in_top_5(y: Targets, predicted: Predicted) -> Float64:
    """Say of each row, 1 or 0, whether its class is among the five of highest score."""
    scores = _scores(predicted)
    of_truth = np.take_along_axis(scores, y[:, None], axis=1)
    earlier = cast(npt.NDArray[np.bool_], np.arange(scores.shape[1]) < y[:, None])
    before = ((scores > of_truth) | ((scores == of_truth) & earlier)).sum(axis=1)
    # A class that the model does not know is nobody's guess.
    return ((before < 5) & (of_truth[:, 0] > -np.inf)).astype(np.float64)


@Metric
def macro_f1(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean over classes of F1, the harmonic mean of precision and recall.

    Equal to scikit-learn's f1_score, classes being those of the rows or of the predictions, without its checks.
    """
    f1, slopes, _, bias = _f1(y, predicted)
    defined = ~np.isnan(f1)
    classes = np.count_nonzero(defined)
    slope = slopes(np.full(len(f1), 1 / classes))
    return of_groups(float(f1[defined].sum() / classes), slope, y, bias=float(bias.sum() / classes))


@Metric
def weighted_f1(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean of F1 over classes, each weighing as many as its rows are."""
    f1, slopes, rows, _ = _f1(y, predicted)
    f1 = np.nan_to_num(f1)
    value = float(rows @ f1 / len(y))
    return of_rows(value, (f1[y] - value) / len(y) + slopes(rows / len(y)))


def _f1(y: Targets, predicted: Predicted) -> tuple[Float64, Callable[[Float64], Float64], Float64, Float64]:
    """Give F1 of each class, the influence on their sum with some weights, the rows of each class, and F1's bias."""
    said = predicted.targets
    size = int(max(y.max(), said.max())) + 1
    right = correct(y, predicted)
    rows = np.bincount(y, minlength=size).astype(np.float64)
    both = rows + np.bincount(said, minlength=size)
    hits = np.bincount(y, right, minlength=size)
    f1 = _ratio(2 * hits, both)
    # By the jackknife: a row that is right counts twice among the rows and guesses, one that is wrong once in each.
    without_hit = 2 * (hits - 1) / np.maximum(both - 2, 1) - f1
    without_miss = 2 * hits / np.maximum(both - 1, 1) - f1
    bias = np.nan_to_num(hits * without_hit + (both - 2 * hits) * without_miss)

    def slopes(weights: Float64) -> Float64:
        each = weights / np.maximum(both, 1)
        return each[y] * (2 * right - f1[y]) - each[said] * f1[said]

    return f1, slopes, rows, bias


@Metric
def quadratic_kappa(y: Targets, predicted: Predicted) -> Estimate:
    """Give Cohen's kappa with quadratic weights: 1 for all right, 0 for chance, below 0 for worse.

    A mistake weighs as the square of the distance between two classes in their order, among those that are true or
    predicted somewhere: 1 - sum (t - p)^2 / (what it would be with t and p independent). Where classes have no order,
    their names decide. Equal to scikit-learn's ``cohen_kappa_score(..., weights="quadratic")``.
    """
    numbers = np.unique(np.concatenate([y, predicted.targets]), return_inverse=True)[1].astype(np.float64)
    true, said = numbers[: len(y)], numbers[len(y) :]

    apart, n = np.square(true - said), len(y)
    means = float(true.mean()), float(said.mean())
    by_chance = float((true**2 + said**2).mean()) - 2 * means[0] * means[1]
    if by_chance <= 0:
        return UNDEFINED
    value = 1 - float(apart.mean()) / by_chance
    # By chance too a row counts for its own distances from the others' means.
    of_chance = true**2 + said**2 - 2 * (true * means[1] + said * means[0]) + 2 * means[0] * means[1]
    return of_rows(value, ((1 - value) * of_chance - apart) / by_chance / n, decided_by_few=True)


@Metric
def roc_auc_one_against_one(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean over pairs of classes of the area under the ROC curve, of either class by its own scores.

    As scikit-learn's ``roc_auc_score(multi_class="ovo", average="macro")`` (D. J. Hand, R. J. Till, A simple
    generalisation of the area under the ROC curve for multiple class classification problems, Machine Learning 45,
    2001); classes without a row are left out.
    """
    scores = np.where(np.isfinite(_scores(predicted)), _scores(predicted), -np.finfo(np.float64).max)
    pairs = combinations(np.unique(y).tolist(), 2)
    found: list[Estimate] = []
    for pair in pairs:
        rows = np.flatnonzero(np.isin(y, pair))
        for own in pair:
            area = rankings.roc_area(y[rows] == own, scores[rows, own])
            influence = np.zeros(len(y))
            influence[rows] = cast(Float64, area.influence)
            found.append(area._replace(influence=influence))
    return mean_of(found)


@Metric
def roc_auc(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean over classes of the area under the ROC curve, each class against the rest.

    For two classes it is the area of either. Equal to scikit-learn's; ties count half.
    """
    return _of_classes(y, predicted, rankings.roc_area)


@Metric
def mean_average_precision(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean over classes of the average precision, the sum of precisions at each step of recall.

    Equal to scikit-learn's average_precision_score, without its checks, which take ten times as long.
    """
    return _of_classes(y, predicted, rankings.average_precision)


@Metric
def mean_average_precision_11(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean over classes of the 11-point average precision of PASCAL VOC 2007.

    The mean over recalls 0, 0.1, ..., 1 of the highest precision at that recall or a higher one (M. Everingham et al.,
    The PASCAL visual object classes challenge, IJCV 88, 2010, section 4.2); as in the originals, that at recall 0 is 1.
    """
    return _of_classes(y, predicted, rankings.precision_at_11_points)


@Metric
def mean_average_precision_11_as_published(y: Targets, predicted: Predicted) -> Estimate:
    """Give the 11-point mean average precision with recalls compared in floating point, as some originals do.

    Rounding puts a recall of 3 / 10 below the level 0.3, which is 0.30000000000000004 in ``numpy.linspace(0, 1, 11)``.
    """
    return _of_classes(y, predicted, rankings.precision_at_11_points_as_published)


@Metric
def mean_average_precision_area(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean over classes of the area under the interpolated precision-recall curve (PASCAL VOC from 2010)."""
    return _of_classes(y, predicted, rankings.precision_area)


@Metric
def log_loss(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean negative log-probability of the truth, in nats; smaller is better.

    Probabilities are clipped at the machine epsilon of float64, as scikit-learn does.
    """
    return mean_of_values(log_losses(y, predicted), decided_by_few=True)


def log_losses(y: Targets, predicted: Predicted) -> Float64:
    """Give the negative log-probability of the truth of each row; several labels a row: their mean."""
    probabilities = _probabilities(predicted)
    tiny = float(np.finfo(np.float64).eps)
    one_class = y.ndim == 1
    of_truth = probabilities[np.arange(len(y)), y] if one_class else np.where(y, probabilities, 1 - probabilities)
    losses = -np.log(np.clip(of_truth, tiny, 1 - tiny))
    return losses if one_class else losses.mean(axis=1)


@Metric
def expected_calibration_error(y: Targets, predicted: Predicted) -> Estimate:
    """Give the mean gap between confidence and accuracy over 15 bins of confidence; smaller is better."""
    confidence = _probabilities(predicted).max(axis=1)
    # (0, 1/15], (1/15, 2/15], ...: as the original.
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.intp) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, confidence - correct(y, predicted))
    return Estimate(float(np.abs(gaps).sum() / len(y)))


@Metric
def r2(y: Targets, predicted: Predicted) -> Estimate:
    """Give the share of the variance of values that is explained; below 0 where the mean would do better.

    Where the truth does not vary it is 1 if everything is right, else 0, as in `sklearn.metrics.r2_score`.
    """
    residuals, centred = np.square(y - predicted.targets), _centred(y)
    residual, total = float(residuals.sum()), float((centred**2).sum())
    if total == 0:
        return Estimate(0.0 if residual > 0 else 1.0)
    slope = (residual / total * centred**2 - residuals) / total
    return of_rows(1 - residual / total, slope, decided_by_few=True)


@Metric
def pearson(y: Targets, predicted: Predicted) -> Estimate:
    """Give Pearson's correlation of values and predictions; 0 where either does not vary.

    How much a row moves it is the jackknife's, what it is without that row (R. G. Miller, The jackknife: a review,
    Biometrika 61, 1974): its slope says too little of rows far out.
    """
    n, a, b = len(y), _centred(y), _centred(predicted.targets)
    scale = float(np.sqrt((a**2).mean() * (b**2).mean()))
    if scale == 0:
        return Estimate(0.0)
    ab, aa, bb = ((one * other).sum() - n / (n - 1) * one * other for one, other in ((a, b), (a, a), (b, b)))
    under = np.sqrt(np.maximum(aa, 0) * np.maximum(bb, 0))
    without = np.divide(ab, under, out=np.zeros(n), where=under > 1e-12 * n * scale)
    value = float(np.clip((a * b).mean() / scale, -1, 1))
    return of_rows(value, (without.mean() - without) * (n - 1) / n, decided_by_few=True)


def _centred(values: Float64) -> Float64:
    centred = values - values.mean()
    # Of equal values rounding leaves a little.
    nothing = len(values) * float(4 * np.finfo(np.float64).eps * np.abs(values).max()) ** 2
    return centred if float((centred**2).sum()) > nothing else np.zeros_like(centred)


def _ratio(over: npt.NDArray[Any], under: Float64) -> Float64:
    """Divide, NaN by 0."""
    return np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0)


def _of_classes(
    y: Targets, predicted: Predicted, metric: Callable[[npt.NDArray[np.bool_], Float64], Estimate]
) -> Estimate:
    """Average a metric of one class's marks and scores over the classes."""
    # What is not known ranks behind everything, in numbers that can be sorted and subtracted.
    scores = np.where(np.isfinite(_scores(predicted)), _scores(predicted), -np.finfo(np.float64).max)
    each = [
        metric(y[:, k] if y.ndim == 2 else y == k, np.ascontiguousarray(scores[:, k])) for k in range(scores.shape[1])
    ]
    return mean_of([one for one in each if np.isfinite(one.value)])


def _scores(predicted: Predicted) -> Float64:
    if predicted.scores is None:
        raise UsageError("this metric needs scores, and the predictions have none")
    return predicted.scores


def _probabilities(predicted: Predicted) -> Float64:
    if not predicted.are_probabilities:
        raise UsageError("this metric needs probabilities, and the scores are none")
    return _scores(predicted)
