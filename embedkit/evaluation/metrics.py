"""Metrics of predictions, larger is better unless said; each also of samples of the same rows, for the bootstrap.

A sample is given by how often it holds each row, so that what samples share (the order of scores, say) is found once. A
class that no row belongs to has no recall, no ranking and no precision: averages over classes leave it out.

Layer: probes; above probes.predictions. NumPy and SciPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.evaluation.predictions import Float64, Predicted, Targets

Sampled = Callable[[Float64], Float64]
"""From how often each sample holds each row, (n_rows, n_samples), to the metric of each sample, (n_samples,)."""

ECE_BINS = 15
"""Of equal width, as in C. Guo et al., On calibration of modern neural networks, ICML 2017."""

_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that judges predictions; NaN where it is not defined.

    Attributes
    ----------
    sampled : callable (y, predicted) -> Sampled
        Prepares the metric for samples of rows.
    """

    sampled: Callable[[Targets, Predicted], Sampled]

    def __call__(self, y: Targets, predicted: Predicted) -> float:
        """Give the metric of the rows as they are."""
        return float(self.sampled(y, predicted)(np.ones((len(y), 1)))[0])


def correct(y: Targets, predicted: Predicted) -> Float64:
    """Say of each row whether it is right, 1 or 0; with several labels a row, the share of its marks that are."""
    right = np.asarray(predicted.targets == y, dtype=np.float64)
    return right if right.ndim == 1 else right.mean(axis=1)


@Metric
def accuracy(y: Targets, predicted: Predicted) -> Sampled:
    """Give the share of rows (several labels a row: of marks) that are right."""
    return _mean(correct(y, predicted))


