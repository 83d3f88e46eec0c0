"""Linear discriminant analysis from sufficient statistics.

Layer: imports scikit-learn, embedkit.errors and its own room.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64, Floats
from embedkit.estimators.linear_classifier import ProbabilisticLinearClassifier
from embedkit.estimators.revising import RevisableClassifier
from embedkit.estimators.sufficient_statistics import SufficientStatistics, continued, fresh
from embedkit.estimators.symmetric import eigh
from embedkit.estimators.validation import (
    check_is_fitted,
    checked_features,
    checked_features_and_labels,
    require,
    require_known,
)


class StreamingLDA(
    RevisableClassifier, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ProbabilisticLinearClassifier
):
    """Linear discriminant analysis from one pass over the data.

    Equal to `sklearn.discriminant_analysis.LinearDiscriminantAnalysis`: without shrinkage to ``solver="svd"`` of
    release 1.9 (older ones scale the covariance by n / (n - n_classes)), with shrinkage to ``solver="lsqr"``.

    Parameters
    ----------
    shrinkage : float or None, default=None
        Weight of the spherical covariance, from 0 to 1. None and 0 both mean no shrinkage; "auto" needs more than
        sufficient statistics.
    priors : array-like of shape (n_classes,) or None, default=None
        Probabilities of the classes; None takes their frequencies. Not to be had together with shrinkage.
    n_components : int or None, default=None
        Number of directions that `transform` gives, at most min(n_classes - 1, n_features).
    tol : float, default=1e-4
        Directions in which the standardised features vary less than this within classes are left out.
    by_class : bool, default=False
        Keep the scatter of each class, so that `remove_class` needs no rows (see `SufficientStatistics`).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (k, n_features), float64
        k is 1 for two classes.
    intercept_ : ndarray of shape (k,), float64
    means_ : ndarray of shape (n_classes, n_features), float64
    priors_ : ndarray of shape (n_classes,), float64
    xbar_ : ndarray of shape (n_features,), float64
        Mean of the class means, weighted by the priors.
    scalings_ : ndarray of shape (n_features, rank), float64
        Discriminant directions.
    explained_variance_ratio_ : ndarray of shape (n_components,), float64
    statistics_ : SufficientStatistics
        What `fit` and `partial_fit` have seen. Of n_features**2 numbers: delete it from a model that is to be small and
        will not see further batches. `fit_statistics` keeps none.
    n_features_in_ : int
    """

    def __init__(
        self,
        *,
        shrinkage: float | None = None,
        priors: Any = None,
        n_components: int | None = None,
        tol: float = 1e-4,
        by_class: bool = False,
    ) -> None:
        self.shrinkage = shrinkage
        self.priors = priors
        self.n_components = n_components
        self.tol = tol
        self.by_class = by_class

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on these rows alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Class labels.
        """
        features, labels = checked_features_and_labels(self, X, y, reset=True)
        self.statistics_ = fresh(self, "classes").update(features, labels)
        return self.fit_statistics(self.statistics_)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Fit on these rows and all before them: the same as `fit` on all of them at once.

        Every call solves again. For many batches, `SufficientStatistics.update` with each of them and one
        `fit_statistics` at the end is faster. Before two classes have been seen nothing can be predicted.

        Parameters
        ----------
        X, y
            As for `fit`.
        classes : array-like of shape (n_classes,), optional
            All labels there are. They need not be known beforehand; when given, others are refused.
        """
        statistics = continued(self, "classes")
        features, labels = checked_features_and_labels(self, X, y, reset=statistics.n == 0)
        require_known(labels, classes)
        self.statistics_ = statistics.update(features, labels)
        n_classes = len(statistics.classes)
        return self if n_classes < 2 or statistics.n <= n_classes else self.fit_statistics(statistics)

    def fit_statistics(self, statistics: SufficientStatistics) -> Self:
        """Fit on statistics that were collected elsewhere, of target "classes"."""
        if statistics.target != "classes":
            raise UsageError(f"StreamingLDA needs statistics of target='classes', got {statistics.target!r}")
        n_classes = len(statistics.classes)
        if n_classes < 2 or statistics.n <= n_classes:
            raise UsageError(
                f"StreamingLDA needs at least 2 classes and more samples than classes, got {n_classes} "
                f"class{'' if n_classes == 1 else 'es'} and {statistics.n:g} sample{'' if statistics.n == 1 else 's'}"
            )
        self._check_arguments(n_classes, len(statistics.mean))
        priors = self._checked_priors(statistics)
        self.n_features_in_ = len(statistics.mean)
        self.classes_, self.means_, self.priors_ = statistics.classes, statistics.class_means.copy(), priors
        self._solve(statistics)
        return self

    def transform(self, X: Any) -> Floats:
        """Project on the discriminant directions, shape (n_samples, n_components)."""
        check_is_fitted(self, "coef_")
        features = checked_features(self, X, reset=False)
        directions = self.scalings_[:, : self._n_features_out]
        return (features - self.xbar_.astype(features.dtype)) @ directions.astype(features.dtype)

    def _check_arguments(self, n_classes: int, n_features: int) -> None:
        most = min(n_classes - 1, n_features)
        require(self.n_components is None or 1 <= self.n_components <= most, self, "n_components", f"1 to {most}")
        is_number = isinstance(self.shrinkage, float | int)
        in_range = self.shrinkage is None or (is_number and 0 <= self.shrinkage <= 1)
        require(in_range, self, "shrinkage", "None or a number from 0 to 1")
        # scikit-learn weights the covariances of the classes by the priors then, and these are not kept one by one.
        require(self.priors is None or not self.shrinkage, self, "priors", "None together with shrinkage")

    def _checked_priors(self, statistics: SufficientStatistics) -> Float64:
        if self.priors is None:
            return statistics.class_n / statistics.n
        priors = np.asarray(self.priors, dtype=np.float64)
        is_distribution = priors.shape == (len(statistics.classes),) and priors.min() >= 0 and priors.sum() > 0
        require(is_distribution, self, "priors", f"{len(statistics.classes)} numbers, none negative")
        return priors / priors.sum()

    def _solve(self, statistics: SufficientStatistics) -> None:
        self.xbar_ = self.priors_ @ self.means_
        whitening = _whitening(self._covariance(statistics), self.tol)
        n_classes = len(self.classes_)
        spread = np.sqrt(statistics.n * self.priors_ / (n_classes - 1))[:, None] * (self.means_ - self.xbar_)
        _, lengths, directions = np.linalg.svd(spread @ whitening, full_matrices=False)
        rank = int((lengths > self.tol * lengths.max(initial=0.0)).sum())
        self.scalings_ = whitening @ directions[:rank].T
        most = min(n_classes - 1, len(statistics.mean))
        self._n_features_out = min(rank, most if self.n_components is None else self.n_components)
        shares = lengths**2 / max(float((lengths**2).sum()), 1e-300)
        self.explained_variance_ratio_ = shares[: self._n_features_out]
        if not self.shrinkage:
            projected = (self.means_ - self.xbar_) @ self.scalings_
            coef = projected @ self.scalings_.T
            intercept = -0.5 * (projected**2).sum(axis=1) + np.log(self.priors_) - coef @ self.xbar_
        else:
            # As scikit-learn's "lsqr" does: other scores, by as much for every class, than its "svd".
            whitened = self.means_ @ whitening
            coef = whitened @ whitening.T
            intercept = -0.5 * (whitened**2).sum(axis=1) + np.log(self.priors_)
        if n_classes == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        self.coef_, self.intercept_ = coef, intercept

    def _covariance(self, statistics: SufficientStatistics) -> Float64:
        """Within-class covariance: the scatter less that of the class means."""
        apart = np.sqrt(statistics.class_n)[:, None] * (statistics.class_means - statistics.mean)
        covariance = (statistics.scatter - apart.T @ apart) / statistics.n
        if self.shrinkage:
            sphere = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
            covariance = (1 - self.shrinkage) * covariance + self.shrinkage * sphere
        return covariance


def _whitening(covariance: Float64, tol: float) -> Float64:
    """Directions (n_features, rank) along which the covariance is the identity, by way of the correlations."""
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    # What is left of a constant feature is rounding.
    deviations[deviations <= 1e-12 * deviations.max(initial=0.0)] = 1.0
    eigenvalues, vectors = eigh(covariance / np.outer(deviations, deviations))
    lengths = np.sqrt(eigenvalues)
    kept = lengths > tol
    return vectors[:, kept] / deviations[:, None] / lengths[kept]
