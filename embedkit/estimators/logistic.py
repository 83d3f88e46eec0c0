"""Logistic regression with an L2 penalty, solved to a proven distance from the optimum.

Layer: imports its own room.
"""

from __future__ import annotations

from embedkit.estimators.linear_classifier import ProbabilisticLinearClassifier
from embedkit.estimators.losses import Binomial, Loss, Multinomial
from embedkit.estimators.penalised import PenalisedClassifier


class LogisticRegression(PenalisedClassifier, ProbabilisticLinearClassifier):
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

    @staticmethod
    def loss_of(n_outputs: int) -> Loss:
        """Give the loss; n_outputs is 1 for two classes."""
        return Binomial() if n_outputs == 1 else Multinomial()