@Metric
def mean_per_class_accuracy(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean over classes of the share of their rows that is right, also known as balanced accuracy."""
    rows, right = _sums(y), _sums(y, correct(y, predicted))
    return lambda counts: _mean_over_classes(_ratio(right(counts), rows(counts)))


@Metric
def top_5_accuracy(y: Targets, predicted: Predicted) -> Sampled:
    """Give the share of rows whose class is among the five of highest score; of equals, the first classes."""
    return _mean(in_top_5(y, predicted))


def in_top_5(y: Targets, predicted: Predicted) -> Float64:
    """Say of each row, 1 or 0, whether its class is among the five of highest score."""
    scores = _scores(predicted)
    of_truth = np.take_along_axis(scores, y[:, None], axis=1)
    earlier = cast(npt.NDArray[np.bool_], np.arange(scores.shape[1]) < y[:, None])
    before = ((scores > of_truth) | ((scores == of_truth) & earlier)).sum(axis=1)
    # A class that the model does not know is nobody's guess.
    return ((before < 5) & (of_truth[:, 0] > -np.inf)).astype(np.float64)


@Metric
def macro_f1(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean over classes of F1, the harmonic mean of precision and recall.

    Equal to scikit-learn's f1_score, classes being those of the rows or of the predictions, without its checks.
    """
    size = int(max(y.max(), predicted.targets.max())) + 1
    rows, guesses = _sums(y, size=size), _sums(predicted.targets, size=size)
    right = _sums(y, correct(y, predicted), size=size)
    return lambda counts: _mean_over_classes(_ratio(2 * right(counts), rows(counts) + guesses(counts)))


@Metric
def weighted_f1(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean of F1 over classes, each weighing as many as its rows are."""
    size = int(max(y.max(), predicted.targets.max())) + 1
    rows, guesses = _sums(y, size=size), _sums(predicted.targets, size=size)
    right = _sums(y, correct(y, predicted), size=size)

    def of(counts: Float64) -> Float64:
        f1 = np.nan_to_num(_ratio(2 * right(counts), rows(counts) + guesses(counts)))
        return (rows(counts) * f1).sum(axis=0) / counts.sum(axis=0)

    return of


@Metric
def quadratic_kappa(y: Targets, predicted: Predicted) -> Sampled:
    """Give Cohen's kappa with quadratic weights: 1 for all right, 0 for chance, below 0 for worse.

    A mistake weighs as the square of the distance between two classes in their order, among those that are true or
    predicted somewhere: 1 - sum (t - p)^2 / (what it would be with t and p independent). Where classes have no order,
    their names decide. Equal to scikit-learn's ``cohen_kappa_score(..., weights="quadratic")``.
    """
    numbers = np.unique(np.concatenate([y, predicted.targets]), return_inverse=True)[1].astype(np.float64)
    true, said = numbers[: len(y)], numbers[len(y) :]

    def of(counts: Float64) -> Float64:
        apart = np.square(true - said) @ counts
        by_chance = (true**2 + said**2) @ counts - 2 * (true @ counts) * (said @ counts) / counts.sum(axis=0)
        return 1 - _ratio(apart, by_chance)

    return of


@Metric
def roc_auc_one_against_one(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean over pairs of classes of the area under the ROC curve, of either class by its own scores.

    As scikit-learn's ``roc_auc_score(multi_class="ovo", average="macro")`` (D. J. Hand, R. J. Till, A simple
    generalisation of the area under the ROC curve for multiple class classification problems, Machine Learning 45,
    2001); classes without a row are left out.
    """
    scores = np.where(np.isfinite(_scores(predicted)), _scores(predicted), -np.finfo(np.float64).max)
    pairs = combinations(np.unique(y).tolist(), 2)
    areas = [
        (rows, _roc_area(y[rows] == own, np.ascontiguousarray(scores[rows, own])))
        for pair in pairs
        for rows in [np.flatnonzero(np.isin(y, pair))]
        for own in pair
    ]
    if not areas:
        return lambda counts: cast(Float64, np.full(counts.shape[1], np.nan))
    return lambda counts: _mean_over_classes(np.stack([area(counts[rows]) for rows, area in areas]))


@Metric
def roc_auc(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean over classes of the area under the ROC curve, each class against the rest.

    For two classes it is the area of either. Equal to scikit-learn's; ties count half.
    """
    return _of_classes(y, predicted, _roc_area)


@Metric
def mean_average_precision(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean over classes of the average precision, the sum of precisions at each step of recall.

    Equal to scikit-learn's average_precision_score, without its checks, which take ten times as long.
    """
    return _of_classes(y, predicted, _ranked(_average_precision))


@Metric
def mean_average_precision_11(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean over classes of the 11-point average precision of PASCAL VOC 2007.

    The mean over recalls 0, 0.1, ..., 1 of the highest precision at that recall or a higher one (M. Everingham et al.,
    The PASCAL visual object classes challenge, IJCV 88, 2010, section 4.2); as in the originals, that at recall 0 is 1.
    """
    return _of_classes(y, predicted, _ranked(_average_precision_11))


@Metric
def mean_average_precision_11_as_published(y: Targets, predicted: Predicted) -> Sampled:
    """Give the 11-point mean average precision with recalls compared in floating point, as some originals do.

    Rounding puts a recall of 3 / 10 below the level 0.3, which is 0.30000000000000004 in ``numpy.linspace(0, 1, 11)``.
    """
    return _of_classes(y, predicted, _ranked(_average_precision_11_as_published))


@Metric
def mean_average_precision_area(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean over classes of the area under the interpolated precision-recall curve (PASCAL VOC from 2010)."""
    return _of_classes(y, predicted, _ranked(_average_precision_area))


@Metric
def log_loss(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean negative log-probability of the truth, in nats; smaller is better.

    Probabilities are clipped at the machine epsilon of float64, as scikit-learn does.
    """
    return _mean(log_losses(y, predicted))


def log_losses(y: Targets, predicted: Predicted) -> Float64:
    """Give the negative log-probability of the truth of each row; several labels a row: their mean."""
    probabilities = _probabilities(predicted)
    tiny = float(np.finfo(np.float64).eps)
    one_class = y.ndim == 1
    of_truth = probabilities[np.arange(len(y)), y] if one_class else np.where(y, probabilities, 1 - probabilities)
    losses = -np.log(np.clip(of_truth, tiny, 1 - tiny))
    return losses if one_class else losses.mean(axis=1)


@Metric
def expected_calibration_error(y: Targets, predicted: Predicted) -> Sampled:
    """Give the mean gap between confidence and accuracy over 15 bins of confidence; smaller is better."""
    confidence = _probabilities(predicted).max(axis=1)
    # (0, 1/15], (1/15, 2/15], ...: as the original.
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.intp) - 1, 0, ECE_BINS - 1)
    gaps = _sums(bins, confidence - correct(y, predicted))
    return lambda counts: np.abs(gaps(counts)).sum(axis=0) / counts.sum(axis=0)


@Metric
def r2(y: Targets, predicted: Predicted) -> Sampled:
    """Give the share of the variance of values that is explained; below 0 where the mean would do better.

    Where the truth does not vary it is 1 if everything is right, else 0, as in `sklearn.metrics.r2_score`.
    """
    residuals = np.square(y - predicted.targets)

    def of(counts: Float64) -> Float64:
        residual, (_, total) = residuals @ counts, _centred(y, counts)
        return np.where(total > 0, 1 - _ratio(residual, total), np.where(residual > 0, 0.0, 1.0))

    return of


@Metric
def pearson(y: Targets, predicted: Predicted) -> Sampled:
    """Give Pearson's correlation of values and predictions; 0 where either does not vary."""

    def of(counts: Float64) -> Float64:
        (a, of_a), (b, of_b) = _centred(y, counts), _centred(predicted.targets, counts)
        scale = np.sqrt(of_a * of_b)
        return np.where(scale > 0, np.clip(_ratio((counts * a * b).sum(axis=0), scale), -1, 1), 0.0)

    return of


def _mean(values: Float64) -> Sampled:
    return lambda counts: values @ counts / counts.sum(axis=0)


def _centred(values: Float64, counts: Float64) -> tuple[Float64, Float64]:
    """Subtract from values the mean of each sample; give that and the sums of its squares."""
    centred = values[:, None] - _mean(values)(counts)
    squares = (counts * centred * centred).sum(axis=0)
    # Of equal values rounding leaves a little.
    nothing = len(values) * float(4 * np.finfo(np.float64).eps * np.abs(values).max()) ** 2
    return centred, np.where(squares > nothing, squares, 0.0)


def _sums(groups: npt.NDArray[np.intp], values: Float64 | None = None, size: int | None = None) -> Sampled:
    """Give the sums of values (by default 1) over the rows of each group, of shape (n_groups, n_samples)."""
    n = len(groups)
    size = int(groups.max()) + 1 if size is None else size
    matrix = _sparse(np.ones(n) if values is None else values, groups, np.arange(n), (size, n))
    return lambda counts: matrix @ counts


def _sparse(values: Float64, rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], shape: tuple[int, int]) -> Any:
    import scipy.sparse

    return cast(Any, scipy.sparse).csr_matrix((values, (rows, columns)), shape=shape)


def _ratio(over: Float64, under: Float64) -> Float64:
    """Divide, NaN by 0."""
    return np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0)


def _mean_over_classes(values: Float64) -> Float64:
    """Average over the first axis what is not NaN."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))


def _of_classes(
    y: Targets, predicted: Predicted, metric: Callable[[npt.NDArray[np.bool_], Float64], Sampled]
) -> Sampled:
    """Average a metric of one class's marks and scores over the classes."""
    # What is not known ranks behind everything, in numbers that can be sorted and subtracted.
    scores = np.where(np.isfinite(_scores(predicted)), _scores(predicted), -np.finfo(np.float64).max)
    classes = range(scores.shape[1])
    each = [metric(y[:, k] if y.ndim == 2 else y == k, np.ascontiguousarray(scores[:, k])) for k in classes]
    return lambda counts: _mean_over_classes(np.stack([one(counts) for one in each]))


def _roc_area(marks: npt.NDArray[np.bool_], scores: Float64) -> Sampled:
    """Give the share of pairs of a row of the class and another row that the scores put in order."""
    inside, others = np.flatnonzero(marks), np.flatnonzero(~marks)
    inside = inside[np.argsort(scores[inside], kind="stable")]
    # Another row is half beaten by the first of the class that it is not above, wholly by the first that is above it.
    first = [np.searchsorted(scores[inside], scores[others], side) for side in ("left", "right")]
    halves = np.full(2 * len(others), 0.5)
    beaten = _sparse(halves, np.concatenate(first), np.tile(others, 2), (len(inside) + 1, len(marks)))

    def of(counts: Float64) -> Float64:
        below = np.cumsum(beaten @ counts, axis=0)
        weights = counts[inside]
        return _ratio((weights * below[:-1]).sum(axis=0), weights.sum(axis=0) * below[-1])

    return of


def _ranked(
    summary: Callable[[Float64, Float64], Float64],
) -> Callable[[npt.NDArray[np.bool_], Float64], Sampled]:
    """Make a metric of one class from precision and recall at each of its rows' scores, from the highest on.

    Between these recall stays, and precision only falls.
    """

    def prepare(marks: npt.NDArray[np.bool_], scores: Float64) -> Sampled:
        inside = np.flatnonzero(marks)
        thresholds = np.unique(-scores[inside])
        first = np.searchsorted(thresholds, -scores)
        shape = len(thresholds) + 1, len(marks)
        every = _sparse(np.ones(len(marks)), first, np.arange(len(marks)), shape)
        own = _sparse(np.ones(len(inside)), first[inside], inside, shape)

        def of(counts: Float64) -> Float64:
            found: Float64 = np.cumsum(own @ counts, axis=0)[:-1]
            seen: Float64 = np.cumsum(every @ counts, axis=0)[:-1]
            if not len(found):
                return cast(Float64, np.full(counts.shape[1], np.nan))
            # The best scores may have no row in a sample: nothing is found there, of nothing.
            value = summary(found / np.maximum(seen, _TINY), found / np.maximum(found[-1], _TINY))
            value[found[-1] == 0] = np.nan
            return value

        return of

    return prepare


def _average_precision(precision: Float64, recall: Float64) -> Float64:
    return (np.diff(recall, prepend=0.0, axis=0) * precision).sum(axis=0)


def _average_precision_area(precision: Float64, recall: Float64) -> Float64:
    return _average_precision(_envelope(precision), recall)


def _average_precision_11(precision: Float64, recall: Float64) -> Float64:
    # Rounding must not put a recall of 3 / 10 below the level 0.3.
    return _at_levels(precision, recall, np.linspace(0, 1, 11)[1:] - 1e-12)


def _average_precision_11_as_published(precision: Float64, recall: Float64) -> Float64:
    return _at_levels(precision, recall, np.linspace(0, 1, 11)[1:])


def _at_levels(precision: Float64, recall: Float64, levels: Float64) -> Float64:
    """Average the highest precision at each level of recall or above, and the 1 at recall 0."""
    highest = _envelope(precision)
    first = np.stack([(recall < level).sum(axis=0) for level in levels])
    return (1 + np.take_along_axis(highest, np.minimum(first, len(recall) - 1), axis=0).sum(axis=0)) / 11


def _envelope(precision: Float64) -> Float64:
    """Give the highest precision at each recall or a higher one."""
    return np.maximum.accumulate(precision[::-1], axis=0)[::-1]


def _scores(predicted: Predicted) -> Float64:
    if predicted.scores is None:
        raise UsageError("this metric needs scores, and the predictions have none")
    return predicted.scores


def _probabilities(predicted: Predicted) -> Float64:
    if not predicted.are_probabilities:
        raise UsageError("this metric needs probabilities, and the scores are none")
    return _scores(predicted)
