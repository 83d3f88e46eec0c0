"""Logistic regression for a path of penalties, with the selection of one.

Layer: imports its own room.
"""

from __future__ import annotations

from embedkit.estimators.linear_classifier import ProbabilisticLinearClassifier
from embedkit.estimators.logistic import LogisticRegression
from embedkit.estimators.penalty_path import PenaltyPath


class LogisticRegressionPath(PenaltyPath, ProbabilisticLinearClassifier):
    """Logistic regression for many values of C, and the selection of one.

    Each value is solved to a proven distance from its own optimum (see `LogisticRegression` for the objective), one
    eigendecomposition serves all values and all folds, and each value starts where the ones before it point. So the
    path costs little more than its hardest value.

    Parameters
    ----------
    Cs : int or array-like of shape (n_Cs,), default=10
        Values of C, positive and finite, in any order; an int is that many from 1e-4 to 1e4 on a logarithmic scale,
        as in `sklearn.linear_model.LogisticRegressionCV`.
    cv : int, splitter, iterable of (train, test) indices, or None, default=5
        How `fit` selects: as in scikit-learn, an int is that many stratified folds. None selects nothing unless `fit`
        is given a validation set: the path can be read, and `model_at` gives its models, but it does not predict.
    scoring : str, callable (estimator, X, y) or None, default=None
        What selects, larger is better; None is the accuracy. With sample weights it is called with ``sample_weight=``.
    refit : bool, default=True
        With a validation set: fit the selected value again on all rows, those of the validation set among them.
    fit_intercept : bool, default=True
    standardize : bool, default=False
        Penalise the coefficients of standardised features: the model is the one of a pipeline with StandardScaler, but
        takes features as they are and copies none of them. Means and deviations are those of all rows given as X.
    class_weight : None, "balanced" or dict of label -> weight, default=None
    tol : float, default=1e-6
        Largest distance of each objective from its optimum, relative to the objective.
    max_iter : int, default=1000
        Iterations of L-BFGS for each value (of two passes over the data each).
    device : str, default="cpu"
        Where the fit computes: "cpu" is NumPy, any other name a device of torch ("cuda", "cuda:1"). The fitted model is
        NumPy in either case.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Of the model that predicts.
    path_classes_ : ndarray of shape (n_path_classes,)
        Of `coefs_`: without classes that only a validation set knows.
    Cs_ : ndarray of shape (n_Cs,), float64
        The values as given.
    coefs_ : ndarray of shape (n_Cs, k, n_features), float32 or float64 as X
        The path on all rows given as X (without a validation set); k is 1 for two classes.
    intercepts_ : ndarray of shape (n_Cs, k)
    n_iter_ : ndarray of shape (n_Cs,), int
    grad_norms_ : ndarray of shape (n_Cs,), float64
        Norms of the gradients of objective / (C * sum_i s_i).
    gaps_ : ndarray of shape (n_Cs,), float64
        Upper bounds of (objective - optimum) / objective.
    converged_ : ndarray of shape (n_Cs,), bool
        Whether `gaps_` <= `tol`.
    scores_ : ndarray of shape (n_splits, n_Cs), float64
        Held-out scores; one split for a validation set.
    best_index_ : int
        The value of best mean score; of several, the one of the smallest C.
    best_C_, best_score_ : float
    at_edge_ : bool
        Whether `best_C_` is the smallest or the largest of several values: a wider grid may hold a better one.
    coef_ : ndarray of shape (k, n_features)
        Of the model that predicts.
    intercept_ : ndarray of shape (k,)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
    """

    model_type = LogisticRegression
