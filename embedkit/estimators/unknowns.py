"""Saying "unlike anything that was fitted on", around any classifier, at a stated rate of false alarms.

Layer: imports scikit-learn, embedkit.errors and its own room.
"""

from __future__ import annotations

from typing import Any, Literal, Self, cast

import numpy as np
import sklearn.base
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64
from embedkit.estimators.held_out import held_out_rows, rarity
from embedkit.estimators.nearest_rows import NearestRows
from embedkit.estimators.sufficient_statistics import SufficientStatistics
from embedkit.estimators.symmetric import eigh
from embedkit.estimators.validation import check_is_fitted, checked_features, checked_features_and_labels
from embedkit.estimators.wrapped_classifier import WrappedClassifier

_SHRINKAGE = 0.1
_BEYOND = 0.1
_BLOCK_ROWS = 4096


Distance = Literal["mahalanobis", "knn", "svm"]
DISTANCES: tuple[Distance, ...] = ("mahalanobis", "knn", "svm")


class UnknownDetector(WrappedClassifier):
    """A classifier that also says which samples are far from everything that it was fitted on.

    A part of the rows is held out of what distances are measured to (the classifier is fitted on all rows). A sample is
    unknown where its distance is as large as those of a share `error` of the held-out rows: of images from the same
    source as the rows, at most so many are called unknown, over draws of rows. How many of truly unknown images are
    found depends on these and is promised by nobody; `benchmarks/labelling.py` measures it with classes left out.

    Parameters
    ----------
    estimator : classifier
    distance : {"mahalanobis", "knn", "svm"}, default="mahalanobis"
        Mahalanobis: to the nearest class mean, by the covariance within classes, shrunk by a tenth towards a sphere
        (Lee and others, NeurIPS 2018). knn: one minus the cosine to the k-th nearest row (Sun and others, ICML 2022);
        the rows are kept in the model. svm: minus the score of scikit-learn's `OneClassSVM` (a Gaussian kernel, a tenth
        of the rows beyond its border) on standardised features, classes unseen (Schölkopf and others, Neural
        Computation 13, 2001).
    n_neighbors : int, default=5
        k of knn.
    calibration : float, default=0.2
        Share of the rows that is held out.
    random_state : int, default=0

    Attributes
    ----------
    estimator_ : classifier
    classes_ : ndarray of shape (n_classes,)
    distances_ : ndarray of shape (n_held_out,), float64
        Of the held-out rows, ascending.
    center_ : ndarray of shape (n_features,), float64
        What is subtracted before `whitening_`; of Mahalanobis.
    whitening_ : ndarray of shape (n_features, n_features), float64
        Makes the covariance within classes the identity; of Mahalanobis.
    means_ : ndarray of shape (n_classes, n_features), float64
        Class means, centred and whitened; of Mahalanobis.
    nearest_ : NearestRows
        Of knn.
    machine_ : Pipeline
        Of svm.

    Examples
    --------
    Around a classifier that always names one class it tells that class from everything else:

    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> fitted = UnknownDetector(DummyClassifier(), distance="knn").fit(X + 3, ["bolt"] * 200)
    >>> fitted.is_unknown(-X[:5] - 3).tolist()
    [True, True, True, True, True]
    """

    def __init__(
        self,
        estimator: Any,
        *,
        distance: Distance = "mahalanobis",
        n_neighbors: int = 5,
        calibration: float = 0.2,
        random_state: Any = 0,
    ) -> None:
        self.estimator = estimator
        self.distance = distance
        self.n_neighbors = n_neighbors
        self.calibration = calibration
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit the classifier on all rows, distances on most of them, and calibrate on the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        groups : array-like of shape (n_samples,), optional
            Rows of one group are held out together, or not at all.
        """
        if self.distance not in DISTANCES:
            raise UsageError(f"distance={self.distance!r}, expected one of {', '.join(map(repr, DISTANCES))}")
        features, labels = checked_features_and_labels(self, X, y, reset=True)
        rest, held_out = held_out_rows(labels, self.calibration, self.random_state, groups)
        if self.distance == "knn" and not 1 <= self.n_neighbors <= len(rest):
            raise UsageError(f"n_neighbors={self.n_neighbors}, expected 1 to {len(rest)}, the rows that are searched")
        self.estimator_ = cast(Any, sklearn.base).clone(self.estimator).fit(features, labels)
        self.classes_: NDArray[Any] = np.asarray(self.estimator_.classes_)
        if self.distance == "knn":
            self.nearest_ = NearestRows(np.ascontiguousarray(features[rest]), "cosine")
        elif self.distance == "svm":
            machine: Any = Pipeline([("scale", StandardScaler()), ("svm", OneClassSVM(nu=_BEYOND))])
            self.machine_ = machine.fit(features[rest])
        else:
            self._fit_whitening(SufficientStatistics("classes").update(features[rest], labels[rest]))
        self.distances_: Float64 = np.sort(self.distances(features[held_out]))
        return self

    def distances(self, X: Any) -> Float64:
        """Return how far each sample is from what was fitted on, shape (n_samples,)."""
        check_is_fitted(self, "estimator_")
        features = checked_features(self, X, reset=False)
        if self.distance == "knn":
            found, _ = self.nearest_.search(features, self.n_neighbors)
            return np.asarray(found[:, -1], np.float64)
        if self.distance == "svm":
            return -np.asarray(self.machine_.decision_function(features), np.float64)
        blocks = [features[start : start + _BLOCK_ROWS] for start in range(0, len(features), _BLOCK_ROWS)]
        return np.concatenate([np.empty(0), *map(self._to_nearest_mean, blocks)])

    def p_values(self, X: Any) -> Float64:
        """Return the share of held-out rows that are at least as far as each sample, itself counted as one of them."""
        return rarity(self.distances_, self.distances(X))

    def is_unknown(self, X: Any, error: float = 0.05) -> NDArray[np.bool_]:
        """Say which samples are unknown, shape (n_samples,).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        error : float, default=0.05
            The share of known images that may be called unknown. Of n held-out rows, nothing is unknown below
            1 / (n + 1).
        """
        if not 0 < error < 1:
            raise UsageError(f"error={error!r}, expected a share between 0 and 1, such as 0.05")
        return self.p_values(X) <= error + 1e-12

    def _fit_whitening(self, known: SufficientStatistics) -> None:
        apart = np.sqrt(known.class_n)[:, None] * (known.class_means - known.mean)
        covariance = (known.scatter - apart.T @ apart) / known.n
        sphere = max(float(np.trace(covariance)) / len(covariance), float(np.finfo(np.float64).tiny))
        values, vectors = eigh((1 - _SHRINKAGE) * covariance + _SHRINKAGE * sphere * np.eye(len(covariance)))
        self.whitening_: Float64 = vectors / np.sqrt(values)
        self.center_ = known.mean
        self.means_: Float64 = (known.class_means - known.mean) @ self.whitening_

    def _to_nearest_mean(self, block: NDArray[Any]) -> Float64:
        rows = (block - self.center_) @ self.whitening_
        squares = np.square(rows).sum(axis=1)[:, None] - 2 * rows @ self.means_.T + np.square(self.means_).sum(axis=1)
        return np.sqrt(np.maximum(squares.min(axis=1), 0.0))
