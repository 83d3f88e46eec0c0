"""What linear classifiers have in common once `coef_` and `intercept_` are known.

Layer: imports scikit-learn and estimators.arrays.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import scipy.special
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from embedkit.estimators.arrays import Floats
from embedkit.estimators.validation import check_is_fitted, checked_features

_special = cast(Any, scipy.special)  # not typed throughout


class LinearClassifier(ClassifierMixin, BaseEstimator):
    """Predictions from `classes_`, `coef_` (k, d) and `intercept_` (k,); k is 1 for two classes."""

    classes_: NDArray[Any]
    coef_: Floats
    intercept_: Floats
    n_features_in_: int
    feature_names_in_: NDArray[Any]

    def decision_function(self, X: Any) -> Floats:
        """Return the scores of samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes (positive: `classes_[1]`)
        """
        check_is_fitted(self, "coef_")
        features = checked_features(self, X, reset=False)
        scores = features @ self.coef_.T.astype(features.dtype) + self.intercept_.astype(features.dtype)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with the highest score of each sample, shape (n_samples,)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)]


class ProbabilisticLinearClassifier(LinearClassifier):
    """A linear classifier whose scores are logits."""

    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each class, shape (n_samples, n_classes), in the order of `classes_`."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return cast(Floats, np.column_stack([_special.expit(-scores), _special.expit(scores)]))
        return cast(Floats, _special.softmax(scores, axis=1))

    def predict_log_proba(self, X: Any) -> Floats:
        """Return the logarithm of `predict_proba`, finite also where a probability is 0 to rounding."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            logarithms = cast(Floats, np.column_stack([_special.log_expit(-scores), _special.log_expit(scores)]))
        else:
            logarithms = cast(Floats, _special.log_softmax(scores, axis=1))
        # Nearer to 0 than rounding is 0, as the logarithm of predict_proba is.
        return np.where(np.exp(logarithms) == 1, 0, logarithms).astype(scores.dtype)
