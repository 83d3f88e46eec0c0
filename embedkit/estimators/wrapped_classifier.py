"""A classifier inside another estimator, which answers for it.

Layer: imports scikit-learn and its own room.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.utils.metaestimators import available_if  # pyright: ignore[reportUnknownVariableType]

from embedkit.estimators.validation import check_is_fitted


def wrapped_has(name: str) -> Any:
    """Whether the wrapped estimator has a method, for `available_if`."""

    def check(self: Any) -> bool:
        return hasattr(self.estimator_ if hasattr(self, "estimator_") else self.estimator, name)

    return check


class WrappedClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # pyright: ignore[reportUntypedBaseClass]
    """What estimators around a classifier share: classes, probabilities and scores are those of the classifier."""

    estimator: Any
    estimator_: Any

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each sample, by the classifier."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.predict(X)

    @available_if(wrapped_has("predict_proba"))
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, by the classifier."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.predict_proba(X)

    @available_if(wrapped_has("decision_function"))
    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the scores of samples, by the classifier."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.decision_function(X)
