"""A linear classifier with an L2 penalty, solved to a proven distance from the optimum, whatever its loss.

Layer: imports scikit-learn, embedkit.errors and its own room.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from embedkit.estimators.linear_classifier import LinearClassifier
from embedkit.estimators.linear_problem import check_arguments, decomposed_problem, warn_unless_converged
from embedkit.estimators.losses import Loss
from embedkit.estimators.validation import labelled_rows, require


class PenalisedClassifier(LinearClassifier):
    """Parameters, attributes and `fit` of `LogisticRegression` and `LinearSVC`, which are documented there."""

    def __init__(
        self,
        C: float = 1.0,
        *,
        fit_intercept: bool = True,
        standardize: bool = False,
        class_weight: Any = None,
        tol: float = 1e-6,
        max_iter: int = 1000,
        device: str = "cpu",
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.device = device

    @staticmethod
    def loss_of(n_outputs: int) -> Loss:
        """Give the loss; n_outputs is 1 for two classes."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 stays float32; everything else becomes float64.
        y : array-like of shape (n_samples,)
            Class labels: numbers, strings or booleans.
        sample_weight : array-like of shape (n_samples,), optional
            Not negative; a row of weight 0 is as good as absent.

        Raises
        ------
        ValueError
            Arguments out of range, features that are no matrix of finite numbers, fewer than two classes.
        """
        check_arguments(self)
        require(0 < self.C < np.inf, self, "C", "a positive, finite number")
        data = labelled_rows(self, X, y, sample_weight)
        path = decomposed_problem(self, data, self.loss_of).path(np.array([float(self.C)]), self.tol)
        warn_unless_converged(self, path, "the data")
        self.classes_ = data.classes
        self.coef_, self.intercept_ = path.model(0)
        self.n_iter_ = path.n_iter
        self.grad_norm_, self.gap_ = float(path.grad_norms[0]), float(path.gaps[0])
        self.converged_ = bool(path.converged[0])
        return self
