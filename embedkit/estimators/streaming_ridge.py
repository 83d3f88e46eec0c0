"""Ridge regression and the ridge classifier from sufficient statistics: one pass over the data, every alpha.

The solution for alpha is V (E + alpha)^-1 V' c with the eigendecomposition S = V E V' of the scatter and the cross
products c of centred features and targets: one decomposition serves all alphas.

Layer: imports scikit-learn, embedkit.errors and its own room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, cast

import numpy as np
import sklearn.metrics
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64, Floats
from embedkit.estimators.linear_classifier import LinearClassifier
from embedkit.estimators.revising import RevisableClassifier
from embedkit.estimators.sufficient_statistics import SufficientStatistics, TargetKind, continued, fresh
from embedkit.estimators.symmetric import eigh
from embedkit.estimators.validation import (
    check_is_fitted,
    checked_features,
    checked_features_and_labels,
    checked_features_and_values,
    require,
    require_known,
)


class _StreamingRidge(BaseEstimator):
    """What the regressor and the classifier share: statistics in, a model for each alpha out."""

    alphas: Any
    fit_intercept: bool
    alphas_: Float64
    coefs_: Float64
    intercepts_: Float64
    coef_: Floats
    intercept_: Any
    statistics_: SufficientStatistics
    n_features_in_: int

    _target: TargetKind
    _default_scoring: str

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit on these rows alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), for the regressor also (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), optional
            Not negative.
        """
        features, targets = self._checked(X, y, reset=True)
        self.statistics_ = fresh(self, self._target).update(features, targets, sample_weight)
        return self.fit_statistics(self.statistics_)

    def fit_statistics(self, statistics: SufficientStatistics) -> Self:
        """Fit on statistics that were collected elsewhere, of target "classes" or "values"."""
        if statistics.target != self._target:
            raise UsageError(
                f"{type(self).__name__} needs statistics of target={self._target!r}, got {statistics.target!r}"
            )
        statistics.require_rows(1)
        alphas = np.atleast_1d(np.asarray(self.alphas, dtype=np.float64))
        require(alphas.ndim == 1 and len(alphas) > 0, self, "alphas", "a number or a list of numbers")
        require(bool(np.isfinite(alphas).all() and alphas.min() >= 0), self, "alphas", "finite values, none negative")
        self.n_features_in_ = len(statistics.mean)
        self.alphas_ = alphas
        self.coefs_, self.intercepts_ = self._solved(statistics, alphas)
        for name in ("best_index_", "best_alpha_", "scores_", "at_edge_", "coef_", "intercept_"):
            if hasattr(self, name):
                delattr(self, name)
        if len(alphas) == 1:
            self._use(0)
        return self

    def select(self, X: Any, y: Any, scoring: str | Callable[..., float] | None = None) -> Self:
        """Choose the alpha that does best on held-out rows; of equals, the largest.

        Parameters
        ----------
        X, y
            Held-out rows.
        scoring : str or callable (estimator, X, y), optional
            Larger is better; None is the accuracy or R2.
        """
        check_is_fitted(self, "coefs_")
        scorer = cast(Callable[..., float], cast(Any, sklearn.metrics).get_scorer(scoring or self._default_scoring))
        scores = np.empty(len(self.alphas_))
        for i in range(len(scores)):
            self._use(i)
            scores[i] = scorer(self, X, y)
        order = np.argsort(-self.alphas_, kind="stable")
        self.best_index_ = int(order[scores[order].argmax()])
        self.best_alpha_ = float(self.alphas_[self.best_index_])
        self.scores_ = scores
        self.at_edge_ = len(scores) > 1 and self.best_alpha_ in (self.alphas_.min(), self.alphas_.max())
        self._use(self.best_index_)
        return self

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Floats, Any]:
        raise NotImplementedError

    def _solved(self, statistics: SufficientStatistics, alphas: Float64) -> tuple[Float64, Float64]:
        """Coefficients (n_alphas, n_targets, n_features) and intercepts (n_alphas, n_targets)."""
        scatter, (cross, target_mean) = statistics.scatter, self._targets_of(statistics)
        if not self.fit_intercept:
            scatter = scatter + statistics.n * np.outer(statistics.mean, statistics.mean)
            cross = cross + statistics.n * np.outer(statistics.mean, target_mean)
        eigenvalues, vectors = eigh(scatter)
        projected = vectors.T @ cross
        shrunk = eigenvalues + alphas[:, None]
        # alpha = 0: directions without variance get no coefficient, as in a pseudo-inverse.
        usable = shrunk > np.finfo(np.float64).eps * len(eigenvalues) * eigenvalues.max(initial=0.0)
        inverse = np.divide(1.0, shrunk, out=np.zeros_like(shrunk), where=usable)
        coefs = np.stack([(vectors @ (scale[:, None] * projected)).T for scale in inverse])
        intercepts = target_mean - coefs @ statistics.mean if self.fit_intercept else np.zeros(coefs.shape[:2])
        return coefs, intercepts

    def _targets_of(self, statistics: SufficientStatistics) -> tuple[Float64, Float64]:
        """Cross products (n_features, n_targets) and mean (n_targets,) of the targets."""
        raise NotImplementedError

    def _use(self, index: int) -> None:
        """Predict with one alpha from now on."""
        self.coef_, self.intercept_ = self.coefs_[index], self.intercepts_[index]

    def _require_choice(self) -> None:
        if hasattr(self, "coefs_") and not hasattr(self, "coef_"):
            raise UsageError(
                f"{type(self).__name__} was fitted for {len(self.alphas_)} alphas and has chosen none; call select "
                f"with held-out rows, or give one alpha"
            )


