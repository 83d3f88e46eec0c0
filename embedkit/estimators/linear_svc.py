"""Linear support vector machines with squared hinge loss, solved to a proven distance from the optimum.

Layer: imports its own room.
"""

from __future__ import annotations

from embedkit.estimators.losses import Loss, SquaredHinge
from embedkit.estimators.penalised import PenalisedClassifier
from embedkit.estimators.penalty_path import PenaltyPath


class LinearSVC(PenalisedClassifier):
    """A linear support vector machine with squared hinge loss, solved to a proven distance from the optimum.

    The objective is that of `sklearn.svm.LinearSVC`, ``C * sum_i s_i max(0, 1 - y_i f(x_i))^2 + ||w||^2 / 2`` for each
    class against the rest (one machine for two classes), but for the intercepts: liblinear penalises them as if they
    were coefficients of a constant feature, so that its model depends on where the origin of the features lies; here
    they are free, as in `sklearn.svm.SVC`. Without an intercept the two are the same.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty, positive and finite.
    fit_intercept : bool, default=True
    standardize : bool, default=False
        Penalise the coefficients of standardised features: the model is the one of a pipeline with StandardScaler, but
        takes features as they are and copies none of them. Means and deviations are those of all rows given as X.
    class_weight : None, "balanced" or dict of label -> weight, default=None
        Of a row in all machines; with several classes liblinear gives it to the rows of a machine's own class alone.
    tol : float, default=1e-6
        Largest distance of the objective from its optimum, relative to the objective.
    max_iter : int, default=1000
        Iterations of L-BFGS (of two passes over the data each) and of Newton's method (of four, and for each machine a
        linear system), which takes over soon; at its end the fit warns and gives what it has.
    device : str, default="cpu"
        Where the fit computes: "cpu" is NumPy, any other name a device of torch ("cuda", "cuda:1"), where Newton's
        method stays with NumPy. The fitted model is NumPy in either case.

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
        return SquaredHinge()


class LinearSVCPath(PenaltyPath):
    """Linear support vector machines for many values of C, and the selection of one.

    See `LinearSVC` for the objective and `LogisticRegressionPath`, which is made in the same way, for parameters and
    attributes; it predicts classes and scores, no probabilities.
    """

    model_type = LinearSVC
