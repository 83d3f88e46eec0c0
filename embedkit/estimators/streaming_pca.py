"""Principal component analysis from sufficient statistics.

Layer: imports scikit-learn, embedkit.errors and its own room.
"""

from __future__ import annotations

import numbers
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64, Floats
from embedkit.estimators.sufficient_statistics import SufficientStatistics, continued
from embedkit.estimators.symmetric import eigh
from embedkit.estimators.validation import check_is_fitted, checked_features, require


class StreamingPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal component analysis from one pass over the data, equal to `sklearn.decomposition.PCA`.

    Parameters
    ----------
    n_components : int, float or None, default=None
        Number of components; a float between 0 and 1 takes as many as explain that share of the variance; None takes
        min(n_samples, n_features).
    whiten : bool, default=False
        Scale the transformed features to unit variance. With all components this is ZCA up to a rotation.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features), float64
    explained_variance_ : ndarray of shape (n_components,), float64
    explained_variance_ratio_ : ndarray of shape (n_components,), float64
    singular_values_ : ndarray of shape (n_components,), float64
    mean_ : ndarray of shape (n_features,), float64
    n_components_ : int
    noise_variance_ : float
    n_samples_ : float
    statistics_ : SufficientStatistics
        What `fit` and `partial_fit` have seen. Of n_features**2 numbers: delete it from a model that is to be small and
        will not see further batches. `fit_statistics` keeps none.
    n_features_in_ : int
    """

    def __init__(self, n_components: int | float | None = None, *, whiten: bool = False) -> None:
        self.n_components = n_components
        self.whiten = whiten

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit on these rows alone; y is ignored.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        """
        self.statistics_ = SufficientStatistics().update(checked_features(self, X, reset=True))
        return self.fit_statistics(self.statistics_)

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Fit on these rows and all before them: the same as `fit` on all of them at once.

        Every call solves again. For many batches, `SufficientStatistics.update` with each of them and one
        `fit_statistics` at the end is faster. A single row cannot be transformed yet.
        """
        statistics = continued(self, "none")
        self.statistics_ = statistics.update(checked_features(self, X, reset=statistics.n == 0))
        return self if statistics.n < 2 else self.fit_statistics(statistics)

    def fit_statistics(self, statistics: SufficientStatistics) -> Self:
        """Fit on statistics that were collected elsewhere, of any target."""
        if statistics.n < 2:
            raise UsageError(
                f"StreamingPCA needs at least 2 samples, got {statistics.n:g} sample{'' if statistics.n == 1 else 's'}"
            )
        eigenvalues, vectors = eigh(statistics.scatter)
        most = min(int(statistics.n), len(eigenvalues))
        count = self._count(eigenvalues, most)
        variances = eigenvalues / (statistics.n - 1)
        components = vectors.T[:count]
        # The sign of a component is free: its largest entry is positive, as scikit-learn has it.
        largest = components[np.arange(count), np.abs(components).argmax(axis=1)]
        self.components_ = components * np.where(largest < 0, -1.0, 1.0)[:, None]
        self.explained_variance_ = variances[:count]
        self.explained_variance_ratio_ = variances[:count] / max(float(variances.sum()), 1e-300)
        self.singular_values_ = np.sqrt(eigenvalues[:count])
        self.noise_variance_ = float(variances[count:most].mean()) if count < most else 0.0
        self.mean_, self.n_components_, self.n_samples_ = statistics.mean.copy(), count, statistics.n
        self.n_features_in_ = len(statistics.mean)
        return self

    def transform(self, X: Any) -> Floats:
        """Project on the components, shape (n_samples, n_components_), of the type of X."""
        check_is_fitted(self, "components_")
        features = checked_features(self, X, reset=False)
        components = self.components_
        if self.whiten:
            components = components / self._deviations()[:, None]
        return (features - self.mean_.astype(features.dtype)) @ components.T.astype(features.dtype)

    def inverse_transform(self, X: Any) -> Floats:
        """Bring transformed features (n_samples, n_components_) back, as well as the components kept allow."""
        check_is_fitted(self, "components_")
        transformed = np.asarray(X)
        components = self.components_ * self._deviations()[:, None] if self.whiten else self.components_
        return transformed @ components.astype(transformed.dtype) + self.mean_.astype(transformed.dtype)

    def _deviations(self) -> Float64:
        deviations = np.sqrt(self.explained_variance_)
        # A component without variance is left as it is, at the bound of scikit-learn.
        return np.maximum(deviations, np.finfo(np.float64).eps)

    def _count(self, eigenvalues: Float64, most: int) -> int:
        if self.n_components is None:
            return most
        if isinstance(self.n_components, numbers.Integral):
            require(1 <= self.n_components <= most, self, "n_components", f"1 to min(n_samples, n_features) = {most}")
            return int(self.n_components)
        require(0 < self.n_components < 1, self, "n_components", "an int, None, or a share between 0 and 1")
        shares = np.cumsum(eigenvalues) / max(float(eigenvalues.sum()), 1e-300)
        return min(int(np.searchsorted(shares, self.n_components, side="right")) + 1, most)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_
