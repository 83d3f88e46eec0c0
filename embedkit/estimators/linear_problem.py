"""From labelled rows to a path of linear classifiers: the decomposition, the folds, the coordinates.

Layer: imports scikit-learn's ConvergenceWarning, NumPy and its own room.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from embedkit.estimators.arrays import Float64, Floats, Indices, MapFunction, row_threads
from embedkit.estimators.eigenrows import EigenRows, eigen_rows
from embedkit.estimators.hinge_newton import HingeNewton
from embedkit.estimators.losses import Loss, SquaredHinge
from embedkit.estimators.path_solver import Solution, solve_path
from embedkit.estimators.row_arrays import NumpyArrays, RowArrays, TorchArrays
from embedkit.estimators.row_loss import RowLoss
from embedkit.estimators.validation import LabelledRows, class_weighted, require

STRIDE = 10.0
"""Largest factor between two values of C in a row; 3 to 100 took about the same time from a cold start."""

COARSE = 1e-2
"""Relative distance from the optimum at the values between; 1e-2 to 1e-4 took about the same time."""


@dataclass(frozen=True)
class LinearPath:
    """Models for ascending values of C.

    Attributes
    ----------
    Cs : ndarray of shape (n_Cs,), float64
    classes : ndarray of shape (n_classes,)
    parameters : list of n_Cs ndarrays of shape (k, r + 1), float64
        In the coordinates of the rows; intercepts in the last column; k is 1 for two classes.
    coordinates : EigenRows
        The coordinates alone, without rows.
    dtype : dtype
        Of the features.
    n_iter : ndarray of shape (n_Cs,), int
    grad_norms, gaps : ndarray of shape (n_Cs,), float64
        Norm of the gradient of objective / (C sum s), and upper bound of (objective - optimum) / objective.
    converged : ndarray of shape (n_Cs,), bool
    """

    Cs: Float64
    classes: NDArray[Any]
    parameters: list[Float64]
    coordinates: EigenRows
    dtype: np.dtype[Any]
    n_iter: NDArray[np.int64]
    grad_norms: Float64
    gaps: Float64
    converged: NDArray[np.bool_]

    def model(self, index: int) -> tuple[Floats, Floats]:
        """Give the model of the features for one value: coefficients (k, n_features), intercepts (k,)."""
        weights, intercepts = self.parameters[index][:, :-1], self.parameters[index][:, -1]
        coef, intercept = self.coordinates.features_model(weights, intercepts)
        return coef.astype(self.dtype), intercept.astype(self.dtype)

    def reduced_model(self, index: int) -> tuple[Floats, Floats]:
        """Give the same model of rows in their coordinates: coefficients (k, r), intercepts (k,)."""
        parameters = self.parameters[index].astype(self.dtype)
        return parameters[:, :-1], parameters[:, -1]


@dataclass(frozen=True)
class LinearProblem:
    """Rows to fit on, decomposed once for all values of C and all subsets of the rows.

    Attributes
    ----------
    loss_of : callable (n_outputs) -> Loss
        n_outputs is 1 for two classes.
    rows : EigenRows
    targets : ndarray of shape (n_samples,), intp
    weights : ndarray of shape (n_samples,), float64, positive
        Sample weights, without class weights.
    classes : ndarray of shape (n_classes,)
    class_weight : None, "balanced" or dict
    fit_intercept : bool
    max_iter : int
    device : str
        "cpu" for NumPy, else a torch device.
    """

    loss_of: Callable[[int], Loss]
    rows: EigenRows
    targets: Indices
    weights: Float64
    classes: NDArray[Any]
    class_weight: Any
    fit_intercept: bool
    max_iter: int
    device: str

    def subset(self, index: Indices) -> LinearProblem:
        """Give the problem of some of the rows and of the classes among them, in the same coordinates.

        The decomposition is that of all rows: another one changes the iterations, not the optimum.
        """
        present, targets = np.unique(self.targets[index], return_inverse=True)
        return replace(
            self,
            rows=self.rows.take(index),
            targets=targets,
            weights=self.weights[index],
            classes=self.classes[present],
        )

    def path(self, Cs: Float64, tol: float) -> LinearPath:
        """Fit for ascending values of C, each to the relative distance `tol` from its optimum.

        Where two values are more than a factor of `STRIDE` apart, and before the first one, values between are fitted
        coarsely on the way; their iterations count for the value that they lead to.
        """
        weights = class_weighted(self.targets, self.weights, self.class_weight, self.classes)
        total = float(weights.sum())
        n_outputs = 1 if len(self.classes) == 2 else len(self.classes)
        waypoints, wanted = self._waypoints(Cs, total)
        multiplications = len(self.targets) * self.rows.raised_width * n_outputs
        loss = self.loss_of(n_outputs)
        with row_threads(multiplications) as threads:
            solutions = solve_path(
                RowLoss(loss, self._arrays(threads), self.rows, self.targets, weights / total, n_outputs),
                self.rows.eigenvalues,
                self._start(loss, weights / total, n_outputs),
                1.0 / (waypoints * total),
                np.where(wanted, tol, max(tol, COARSE)),
                fit_intercept=self.fit_intercept,
                max_iter=self.max_iter,
                newton=self._newton(loss, weights / total, threads),
            )
        return self._kept(Cs, solutions, wanted)

    def _arrays(self, threads: MapFunction) -> RowArrays:
        n_rows = len(self.targets)
        if self.device == "cpu":
            return NumpyArrays(self.rows, n_rows, threads)
        return TorchArrays(self.rows, n_rows, self.device)

    def _newton(self, loss: Loss, weights: Float64, threads: MapFunction) -> HingeNewton | None:
        if not isinstance(loss, SquaredHinge):
            return None
        return HingeNewton(self.rows, self.targets, weights, fit_intercept=self.fit_intercept, threads=threads)

    def _waypoints(self, Cs: Float64, total: float) -> tuple[Float64, NDArray[np.bool_]]:
        """Values of C to visit, and which of them were asked for."""
        # Below this C the penalty outweighs the curvature of the loss in every direction: one step solves it.
        easiest = 1.0 / (total * self.rows.eigenvalues.max(initial=1e-300))
        values, wanted = [min(float(Cs[0]), easiest)], [False]
        for C in Cs:
            n_steps = max(int(np.ceil(np.log(C / values[-1]) / np.log(STRIDE) - 1e-9)), 1)
            ratio = (float(C) / values[-1]) ** (1 / n_steps)
            values.extend([values[-1] * ratio**step for step in range(1, n_steps)] + [float(C)])
            wanted.extend([False] * (n_steps - 1) + [True])
        if values[0] == Cs[0]:
            values, wanted = values[1:], wanted[1:]
        return np.array(values), np.array(wanted)

    def _start(self, loss: Loss, weights: Float64, n_outputs: int) -> Float64:
        """Give the optimum for C = 0: no coefficients, the intercepts that are best alone."""
        start = np.zeros((n_outputs, len(self.rows.eigenvalues) + 1))
        if self.fit_intercept:
            start[:, -1] = loss.intercepts(np.bincount(self.targets, weights=weights).astype(np.float64))
        return start

    def _kept(self, Cs: Float64, visited: list[Solution], wanted: NDArray[np.bool_]) -> LinearPath:
        solutions = [solution for solution, is_wanted in zip(visited, wanted, strict=True) if is_wanted]
        iterations_so_far = np.cumsum([s.n_iter for s in visited])[wanted]
        return LinearPath(
            Cs=Cs,
            classes=self.classes,
            parameters=[s.parameters for s in solutions],
            coordinates=self.rows.without_rows(),
            dtype=self.rows.rows.dtype,
            n_iter=np.diff(iterations_so_far, prepend=0),
            grad_norms=np.array([s.gradient_norm for s in solutions]),
            gaps=np.array([s.gap for s in solutions]),
            converged=np.array([s.converged for s in solutions]),
        )


class Arguments(Protocol):
    """The constructor's arguments that all of these classifiers have."""

    fit_intercept: bool
    standardize: bool
    class_weight: Any
    tol: float
    max_iter: int
    device: str


