"""Logistic regression that trusts a row the less, the less its label is likely.

Layer: imports its own room.

References
----------
Z. Zhang, M. R. Sabuncu, Generalized cross entropy loss for training deep neural networks with noisy labels, NeurIPS
2018.
D. R. Hunter, K. Lange, A tutorial on MM algorithms, The American Statistician 58, 2004.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from embedkit.estimators.arrays import Float64, Floats
from embedkit.estimators.linear_classifier import ProbabilisticLinearClassifier
from embedkit.estimators.logistic import LogisticRegression
from embedkit.estimators.validation import labelled_rows, require


class RobustLogisticRegression(ProbabilisticLinearClassifier):
    """Logistic regression with the generalised cross entropy (1 - p^q) / q in place of -log p, for noisy labels.

    The loss of a row is at most 1 / q, however unlikely its label is. With respect to -log p it is concave, so that its
    tangent lies above it: each step fits a logistic regression whose rows weigh p^q, p by the fit before, and the
    objective ``C * sum_i (1 - p_i^q) / q + ||W||^2 / 2`` never rises. The first fit weighs all rows alike. Of several
    minima that is one.

    Parameters
    ----------
    C : float, default=0.01
        Inverse strength of the penalty. A fit that separates all rows is sure of every label, right or wrong: on
        features wider than there are rows it takes a strong penalty.
    q : float, default=0.7
        0 < q <= 1; towards 0 logistic regression, at 1 the mean absolute error. The authors' value.
    max_steps : int, default=20
    tol : float, default=1e-4
        The fit ends where the objective falls by a smaller share.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    reliability_ : ndarray of shape (n_samples,), float64
        p^q of each training row: what its label weighs in the end.
    objective_ : list of float
        After each step.
    n_iter_ : int
        Steps.
    n_features_in_ : int

    Examples
    --------
    >>> X = np.r_[np.random.default_rng(0).normal(size=(40, 4)), np.random.default_rng(1).normal(size=(40, 4)) + 3]
    >>> y = np.repeat([0, 1], 40)
    >>> y[0] = 1  # wrong
    >>> fitted = RobustLogisticRegression(C=1.0).fit(X, y)
    >>> int(fitted.reliability_.argmin())
    0
    """

    def __init__(self, C: float = 0.01, *, q: float = 0.7, max_steps: int = 20, tol: float = 1e-4) -> None:
        self.C = C
        self.q = q
        self.max_steps = max_steps
        self.tol = tol

    def fit(self, X: Any, y: Any) -> Self:
        """Fit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        """
        require(0 < self.q <= 1, self, "q", "a number above 0, up to 1")
        require(self.max_steps >= 1, self, "max_steps", "at least 1")
        require(self.C > 0, self, "C", "a positive number")
        data = labelled_rows(self, X, y)
        rows = np.arange(len(data.features))
        weights: Float64 = np.ones(len(rows))
        self.classes_: NDArray[Any] = data.classes
        self.objective_: list[float] = []
        converged = False
        while not converged and len(self.objective_) < self.max_steps:
            model = LogisticRegression(self.C).fit(data.features, data.labels, sample_weight=weights)
            self.coef_: Floats = model.coef_
            self.intercept_: Floats = model.intercept_
            logs = np.asarray(model.predict_log_proba(data.features), np.float64)[rows, data.targets]
            weights = np.maximum(np.exp(self.q * logs), np.finfo(np.float64).tiny)
            loss = float(-np.expm1(self.q * logs).sum()) / self.q
            self.objective_.append(self.C * loss + float(np.square(self.coef_, dtype=np.float64).sum()) / 2)
            before = self.objective_[-2:][0]
            converged = len(self.objective_) > 1 and before - self.objective_[-1] <= self.tol * abs(before)
        self.reliability_ = weights
        self.n_iter_ = len(self.objective_)
        if not converged:
            warnings.warn(
                f"the objective still fell by more than {self.tol:g} of it at step {self.max_steps}; allow more steps",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self
