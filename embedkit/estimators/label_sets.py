"""Classifiers of several labels an image, with the names of the labels.

Layer: imports scikit-learn, NumPy and embedkit.errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import sklearn.base
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin

from embedkit.errors import UsageError

Floats = npt.NDArray[np.float64]


class LabelSetClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # pyright: ignore[reportUntypedBaseClass]
    """Several labels an image, by an estimator that is fitted on marks: it knows their names.

    scikit-learn's estimators of several labels take and give columns of 0 and 1 and forget what these are.

    Parameters
    ----------
    estimator : estimator
        A classifier that takes marks of shape (n_rows, n_labels), such as `OneVsRestClassifier`, or a regressor of
        several outputs, whose 0.5 is the threshold.
    labels : sequence of str
        The name of each column.
    by_share : bool, default=False
        Give each label to as large a share of rows as have it among those that were fitted on (proportional
        thresholds: Yang, A study of thresholding strategies for text categorization, SIGIR 2001), instead of to rows
        above the estimator's own threshold: scores that are shrunk strongly rank well and pass no fixed threshold.

    Attributes
    ----------
    estimator_ : estimator
    classes_ : ndarray of shape (n_labels,), str
    thresholds_ : ndarray of shape (n_labels,), float64

    Examples
    --------
    >>> from sklearn.linear_model import RidgeClassifier
    >>> marks = np.array([[1, 0], [1, 1], [0, 1]])
    >>> fitted = LabelSetClassifier(RidgeClassifier(), ["cat", "dog"]).fit(np.eye(3), marks)
    >>> [fitted.classes_[row].tolist() for row in fitted.predict(np.eye(3))]
    [['cat'], ['cat', 'dog'], ['dog']]
    """

    def __init__(self, estimator: Any, labels: Sequence[str], *, by_share: bool = False) -> None:
        self.estimator = estimator
        self.labels = labels
        self.by_share = by_share

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Fit the estimator on marks.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
        y : array-like of shape (n_rows, n_labels)
            1 or True where a row has a label.
        """
        marks = np.asarray(y)
        if marks.ndim != 2 or marks.shape[1] != len(self.labels):
            raise UsageError(
                f"marks are of shape {marks.shape}, expected a column for each of {len(self.labels)} labels"
            )
        return self.around(cast(Any, sklearn.base).clone(self.estimator).fit(X, marks.astype(np.intp)), X, marks)

    def around(self, fitted: Any, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Take an estimator that is fitted on these rows and marks already."""
        self.estimator_ = fitted
        self.classes_ = np.array([str(label) for label in self.labels])
        self.thresholds_: Floats = np.zeros(len(self.classes_))
        if self.by_share:
            marks, scores = np.asarray(y, bool), self.decision_function(X)
            self.thresholds_ = np.array(
                [_between(np.sort(scores[:, place]), int(marks[:, place].sum())) for place in range(marks.shape[1])]
            )
        if hasattr(fitted, "n_features_in_"):
            self.n_features_in_: int = fitted.n_features_in_
        return self

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Give a score of each label, shape (n_rows, n_labels); above 0 a row has it."""
        for name, threshold in (("decision_function", 0.0), ("predict_proba", 0.5), ("predict", 0.5)):
            said = getattr(self.estimator_, name)(X) if hasattr(self.estimator_, name) else None
            if said is not None and not isinstance(said, list):  # a list for each label, of forests and neighbours
                return np.asarray(said, np.float64) - threshold - self.thresholds_
        raise UsageError(f"{type(self.estimator_).__name__} gives neither scores nor marks")

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Give marks, shape (n_rows, n_labels), in the order of `classes_`."""
        return self.decision_function(X) > 0


def _between(scores: Floats, count: int) -> float:
    """Give the middle between the `count` largest of ascending scores and the others."""
    if count == 0:
        return float(scores[-1])
    if count == len(scores):
        return float(np.nextafter(scores[0], -np.inf))
    return float((scores[-count] + scores[-count - 1]) / 2)