def check_arguments(estimator: Arguments) -> None:
    """Raise UsageError unless the arguments in common are in range."""
    require(0 < estimator.tol < 1, estimator, "tol", "a number between 0 and 1")
    require(estimator.max_iter >= 1, estimator, "max_iter", "at least 1")
    is_possible = estimator.fit_intercept or not estimator.standardize
    require(is_possible, estimator, "standardize", "False without an intercept")


def decomposed_problem(estimator: Arguments, data: LabelledRows, loss_of: Callable[[int], Loss]) -> LinearProblem:
    """Bring the features into the coordinates of the fit."""
    # The weights of the classes change the loss, but not what is typical of the features.
    weights = data.weights / data.weights.sum()
    center = estimator.fit_intercept
    return LinearProblem(
        loss_of=loss_of,
        rows=eigen_rows(data.features, weights, center=center, standardize=estimator.standardize),
        targets=data.targets,
        weights=data.weights,
        classes=data.classes,
        class_weight=estimator.class_weight,
        fit_intercept=estimator.fit_intercept,
        max_iter=estimator.max_iter,
        device=estimator.device,
    )


def warn_unless_converged(estimator: Arguments, path: LinearPath, rows: str) -> None:
    """Warn of the values of C that are not proven to be within tol of their optimum."""
    missed = ~path.converged
    if missed.any():
        values = ", ".join(f"{C:.3g}" for C in path.Cs[missed])
        warnings.warn(
            f"{type(estimator).__name__} did not converge on {rows} for C = {values}: the objective is proven within "
            f"{path.gaps[missed].max():.1e} of its optimum, expected {estimator.tol:.1e}; raise max_iter "
            f"({estimator.max_iter}), scale the features or leave out the largest values of C",
            ConvergenceWarning,
            stacklevel=3,
        )
