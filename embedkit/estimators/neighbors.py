"""Classifiers that keep examples: nearest neighbours and nearest class mean.

Layer: imports scikit-learn, embedkit.errors and its own room.

References
----------
M. Oquab et al., DINOv2: learning robust visual features without supervision, 2023, `dinov2/eval/knn.py` (softmax).
Y. Wang et al., SimpleShot: revisiting nearest-neighbor classification for few-shot learning, 2019 (class means).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Floats, Indices
from embedkit.estimators.nearest_rows import Metric, NearestRows
from embedkit.estimators.validation import check_is_fitted, checked_features, labelled_rows, require

Votes = Literal["uniform", "distance", "softmax"]


class KNeighborsClassifier(ClassifierMixin, BaseEstimator):
    """Classification by the nearest rows, found by exact search.

    Parameters
    ----------
    n_neighbors : int, default=20
        Rows that vote; all of them where there are fewer.
    metric : {"cosine", "euclidean"}, default="cosine"
    weights : {"uniform", "distance", "softmax"}, default="uniform"
        What a vote counts: 1; the inverse of its distance (rows at distance 0 outvote all others); or
        exp(cosine / temperature), with "euclidean" exp(-distance / temperature).
    temperature : float, default=0.07
        Of "softmax"; 0.07 is DINOv2's.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_samples_fit_ : int
    n_features_in_ : int

    Notes
    -----
    The training rows are kept, not copied: they must not change as long as the classifier is used.
    """

    metric: Metric
    weights: Votes

    def __init__(
        self,
        n_neighbors: int = 20,
        *,
        metric: Metric = "cosine",
        weights: Votes = "uniform",
        temperature: float = 0.07,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weights = weights
        self.temperature = temperature

    def fit(self, X: Any, y: Any) -> Self:
        """Keep the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 stays float32; everything else becomes float64.
        y : array-like of shape (n_samples,)
            Class labels.
        """
        require(self.n_neighbors >= 1, self, "n_neighbors", "at least 1")
        require(self.metric in ("cosine", "euclidean"), self, "metric", "'cosine' or 'euclidean'")
        require(
            self.weights in ("uniform", "distance", "softmax"), self, "weights", "'uniform', 'distance' or 'softmax'"
        )
        require(self.temperature > 0, self, "temperature", "a positive number")
        data = labelled_rows(self, X, y)
        self.classes_, self._targets = data.classes, data.targets
        self._nearest = NearestRows(data.features, self.metric)
        self.n_samples_fit_ = len(data.features)
        return self

    def kneighbors(self, X: Any, n_neighbors: int | None = None) -> tuple[Floats, Indices]:
        """Find the nearest training rows.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
        n_neighbors : int, optional
            Another number than the classifier's.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors)
            Ascending. Euclidean, or 1 - cosine.
        indices : ndarray of shape (n_queries, n_neighbors), intp
        """
        check_is_fitted(self)
        features = checked_features(self, X, reset=False)
        wanted = self.n_neighbors if n_neighbors is None else n_neighbors
        if wanted < 1:
            raise UsageError(f"n_neighbors={wanted}, expected at least 1")
        return self._nearest.search(features, min(wanted, self.n_samples_fit_))

    def predict_proba(self, X: Any) -> Floats:
        """Return each class's share of the votes, shape (n_samples, n_classes), in the order of `classes_`."""
        return self.predict_proba_by_k(X, [self.n_neighbors])[0]

    def predict_proba_by_k(self, X: Any, n_neighbors: Sequence[int]) -> Floats:
        """Return the shares of the votes for several numbers of neighbours, from one search.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        n_neighbors : sequence of int
            In any order, each at least 1.

        Returns
        -------
        ndarray of shape (len(n_neighbors), n_samples, n_classes)
        """
        if not n_neighbors or min(n_neighbors) < 1:
            raise UsageError(f"n_neighbors={list(n_neighbors)!r}, expected numbers of at least 1")
        distances, indices = self.kneighbors(X, max(n_neighbors))
        votes = self._votes(distances)
        shares = [self._shares(indices[:, :k], votes[:, :k]) for k in n_neighbors]
        return np.stack(shares)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with most votes of each sample, shape (n_samples,); of equals, the first."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _votes(self, distances: Floats) -> Floats:
        if self.weights == "uniform":
            return np.ones_like(distances)
        if self.weights == "softmax":
            # Relative to the nearest: the common factor is divided out of the shares.
            return np.exp((distances[:, :1] - distances) / distances.dtype.type(self.temperature))
        is_same = distances <= 0
        outvoted = is_same.any(axis=1, keepdims=True)
        return np.where(outvoted, is_same, 1 / np.where(is_same, 1, distances)).astype(distances.dtype)

    def _shares(self, indices: Indices, votes: Floats) -> Floats:
        n_classes = len(self.classes_)
        cell = np.arange(len(indices))[:, None] * n_classes + self._targets[indices]
        counts = np.bincount(cell.ravel(), weights=votes.ravel(), minlength=len(indices) * n_classes)
        counts = counts.reshape(len(indices), n_classes)
        return (counts / counts.sum(axis=1, keepdims=True)).astype(votes.dtype)


class NearestClassMean(ClassifierMixin, BaseEstimator):
    """Classification by the nearest mean of a class, after centring and L2 normalisation (SimpleShot's CL2N).

    Parameters
    ----------
    center : bool, default=True
        Subtract the mean of the training rows first.
    normalize : bool, default=True
        Scale each row to unit length then; a row of zeros stays as it is.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    mean_ : ndarray of shape (n_features,)
        What is subtracted; zeros without centring.
    class_means_ : ndarray of shape (n_classes, n_features)
        Means of the rows so treated.
    n_features_in_ : int
    """

    def __init__(self, *, center: bool = True, normalize: bool = True) -> None:
        self.center = center
        self.normalize = normalize

    def fit(self, X: Any, y: Any) -> Self:
        """Compute the means.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Class labels.
        """
        data = labelled_rows(self, X, y)
        dtype = data.features.dtype
        mean = data.features.mean(axis=0, dtype=np.float64) if self.center else np.zeros(data.features.shape[1])
        self.mean_ = mean.astype(dtype)
        rows = self._treated(data.features)
        members = [rows[data.targets == k] for k in range(len(data.classes))]
        self.class_means_ = np.stack([part.mean(axis=0, dtype=np.float64) for part in members]).astype(dtype)
        self.classes_ = data.classes
        return self

    def decision_function(self, X: Any) -> Floats:
        """Return minus half the squared distances to the class means, but for what all classes share.

        Shape (n_samples, n_classes); for two classes (n_samples,), positive for `classes_[1]`.
        """
        check_is_fitted(self)
        rows = self._treated(checked_features(self, X, reset=False))
        means = self.class_means_.astype(rows.dtype)
        scores = rows @ means.T - np.square(means).sum(axis=1) / 2
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of the nearest mean of each sample, shape (n_samples,)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)]

    def _treated(self, features: Floats) -> Floats:
        rows = features - self.mean_.astype(features.dtype)
        if self.normalize:
            lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
            rows /= np.where(lengths > 0, lengths, 1)
        return rows
