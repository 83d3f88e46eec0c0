"""Features of one domain brought to where those of another lie, without labels: transformers with `sample_domain`.

`sample_domain` says of each row where it comes from, as in skada: 0 or more is a source, below 0 the target. Rows of
which nothing is said at `transform` are the target's, as new images are. It travels through pipelines as metadata:
``set_fit_request(sample_domain=True).set_transform_request(sample_domain=True)`` with scikit-learn's
``enable_metadata_routing``.

Layer: imports scikit-learn, SciPy and its own room.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64, Floats
from embedkit.estimators.symmetric import eigh
from embedkit.estimators.validation import check_is_fitted, checked_features, require

Source = npt.NDArray[np.bool_]


class _Alignment(TransformerMixin, BaseEstimator, ABC):
    """What alignments share: two sets of rows in, rows of the source moved, rows of the target where they were."""

    n_features_in_: int

    def fit(self, X: Any, y: Any = None, *, sample_domain: Any = None) -> Self:
        """Learn from rows of both domains.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_domain : array-like of int, shape (n_samples,)
            0 or more: a row of a source; below 0: of the target. At least two rows of either.
        """
        features = checked_features(self, X, reset=True)
        if sample_domain is None:
            raise UsageError(
                f"{type(self).__name__} needs sample_domain: 0 or more for source rows, -1 for the target's"
            )
        source = _is_source(sample_domain, len(features))
        if min(int(source.sum()), int((~source).sum())) < 2:
            raise UsageError(
                f"{int(source.sum())} rows of sources and {int((~source).sum())} of the target; an alignment needs at "
                "least two of either: sample_domain is 0 or more for sources, below 0 for the target"
            )
        self._learn(features[source].astype(np.float64), features[~source].astype(np.float64))
        return self

    def transform(self, X: Any, *, sample_domain: Any = None) -> Floats:
        """Move rows of the source; without `sample_domain` all rows are the target's. float32 stays float32."""
        check_is_fitted(self, "n_features_in_")
        features = checked_features(self, X, reset=False)
        source = _is_source(-np.ones(len(features)) if sample_domain is None else sample_domain, len(features))
        moved = self._target(features)
        if source.any():
            moved = moved.copy() if moved is features else moved
            moved[source] = self._source(features[source])
        return moved.astype(features.dtype, copy=False)

    def fit_transform(  # pyright: ignore[reportIncompatibleMethodOverride]  # routing wants it named
        self, X: Any, y: Any = None, *, sample_domain: Any = None
    ) -> Floats:
        """Fit, and transform the same rows."""
        return self.fit(X, y, sample_domain=sample_domain).transform(X, sample_domain=sample_domain)

    @abstractmethod
    def _learn(self, source: Float64, target: Float64) -> None:
        """Learn from rows of the source and of the target."""

    @abstractmethod
    def _source(self, features: Floats) -> Floats:
        """Move rows of the source."""

    def _target(self, features: Floats) -> Floats:
        return features


class CORAL(OneToOneFeatureMixin, _Alignment):
    """Correlation alignment: give source rows the covariance (and here the mean) of the target.

    ``mean_t + (x - mean_s) C_s^-1/2 C_t^1/2`` with ``C = covariance + shrinkage * its mean variance * I``.

    Parameters
    ----------
    shrinkage : float, default=0.1
        Positive.

    Attributes
    ----------
    map_ : ndarray of shape (n_features, n_features), float64
    n_features_in_ : int

    References
    ----------
    Sun, Feng, Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016, arXiv:1511.05547 (which centres and
    scales both domains before, and adds I).
    """

    map_: Float64

    def __init__(self, shrinkage: float = 0.1) -> None:
        self.shrinkage = shrinkage

    def _learn(self, source: Float64, target: Float64) -> None:
        require(self.shrinkage > 0, self, "shrinkage", "a positive number")
        self.source_mean_, self.target_mean_ = source.mean(axis=0), target.mean(axis=0)
        self.map_ = _power(_covariance(source, self.shrinkage), -0.5) @ _power(_covariance(target, self.shrinkage), 0.5)

    def _source(self, features: Floats) -> Floats:
        return cast(Floats, self.target_mean_ + (features - self.source_mean_) @ self.map_)


