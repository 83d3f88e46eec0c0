"""What is to be predicted, and the number that chooses hyper-parameters.

    class        labels          accuracy
    value        numbers         R2
    multilabel   scores a class  average precision, mean of the classes

Layer: evaluation; above metrics, splits and the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError
from embedkit.evaluation.metrics import mean_average_precision, r2
from embedkit.evaluation.predictions import Predicted, Targets
from embedkit.evaluation.splits import Labels, Rows
from embedkit.tables import FeatureTable

LabelType = Literal["class", "value", "multilabel"]

PredictedLabels = npt.NDArray[Any]
"""Labels (n_rows,) for classes, float64 (n_rows,) for values, scores (n_rows, n_classes) for several labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLabels:
    """The labels of every row of a table.

    Attributes
    ----------
    kind : {"class", "value", "multilabel"}
    y : ndarray of shape (n_rows,), str or float64, or of shape (n_rows, n_classes), bool
        As the table has them.
    targets : ndarray of shape (n_rows,), intp or float64, or of shape (n_rows, n_classes), bool
        The same with numbers for classes.
    classes : ndarray of shape (n_classes,), str
        What the numbers or columns mean; empty for values.
    scored : bool
        Predictions are to come with scores of the classes where the estimator has any.
    """

    kind: LabelType
    y: Labels
    targets: Targets
    classes: npt.NDArray[np.str_]
    scored: bool = False

    def score(self, predicted: PredictedLabels, rows: Rows) -> float:
        """Give the number that chooses hyper-parameters; larger is better."""
        return self.score_of(predicted, self.y[rows])

    def score_of(self, predicted: PredictedLabels, truth: npt.NDArray[Any]) -> float:
        """Give the same for labels that are at hand."""
        match self.kind:
            case "class":
                return float((predicted == truth).mean())
            case "value":
                return r2(truth, Predicted(targets=predicted))
            case "multilabel":
                value = mean_average_precision(truth, Predicted(targets=truth, scores=predicted))
                return value if np.isfinite(value) else 0.0

    def encode(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Give the numbers of classes by their labels."""
        return np.searchsorted(self.classes, labels).astype(np.intp)

    def decoded(self, targets: Targets) -> npt.NDArray[Any]:
        """Give class numbers as labels; values and marks are what they are."""
        return self.classes[targets] if self.kind == "class" else targets


def labels_of(table: FeatureTable, *, scored: bool = False) -> TableLabels:
    """Return what a table's labels ask for.

    Raises
    ------
    LabelsError
        There are no labels, or no rows.
    """
    if table.target_type == "none" or table.y is None:
        raise LabelsError(
            "the target has no labels, and a probe needs some: put images into one sub-folder a class, give a manifest "
            "with a label column, or name one by --label-column (label_column=...)"
        )
    if not len(table):
        raise LabelsError(
            f"the target holds no image with features ({len(table.failures)} failed); see `embedkit info`"
        )
    targets, classes = encoded(table)
    return TableLabels(kind=table.target_type, y=cast(Labels, table.y), targets=targets, classes=classes, scored=scored)


def encoded(table: FeatureTable) -> tuple[Targets, npt.NDArray[np.str_]]:
    """Give labels with numbers for classes, and what these mean."""
    if table.target_type == "class":
        classes, y = np.unique(cast(npt.NDArray[np.str_], table.y), return_inverse=True)
        return y.astype(np.intp), classes
    return cast(Targets, table.y), np.array(table.classes, dtype=np.str_)
