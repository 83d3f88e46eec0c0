"""Logistic regressions of several values of C on the same rows: at their optima, or as scikit-learn's lbfgs stops.

Several labels a row are one binary regression a class. A class without an example, or without a counter-example, has
no regression: its score is that of nobody, or of everybody.

Layer: probes.protocols; above the estimators.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import SplitError
from embedkit.evaluation import Labelled, Predicted, Rows, predicted_classes, spread

TOLERANCE = 1e-8
"""Largest relative distance of an objective from its optimum: predictions that depend on it are decided by rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The solver of an original: scikit-learn's LogisticRegression with lbfgs.

    Attributes
    ----------
    max_iter : int
    tol : float
        scikit-learn's default is 1e-4.
    warm_start : bool
        Each fit starts from the solution of the one before, of the same or of another class.
    dtype : type
        Of the features.
    """

    max_iter: int
    tol: float = 1e-4
    warm_start: bool = False
    dtype: type[np.floating[Any]] = np.float64


@dataclass(frozen=True, slots=True, kw_only=True)
class Regressions:
    """One model a value of C (several labels a row: one a value and class).

    Attributes
    ----------
    models : list
        For one label a row: an estimator of class numbers. Else a list of n_classes estimators of marks, or bool where
        all training rows agree.
    converged : ndarray of shape (n_Cs,), bool
    n_classes : int
    solver : estimator or None
        The solver of an original as its last fit left it.
    """

    models: list[Any]
    converged: npt.NDArray[np.bool_]
    n_classes: int
    solver: Any = None

    def predict(self, i: int, features: npt.NDArray[Any]) -> Predicted:
        """Give predictions of the i-th value with probabilities."""
        model: Any = self.models[i]
        X = features.astype(np.float64)
        if isinstance(model, list):
            parts = [_probability(part, X) for part in cast(list[Any], model)]
            scores = np.stack(parts, axis=1)
            return Predicted(targets=scores > 0.5, scores=scores, are_probabilities=True)
        probabilities = model.predict_proba(X)
        scores = spread(probabilities, cast(Rows, model.classes_), self.n_classes, 0.0)
        return predicted_classes(scores, are_probabilities=True)


def fit_regressions(
    rows: Labelled,
    Cs: Sequence[float],
    n_classes: int,
    published: Published | None,
    *,
    start: Regressions | None = None,
) -> Regressions:
    """Fit all values of C, in their order.

    Parameters
    ----------
    rows : Labelled
    Cs : sequence of float
    n_classes : int
    published : Published or None
        None: each is solved in float64 to within `TOLERANCE` of its optimum.
    start : Regressions, optional
        Where the solver of an original that starts warm was left; not used where it knows other classes.

    Raises
    ------
    SplitError
        The rows hold one class only.
    """
    if not has_two_classes(rows.y):
        raise SplitError(
            f"the {len(rows)} rows that the protocol fits on hold one class only; give more images of each class"
        )
    if published is not None:
        return _fit_published(rows, Cs, n_classes, published, start)
    X = rows.X.astype(np.float64)
    converged = np.ones(len(Cs), dtype=np.bool_)
    if rows.y.ndim == 1:
        models = _path(X, rows.y, Cs, converged)
        return Regressions(models=models, converged=converged, n_classes=n_classes)
    by_class = [
        [bool(marks.all())] * len(Cs) if marks.all() or not marks.any() else _path(X, marks, Cs, converged)
        for marks in rows.y.T
    ]
    return Regressions(
        models=[[models[i] for models in by_class] for i in range(len(Cs))], converged=converged, n_classes=n_classes
    )


def has_two_classes(y: npt.NDArray[Any]) -> bool:
    """Whether there is anything to tell apart: two classes, or a mark that some rows have and others have not."""
    return len(np.unique(y)) > 1 if y.ndim == 1 else bool((y.any(axis=0) & ~y.all(axis=0)).any())


def _path(
    X: npt.NDArray[np.float64], y: npt.NDArray[Any], Cs: Sequence[float], converged: npt.NDArray[np.bool_]
) -> list[Any]:
    from sklearn.exceptions import ConvergenceWarning

    from embedkit.estimators import LogisticRegressionPath

    path = LogisticRegressionPath(Cs=list(Cs), cv=None, tol=TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the record says it
        path.fit(X, y)
    converged &= path.converged_
    return [path.model_at(C) for C in Cs]


def _fit_published(
    rows: Labelled, Cs: Sequence[float], n_classes: int, published: Published, start: Regressions | None
) -> Regressions:
    from sklearn.linear_model import LogisticRegression

    X = rows.X.astype(published.dtype)
    model: Any = LogisticRegression(
        max_iter=published.max_iter, tol=published.tol, warm_start=published.warm_start, random_state=0
    )
    if start is not None and (rows.y.ndim == 2 or np.array_equal(start.solver.classes_, np.unique(rows.y))):
        model = copy.deepcopy(start.solver)
    models: list[Any] = []
    converged = np.ones(len(Cs), dtype=np.bool_)
    for i, C in enumerate(Cs):
        model.set_params(C=C)
        if rows.y.ndim == 1:
            converged[i] &= fits_quietly(model, X, rows.y)
            models.append(copy.deepcopy(model))
            continue
        parts: list[Any] = []
        for marks in rows.y.T:
            if marks.all() or not marks.any():
                parts.append(bool(marks.all()))
                continue
            converged[i] &= fits_quietly(model, X, marks)
            parts.append(copy.deepcopy(model))
        models.append(parts)
    return Regressions(models=models, converged=converged, n_classes=n_classes, solver=model)


def fits_quietly(model: Any, X: npt.NDArray[Any], y: npt.NDArray[Any]) -> bool:
    """Fit, and return whether scikit-learn has not warned that its stop rule was missed."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(X, y)
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _probability(model: Any, X: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the probability of a mark."""
    if isinstance(model, bool):
        return np.full(len(X), float(model))
    return cast(npt.NDArray[np.float64], model.predict_proba(X)[:, 1])