class LinearTransport(CORAL):
    """The linear map of least cost that takes the source's Gaussian to the target's (Monge map).

    ``mean_t + (x - mean_s) A``, ``A = C_s^-1/2 (C_s^1/2 C_t C_s^1/2)^1/2 C_s^-1/2``, with covariances as in `CORAL`.

    Parameters
    ----------
    shrinkage : float, default=0.1
        Positive.

    Attributes
    ----------
    map_ : ndarray of shape (n_features, n_features), float64
        Symmetric, positive definite.
    n_features_in_ : int

    References
    ----------
    Knott, Smith, On the optimal mapping of distributions, Journal of Optimization Theory and Applications 43, 1984;
    Flamary, Lounici, Ferrari, Concentration bounds for linear Monge mapping estimation and optimal transport domain
    adaptation, 2019, arXiv:1905.10155.
    """

    def _learn(self, source: Float64, target: Float64) -> None:
        require(self.shrinkage > 0, self, "shrinkage", "a positive number")
        self.source_mean_, self.target_mean_ = source.mean(axis=0), target.mean(axis=0)
        of_source, of_target = _covariance(source, self.shrinkage), _covariance(target, self.shrinkage)
        root, inverse = _power(of_source, 0.5), _power(of_source, -0.5)
        self.map_ = inverse @ _power(root @ of_target @ root, 0.5) @ inverse


class SubspaceAlignment(ClassNamePrefixFeaturesOutMixin, _Alignment):
    """Turn the source's principal axes to the target's: coordinates in the target's subspace come out.

    A source row is ``(x - mean_s) P_s P_s' P_t``, a target row ``(x - mean_t) P_t``; columns of P are the first axes.

    Parameters
    ----------
    n_components : int, default=32
        At most so many; fewer where rows or features are fewer.

    Attributes
    ----------
    source_axes_, target_axes_ : ndarray of shape (n_features, n_components), float64
    n_features_in_ : int

    References
    ----------
    Fernando, Habrard, Sebban, Tuytelaars, Unsupervised Visual Domain Adaptation Using Subspace Alignment, ICCV 2013.
    """

    source_axes_: Float64
    target_axes_: Float64

    def __init__(self, n_components: int = 32) -> None:
        self.n_components = n_components

    def _learn(self, source: Float64, target: Float64) -> None:
        require(self.n_components >= 1, self, "n_components", "at least 1")
        kept = min(self.n_components, len(source) - 1, len(target) - 1, source.shape[1])
        self.source_mean_, self.target_mean_ = source.mean(axis=0), target.mean(axis=0)
        self.source_axes_ = np.linalg.svd(source - self.source_mean_, full_matrices=False)[2][:kept].T
        self.target_axes_ = np.linalg.svd(target - self.target_mean_, full_matrices=False)[2][:kept].T
        self._n_features_out = kept

    def _source(self, features: Floats) -> Floats:
        turned = self.source_axes_ @ (self.source_axes_.T @ self.target_axes_)
        return cast(Floats, (features - self.source_mean_) @ turned)

    def _target(self, features: Floats) -> Floats:
        return cast(Floats, (features - self.target_mean_) @ self.target_axes_)


def _is_source(sample_domain: Any, n: int) -> Source:
    domain = np.asarray(sample_domain)
    if domain.shape != (n,) or domain.dtype.kind not in "iuf":
        raise UsageError(
            f"sample_domain has shape {domain.shape} and type {domain.dtype}; expected a number for each of {n} rows, "
            "0 or more for sources, below 0 for the target"
        )
    return domain >= 0


def _covariance(rows: Float64, shrinkage: float) -> Float64:
    covariance = np.atleast_2d(np.cov(rows, rowvar=False))
    mean_variance = float(np.trace(covariance)) / len(covariance)
    return covariance + shrinkage * (mean_variance or 1.0) * np.eye(len(covariance))


def _power(matrix: Float64, exponent: float) -> Float64:
    """Raise a symmetric positive definite matrix to a power."""
    values, vectors = eigh(matrix)
    return (vectors * np.maximum(values, np.finfo(np.float64).tiny) ** exponent) @ vectors.T
