"""Neighbours that count by how far their labels can be relied on.

Layer: imports scikit-learn, embedkit.errors and its own room.

References
----------
F. Di Salvo, S. Doerrich, I. Rieger, C. Ledig, An embedding is worth a thousand noisy labels, TMLR 2025, arXiv
2408.14358 (WANN).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64, Indices
from embedkit.estimators.nearest_rows import Metric, NearestRows
from embedkit.estimators.validation import check_is_fitted, checked_features, labelled_rows


class AdaptiveNeighborsClassifier(ClassifierMixin, BaseEstimator):
    """Weighted adaptive nearest neighbours (WANN), for rows some of whose labels are wrong.

    Of each training row the smallest number k of other rows is looked for, `min_neighbors` and every second one from
    there on, whose majority names the row's own label; `max_neighbors` where none does. 1 / k is how far its label can
    be relied on. A sample asks as many neighbours as its nearest training row needed, each with that weight.

    Parameters
    ----------
    min_neighbors : int, default=11
        The authors'. With few images a class, fewer.
    max_neighbors : int, default=51
    metric : {"cosine", "euclidean"}, default="cosine"
        The authors' is Euclidean.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    neighbors_ : ndarray of shape (n_samples,), intp
        k of each training row.
    reliability_ : ndarray of shape (n_samples,), float64
        Of each training row's label: 1 / k.
    n_features_in_ : int

    Notes
    -----
    The training rows are kept, not copied: they must not change as long as the classifier is used.

    Examples
    --------
    >>> X = np.r_[np.random.default_rng(0).normal(size=(40, 4)), np.random.default_rng(1).normal(size=(40, 4)) + 5]
    >>> y = np.repeat([0, 1], 40)
    >>> y[0] = 1  # wrong
    >>> fitted = AdaptiveNeighborsClassifier(metric="euclidean").fit(X, y)
    >>> bool(fitted.reliability_[0] < fitted.reliability_[1])
    True
    """

    metric: Metric

    def __init__(self, min_neighbors: int = 11, max_neighbors: int = 51, *, metric: Metric = "cosine") -> None:
        self.min_neighbors = min_neighbors
        self.max_neighbors = max_neighbors
        self.metric = metric

    def fit(self, X: Any, y: Any) -> Self:
        """Keep the rows, and find how many neighbours each needs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        """
        if not 1 <= self.min_neighbors <= self.max_neighbors:
            raise UsageError(
                f"min_neighbors={self.min_neighbors!r} and max_neighbors={self.max_neighbors!r}, expected "
                "1 <= min_neighbors <= max_neighbors"
            )
        if self.metric not in ("cosine", "euclidean"):
            raise UsageError(f"metric={self.metric!r}, expected 'cosine' or 'euclidean'")
        data = labelled_rows(self, X, y)
        self.classes_, self._targets = data.classes, data.targets
        self._nearest = NearestRows(data.features, self.metric)
        self.neighbors_ = self._needed(data.features)
        self.reliability_: Float64 = 1.0 / self.neighbors_
        return self

    def predict_proba(self, X: Any) -> Float64:
        """Return each class's share of the weights, shape (n_samples, n_classes), in the order of `classes_`."""
        check_is_fitted(self, "neighbors_")
        features = checked_features(self, X, reset=False)
        most = min(int(self.neighbors_.max()), len(self._targets))
        _, near = self._nearest.search(features, most)
        asked = np.arange(most) < np.minimum(self.neighbors_[near[:, 0]], most)[:, None]
        weights = np.where(asked, self.reliability_[near], 0.0)
        shares = _ballots(self._targets[near], weights, len(self.classes_))
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of the largest share of each sample, shape (n_samples,); of equals, the first."""
        shares = self.predict_proba(X)  # which says so if nothing is fitted
        return self.classes_[shares.argmax(axis=1)]

    def _needed(self, features: NDArray[Any]) -> Indices:
        n = len(features)
        most = min(self.max_neighbors, n - 1)
        _, near = self._nearest.search(features, most + 1)
        itself = near == np.arange(n)[:, None]
        itself[~itself.any(axis=1), -1] = True  # among equal copies a row may miss itself
        others = self._targets[near[~itself].reshape(n, most)]
        needed = np.full(n, self.max_neighbors, np.intp)
        open_rows = np.arange(n)
        for k in range(self.min_neighbors, most + 1, 2):
            named = _ballots(others[open_rows, :k], np.ones((len(open_rows), k)), len(self.classes_)).argmax(axis=1)
            right = named == self._targets[open_rows]
            needed[open_rows[right]] = k
            open_rows = open_rows[~right]
        return needed


def _ballots(codes: Indices, weights: Float64, n_classes: int) -> Float64:
    """Add up the weights of each class: (n_rows, n_classes)."""
    cells = np.arange(len(codes))[:, None] * n_classes + codes
    counts: Float64 = np.bincount(cells.ravel(), weights=weights.ravel(), minlength=len(codes) * n_classes).astype(
        np.float64
    )
    return counts.reshape(len(codes), n_classes)
