"""Logistic regression with an L2 penalty, solved to a proven distance from the optimum.

Layer: imports scikit-learn, embedkit.errors and its own room.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from embedkit.estimators.linear_classifier import ProbabilisticLinearClassifier
from embedkit.estimators.logistic_fit import check_arguments, decomposed_problem, warn_unless_converged
from embedkit.estimators.validation import labelled_rows, require


class LogisticRegression(ProbabilisticLinearClassifier):
    """Logistic regression with an L2 penalty, solved to a proven distance from the optimum.

    The objective is that of `sklearn.linear_model.LogisticRegression`: ``C * sum_i s_i loss_i + ||W||^2 / 2``, the
    binary loss for two classes and the multinomial one for more, intercepts not penalised.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty, positive and finite.
    fit_intercept : bool, default=True
    standardize : bool, default=False
        Penalise the coefficients of standardised features: the model is the one of a pipeline with StandardScaler, but
        takes features as they are and copies none of them. Means and deviations are those of all rows given as X.
    class_weight : None, "balanced" or dict of label -> weight, default=None
    tol : float, default=1e-6
        Largest distance of the objective from its optimum, relative to the objective.
    max_iter : int, default=1000
        Iterations of L-BFGS (of two passes over the data each); at its end the fit warns and gives what it has.
    device : str, default="cpu"
        Where the fit computes: "cpu" is NumPy, any other name a device of torch ("cuda", "cuda:1"). The fitted model is
        NumPy in either case.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features), float32 or float64 as X
    intercept_ : ndarray of shape (1,) or (n_classes,)
    n_iter_ : ndarray of shape (1,), int
    grad_norm_ : float
        Norm of the gradient of objective / (C * sum_i s_i).
    gap_ : float
        Upper bound of (objective - optimum) / objective; an estimate of it while far from the optimum.
    converged_ : bool
        Whether `gap_` <= `tol`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
    """

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
        path = decomposed_problem(self, data).path(np.array([float(self.C)]), self.tol)
        warn_unless_converged(self, path, "the data")
        self.classes_ = data.classes
        self.coef_, self.intercept_ = path.coefs[0], path.intercepts[0]
        self.n_iter_ = path.n_iter
        self.grad_norm_, self.gap_ = float(path.grad_norms[0]), float(path.gaps[0])
        self.converged_ = bool(path.converged[0])
        return self
