"""What is to be predicted, and how predictions are judged.

    class        labels          accuracy, Wilson interval
    value        numbers         R2, bootstrap interval; beside it Pearson's correlation
    multilabel   scores a class  average precision, mean of the classes, bootstrap interval

Layer: probes; above the store's tables and probes.statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError, SplitError
from embedkit.probes.splits import Labels, Rows
from embedkit.probes.statistics import bootstrap_interval, wilson_interval
from embedkit.store import FeatureTable

Kind = Literal["class", "value", "multilabel"]
TargetType = Kind | Literal["none"]

Predictions = npt.NDArray[Any]
"""Labels (n_rows,) for classes, float64 (n_rows,) for values, scores (n_rows, n_classes) for several labels."""

# Resamples of the bootstrap; fewer where one takes long.
_RESAMPLES, _FEW_RESAMPLES, _LONG = 1000, 200, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The main number of some predictions with its 95 % interval, and further ones as `ProbeResult` has them."""

    metric: str
    value: float
    interval: tuple[float, float]
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The target of every row of a table.

    Attributes
    ----------
    kind : {"class", "value", "multilabel"}
    y : ndarray of shape (n_rows,), str or float64, or of shape (n_rows, n_classes), bool
    """

    kind: Kind
    y: Labels

    def score(self, predicted: Predictions, rows: Rows) -> float:
        """Give the number that chooses hyper-parameters; larger is better."""
        return self.score_of(predicted, self.y[rows])

    def score_of(self, predicted: Predictions, truth: npt.NDArray[Any]) -> float:
        """Give the same for labels that are at hand."""
        match self.kind:
            case "class":
                return float((predicted == truth).mean())
            case "value":
                return r2(truth, predicted)
            case "multilabel":
                return _MeanPrecision(truth, predicted).of(np.ones(len(truth)))

    def judge(self, predicted: Predictions, rows: Rows, random_state: int) -> Judgement:
        """Give the number to report, with its interval over the rows.

        Raises
        ------
        SplitError
            The rows allow no such number: no class of several labels occurs in them.
        """
        truth: npt.NDArray[Any] = self.y[rows]
        if self.kind == "class":
            right = int((predicted == truth).sum())
            return Judgement(metric="accuracy", value=right / len(rows), interval=wilson_interval(right, len(rows)))
        if self.kind == "value":

            def bootstrapped(metric: Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]) -> tuple[float, float]:
                return _interval(lambda drawn: metric(truth[drawn], predicted[drawn]), truth, random_state)

            correlation = {"value": pearson(truth, predicted), "interval": bootstrapped(pearson)}
            value = r2(truth, predicted)
            return Judgement(metric="r2", value=value, interval=bootstrapped(r2), metrics={"pearson": correlation})
        if not truth.any():
            raise SplitError("no tested image has any of the classes, so nothing can be judged; check the splits")
        precision = _MeanPrecision(truth, predicted)
        return Judgement(
            metric="average_precision",
            value=precision.of(np.ones(len(rows))),
            interval=_interval(
                lambda drawn: precision.of(np.bincount(drawn, minlength=len(rows)).astype(np.float64)),
                truth,
                random_state,
            ),
        )


def task_of(table: FeatureTable) -> Task:
    """Return what a table's labels ask for.

    Raises
    ------
    LabelsError
        There are no labels, or no rows.
    """
    if table.target_type == "none" or table.y is None:
        raise LabelsError(
            "the target has no labels, and a probe needs some: put images into one sub-folder a class, give a manifest "
            "with a label column, or name one by label_column"
        )
    if not len(table):
        raise LabelsError(
            f"the target holds no image with features ({len(table.failures)} failed); see `embedkit info`"
        )
    return Task(kind=table.target_type, y=cast(Labels, table.y))


def r2(truth: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]) -> float:
    """Give the share of the variance that is explained; below 0 where the mean would do better.

    Where the truth does not vary it is 1 if everything is right, else 0, as in `sklearn.metrics.r2_score`.
    """
    residual = float(np.square(truth - predicted).sum())
    total = float(np.square(truth - truth.mean()).sum())
    if total == 0:
        return 1.0 if residual == 0 else 0.0
    return 1 - residual / total


def pearson(truth: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]) -> float:
    """Give Pearson's correlation; 0 where either side does not vary."""
    a, b = truth - truth.mean(), predicted - predicted.mean()
    scale = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float(np.clip(a @ b / scale, -1, 1)) if scale > 0 else 0.0


def _interval(
    statistic: Callable[[npt.NDArray[np.intp]], float], truth: npt.NDArray[Any], random_state: int
) -> tuple[float, float]:
    resamples = _RESAMPLES if truth.size <= _LONG else _FEW_RESAMPLES
    return bootstrap_interval(statistic, np.zeros(len(truth)), n_resamples=resamples, random_state=random_state)


class _MeanPrecision:
    """Average precision, mean over the classes that occur, of the same scores under any weights of the rows.

    Equal to the mean of `sklearn.metrics.average_precision_score`: precision at each threshold, weighted by the recall
    that it adds; equal scores share a threshold. Sorted once, so that a resample costs two running sums.
    """

    def __init__(self, truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating[Any]]) -> None:
        occurring = np.flatnonzero(truth.any(axis=0))
        self._orders = [np.argsort(-scores[:, column], kind="stable") for column in occurring]
        self._marks = [truth[order, column] for order, column in zip(self._orders, occurring, strict=True)]
        # The last row of each threshold.
        self._ends = [
            np.append(np.flatnonzero(np.diff(scores[order, column])), len(order) - 1)
            for order, column in zip(self._orders, occurring, strict=True)
        ]

    def of(self, weights: npt.NDArray[np.float64]) -> float:
        """Give the mean over the classes that occur in rows of any weight; 0 without one."""
        values: list[float] = []
        for order, marks, ends in zip(self._orders, self._marks, self._ends, strict=True):
            sorted_weights = weights[order]
            found = np.cumsum(sorted_weights * marks)[ends]
            if found[-1] > 0:
                all_rows = np.maximum(np.cumsum(sorted_weights)[ends], 1e-300)
                values.append(float((np.diff(found, prepend=0.0) * found / all_rows).sum() / found[-1]))
        return float(np.mean(values)) if values else 0.0
