"""Prediction sets that hold the right class as often as is asked for, around any classifier.

Layer: imports scikit-learn, embedkit.errors and its own room.
"""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np
import sklearn.base
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64
from embedkit.estimators.held_out import held_out_rows, rarity
from embedkit.estimators.validation import check_is_fitted, checked_features, checked_features_and_labels
from embedkit.estimators.wrapped_classifier import WrappedClassifier


class ConformalClassifier(WrappedClassifier):
    """A classifier that also gives sets of classes, by split conformal prediction.

    A part of the rows is held out of the fit. A class is in the set of an image unless it would be stranger there than
    the right classes of all but a share 1 - coverage of the held-out rows are: by one minus its probability (Sadinle,
    Lei and Wasserman, Least ambiguous set-valued classifiers, JASA 114, 2019), or, without probabilities, by how far
    the best other class is ahead. Over draws of held-out and new rows from one source, sets hold the right class at
    least as often as asked for: of all images together, not of each class, and not of images from other sources. A set
    may be empty: no class is likely enough.

    Parameters
    ----------
    estimator : classifier
    calibration : float, default=0.2
        Share of the rows that is held out; one row of each class is always fitted on.
    random_state : int, default=0

    Attributes
    ----------
    estimator_ : classifier
        Fitted on the rows that were not held out.
    classes_ : ndarray of shape (n_classes,)
    scores_ : ndarray of shape (n_held_out,), float64
        How strange the right classes of the held-out rows are, ascending.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> X, y = load_digits(return_X_y=True)
    >>> fitted = ConformalClassifier(LogisticRegression(C=0.01, max_iter=500)).fit(X[:900], y[:900])
    >>> sets = fitted.predict_set(X[900:], coverage=0.95)
    >>> sets.shape
    (897, 10)
    """

    def __init__(self, estimator: Any, *, calibration: float = 0.2, random_state: Any = 0) -> None:
        self.estimator = estimator
        self.calibration = calibration
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit the classifier on most rows, and calibrate on the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        groups : array-like of shape (n_samples,), optional
            Rows of one group are held out together, or not at all.
        """
        features, labels = checked_features_and_labels(self, X, y, reset=True)
        rest, held_out = held_out_rows(labels, self.calibration, self.random_state, groups)
        self.estimator_ = cast(Any, sklearn.base).clone(self.estimator).fit(features[rest], labels[rest])
        self.classes_: NDArray[Any] = np.asarray(self.estimator_.classes_)
        strange = self._strangeness(features[held_out])
        right = np.searchsorted(self.classes_, labels[held_out])
        self.scores_: Float64 = np.sort(strange[np.arange(len(held_out)), right])
        return self

    def predict_set(self, X: Any, coverage: float = 0.9) -> NDArray[np.bool_]:
        """Say which classes are in the set of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        coverage : float, default=0.9
            Between 0 and 1. Of n held-out rows, more than n / (n + 1) puts all classes into every set.

        Returns
        -------
        ndarray of shape (n_samples, n_classes), bool
        """
        if not 0 < coverage < 1:
            raise UsageError(f"coverage={coverage!r}, expected a share between 0 and 1, such as 0.9")
        check_is_fitted(self, "scores_")
        strange = self._strangeness(checked_features(self, X, reset=False))
        # Rounding must not put the share that is just allowed beyond it.
        return rarity(self.scores_, strange) > 1 - coverage + 1e-12

    def _strangeness(self, X: Any) -> Float64:
        """How strange each class would be, shape (n_samples, n_classes)."""
        if hasattr(self.estimator_, "predict_proba"):
            return 1.0 - np.asarray(self.estimator_.predict_proba(X), np.float64)
        if not hasattr(self.estimator_, "decision_function"):
            raise UsageError(f"{type(self.estimator_).__name__} gives no scores for classes, and sets need some")
        scores = np.asarray(self.estimator_.decision_function(X), np.float64)
        if scores.ndim == 1:
            scores = np.stack([-scores, scores], axis=1)
        if scores.shape[1] != len(self.classes_):
            raise UsageError(
                f"{type(self.estimator_).__name__} scores pairs of classes; give it decision_function_shape=ovr"
            )
        best_two = np.partition(scores, -2, axis=1)[:, -2:]
        ahead = np.where(scores == best_two[:, 1:], best_two[:, :1], best_two[:, 1:])
        return ahead - scores