class StreamingRidge(MultiOutputMixin, RegressorMixin, _StreamingRidge):
    """Ridge regression from one pass over the data, equal to `sklearn.linear_model.Ridge`.

    Parameters
    ----------
    alphas : float or array-like of shape (n_alphas,), default=1.0
        Strengths of the penalty, not negative. After a fit with several, `select` chooses one.
    fit_intercept : bool, default=True

    Attributes
    ----------
    coefs_ : ndarray of shape (n_alphas, n_targets, n_features), float64
    intercepts_ : ndarray of shape (n_alphas, n_targets), float64
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features), float64
        Of the one alpha, or of the selected one.
    intercept_ : float or ndarray of shape (n_targets,)
    alphas_ : ndarray of shape (n_alphas,), float64
    scores_ : ndarray of shape (n_alphas,), float64
        By `select`, as are `best_index_`, `best_alpha_` and `at_edge_` (whether the best is an end of the grid).
    statistics_ : SufficientStatistics
        What `fit` and `partial_fit` have seen. Of n_features**2 numbers: delete it from a model that is to be small and
        will not see further batches. `fit_statistics` keeps none.
    n_features_in_ : int
    """

    _target = "values"
    _default_scoring = "r2"

    def __init__(self, alphas: Any = 1.0, *, fit_intercept: bool = True) -> None:
        self.alphas = alphas
        self.fit_intercept = fit_intercept

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit on these rows and all before them: the same as `fit` on all of them at once.

        Every call solves again. For many batches, `SufficientStatistics.update` with each of them and one
        `fit_statistics` at the end is faster.
        """
        statistics = continued(self, "values")
        features, targets = self._checked(X, y, reset=statistics.n == 0)
        self.statistics_ = statistics.update(features, targets, sample_weight)
        return self.fit_statistics(statistics)

    def predict(self, X: Any) -> Floats:
        """Predict targets, of shape (n_samples,) or (n_samples, n_targets)."""
        self._require_choice()
        check_is_fitted(self, "coef_")
        features = checked_features(self, X, reset=False)
        return features @ self.coef_.T.astype(features.dtype) + np.asarray(self.intercept_, dtype=features.dtype)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Floats, Any]:
        features, targets = checked_features_and_values(self, X, y, reset=reset)
        self._is_single = targets.ndim == 1
        return features, targets

    def _targets_of(self, statistics: SufficientStatistics) -> tuple[Float64, Float64]:
        return statistics.cross, statistics.target_mean

    def _use(self, index: int) -> None:
        super()._use(index)
        if len(self.coef_) == 1 and getattr(self, "_is_single", True):
            self.coef_, self.intercept_ = self.coef_[0], float(self.intercept_[0])


class StreamingRidgeClassifier(RevisableClassifier, _StreamingRidge, LinearClassifier):
    """The ridge classifier from one pass over the data, equal to `sklearn.linear_model.RidgeClassifier`.

    Least squares on targets of +1 for the own class and -1 for the others.

    Parameters
    ----------
    alphas : float or array-like of shape (n_alphas,), default=1.0
        Strengths of the penalty, not negative. After a fit with several, `select` chooses one.
    fit_intercept : bool, default=True
    by_class : bool, default=False
        Keep the scatter of each class, so that `remove_class` needs no rows (see `SufficientStatistics`).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        All seen so far.
    coefs_ : ndarray of shape (n_alphas, k, n_features), float64
        k is 1 for two classes.
    intercepts_ : ndarray of shape (n_alphas, k), float64
    coef_ : ndarray of shape (k, n_features), float64
        Of the one alpha, or of the selected one.
    intercept_ : ndarray of shape (k,), float64
    alphas_ : ndarray of shape (n_alphas,), float64
    scores_ : ndarray of shape (n_alphas,), float64
        By `select`, as are `best_index_`, `best_alpha_` and `at_edge_` (whether the best is an end of the grid).
    statistics_ : SufficientStatistics
        What `fit` and `partial_fit` have seen. Of n_features**2 numbers: delete it from a model that is to be small and
        will not see further batches. `fit_statistics` keeps none.
    n_features_in_ : int
    """

    _target = "classes"
    _default_scoring = "accuracy"

    def __init__(self, alphas: Any = 1.0, *, fit_intercept: bool = True, by_class: bool = False) -> None:
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.by_class = by_class

    def decision_function(self, X: Any) -> Floats:
        """Return the scores of samples, shape (n_samples,) for two classes, else (n_samples, n_classes)."""
        self._require_choice()
        return super().decision_function(X)

    def fit_statistics(self, statistics: SufficientStatistics) -> Self:
        """Fit on statistics that were collected elsewhere, of target "classes"."""
        if statistics.target == "classes" and len(statistics.classes) < 2:
            raise UsageError(
                f"StreamingRidgeClassifier needs samples of at least 2 classes, got {len(statistics.classes)} class: "
                f"{statistics.classes.tolist()!r}"
            )
        self.classes_ = statistics.classes
        return super().fit_statistics(statistics)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Fit on these rows and all before them: the same as `fit` on all of them at once.

        Every call solves again. For many batches, `SufficientStatistics.update` with each of them and one
        `fit_statistics` at the end is faster. Before two classes have been seen nothing can be predicted.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like of shape (n_classes,), optional
            All labels there are. They need not be known beforehand; when given, others are refused.
        """
        statistics = continued(self, "classes")
        features, labels = checked_features_and_labels(self, X, y, reset=statistics.n == 0)
        require_known(labels, classes)
        self.statistics_ = statistics.update(features, labels, sample_weight)
        return self if len(statistics.classes) < 2 else self.fit_statistics(statistics)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Floats, Any]:
        return checked_features_and_labels(self, X, y, reset=reset)

    def _targets_of(self, statistics: SufficientStatistics) -> tuple[Float64, Float64]:
        # Of targets +-1 with mean 2 n_k / n - 1: the sum of (x - mean) over class k, twice.
        cross = 2 * (statistics.class_n[:, None] * (statistics.class_means - statistics.mean)).T
        target_mean = 2 * statistics.class_n / statistics.n - 1
        return (cross[:, 1:], target_mean[1:]) if len(statistics.classes) == 2 else (cross, target_mean)
