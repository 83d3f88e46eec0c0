"""Minimise a loss of linear scores with an L2 penalty for many strengths of the penalty, each to a proven distance.

The objective is F(W, b) = sum_i s_i loss_i / S + (l / 2) ||W||^2 with S = sum_i s_i, which is scikit-learn's, divided
by C S: l = 1 / (C S) (`sklearn.linear_model.LogisticRegression`, user guide 1.1.11; `sklearn.svm.LinearSVC`). Three
ideas:

* The Hessian is close to A x G + l I (a Kronecker product), A = mean curvature of the loss (k, k; of the logistic one
  diag(p) - p p'), G = Gram matrix. In the eigenbasis of G (`eigenrows`) and of A it is diagonal, so its inverse is a
  cheap preconditioner for L-BFGS.
* Along the path, the line through the last two optima points at the next one: the first step is a line search on it.
* F is strongly convex: F(W, b) - min F <= ||dF/dW||^2 / (2 l) where the intercepts are optimal (it equals the duality
  gap there). The solver stops when this bound, plus Newton's estimate for the intercepts, is a given fraction of F.

Layer: imports NumPy, SciPy and, from its own room, the loss and `eigh`.

References
----------
Nocedal and Wright, Numerical Optimization, 2nd edition: algorithms 7.4 (L-BFGS) and 3.5 (line search), 2006.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import scipy.linalg

from embedkit.estimators.arrays import Float64, Indices
from embedkit.estimators.hinge_newton import HingeNewton
from embedkit.estimators.row_loss import Evaluation, RowLoss
from embedkit.estimators.symmetric import eigh

MEMORY = 10
"""Pairs that L-BFGS keeps; on features as they are, 10 to 100 took the same number of iterations within 10 %."""

LONG_MEMORY = 200
"""Pairs that it may keep where `HARD` iterations were not enough: features of very unequal scale, repeated rows with
different labels. There 10 pairs zigzag for thousands of iterations, and 200 come to an end."""

HARD = 50

SOON = 20
"""Iterations of L-BFGS before Newton's method takes over, where there is one. With 1,000 rows 8 are faster by a fifth,
with 9,000 rows of 100 classes 20 by half: a step of Newton costs as much as some 20 of L-BFGS there."""

LONG_MEMORY_BYTES = 32 * 2**20
"""Bound of the long memory; with many parameters it is no longer than the short one."""

SLOPE = 0.7
"""A step is taken when the slope has fallen to this fraction; 0.7 takes
as many iterations as 0.1 and half as many evaluations."""

PATIENCE = 100
"""Iterations without `PROGRESS` after which the arithmetic is taken to be the limit."""

PROGRESS = 1e-7
"""Relative decrease of the objective that counts; a better bound counts too."""


class Solution(NamedTuple):
    """The optimum for one strength of the penalty, as far as it was reached.

    Attributes
    ----------
    parameters : ndarray of shape (k, r + 1), float64
        In the coordinates of the loss; intercepts in the last column.
    objective : float
        F at the parameters.
    gap : float
        Upper bound of F - min F, relative to F.
    gradient_norm : float
        Euclidean norm of dF/d(W, b).
    n_iter : int
    converged : bool
        Whether `gap` is within what was asked for.
    """

    parameters: Float64
    objective: float
    gap: float
    gradient_norm: float
    n_iter: int
    converged: bool


@dataclass
class _Point:
    parameters: Float64
    loss: float
    gradient: Float64
    """Of the loss alone, so that it serves every strength of the penalty."""


def solve_path(
    loss: RowLoss,
    eigenvalues: Float64,
    start: Float64,
    strengths: Float64,
    tols: Float64,
    *,
    fit_intercept: bool,
    max_iter: int,
    newton: HingeNewton | None = None,
) -> list[Solution]:
    """Solve for every strength l of the penalty, each one from the optimum before it.

    Parameters
    ----------
    loss : RowLoss
    eigenvalues : ndarray of shape (r,), float64
        Weighted mean square of each column of the rows.
    start : ndarray of shape (k, r + 1), float64
        Where the first fit starts.
    strengths : ndarray of shape (n,), float64, positive
        Values of l, in the order to be solved, no two equal neighbours; fastest when descending.
    tols : ndarray of shape (n,), float64, positive
        Largest relative gap of a converged solution, for each strength.
    fit_intercept : bool
        Whether the last column of the parameters is free (and not penalised), or stays as it is.
    max_iter : int
        Iterations for each strength.
    newton : HingeNewton, optional
        Takes over where L-BFGS has not come to the end soon.
    """
    solver = _Solver(loss, eigenvalues, fit_intercept, max_iter, newton)
    solver.begin(start)
    solutions: list[Solution] = []
    for i, (strength, tol) in enumerate(zip(strengths, tols, strict=True)):
        secant, first_step = None, 1.0
        if len(solutions) >= 2:
            secant = solutions[-1].parameters - solutions[-2].parameters
            first_step = float(np.log(strengths[i - 1] / strength) / np.log(strengths[i - 2] / strengths[i - 1]))
        solutions.append(solver.solve(float(strength), float(tol), secant, first_step))
    return solutions


class _Solver:
    def __init__(
        self, loss: RowLoss, eigenvalues: Float64, fit_intercept: bool, max_iter: int, newton: HingeNewton | None
    ) -> None:
        self._loss = loss
        self._eigenvalues = eigenvalues
        self._fit_intercept = fit_intercept
        self._max_iter = max_iter
        self._newton = newton

    def begin(self, parameters: Float64, *, curvature: bool = True) -> None:
        self._loss.start(parameters)
        evaluation = self._loss.evaluate(0.0, curvature=curvature)
        self._point = _Point(parameters, evaluation.loss, self._free(evaluation.gradient))
        if evaluation.curvature is not None:
            self._curvature = evaluation.curvature

    def solve(self, strength: float, tol: float, secant: Float64 | None, first_step: float) -> Solution:
        n_iter = 0
        if secant is not None:
            n_iter += self._search(secant, first_step, strength, refresh_curvature=True) is not None
        preconditioner = _Preconditioner(self._curvature, self._eigenvalues, strength, self._fit_intercept)
        memory = _Memory(preconditioner, self._point.parameters.size)
        long_memory = min(LONG_MEMORY, LONG_MEMORY_BYTES // (16 * self._point.parameters.size))
        best_gap, best_objective, best_iter, fresh_iter = np.inf, np.inf, n_iter, -1
        while True:
            gradient = self._gradient(strength)
            objective = self._objective(strength)
            gap = preconditioner.gap(gradient) / objective if objective > 0 else 0.0
            if gap < best_gap or objective < best_objective * (1 - PROGRESS):
                best_gap, best_objective, best_iter = min(gap, best_gap), objective, n_iter
            if gap <= tol and self._newton is not None and n_iter > fresh_iter:
                # Support vectors may have gone since, and the curvature of the intercepts, which bounds, with them.
                fresh_iter = n_iter
                self.begin(self._point.parameters)
                preconditioner = _Preconditioner(self._curvature, self._eigenvalues, strength, self._fit_intercept)
                memory = _Memory(preconditioner, self._point.parameters.size)
                continue
            if gap <= tol or n_iter >= self._max_iter:
                break
            pair = None
            if n_iter - best_iter < PATIENCE and (self._newton is None or n_iter < SOON):
                pair = self._search(-memory.apply(gradient), 1.0, strength) or self._search(
                    -preconditioner.apply(gradient), 1.0, strength
                )
            if pair is None and self._newton is not None:
                machines = preconditioner.apart(gradient, tol * objective)
                pair = self._search(self._newton.direction(self._point.parameters, strength, machines), 1.0, strength)
            if pair is not None:
                memory.add(*pair, limit=MEMORY if n_iter < HARD else max(MEMORY, long_memory))
                n_iter += 1
            elif self._loss.promote():
                # Rounding has become as large as what is left of the gradient.
                self.begin(self._point.parameters, curvature=False)
                memory = _Memory(preconditioner, self._point.parameters.size)
                best_iter = n_iter
            else:
                break
        norm = float(np.linalg.norm(gradient))
        return Solution(self._point.parameters, objective, gap, norm, n_iter, gap <= tol)

    def _search(
        self, direction: Float64, step: float, strength: float, *, refresh_curvature: bool = False
    ) -> tuple[Float64, Float64] | None:
        """Move along a direction to where the slope is nearly gone; give L-BFGS's pair, or None if that fails."""
        weights, ahead = self._point.parameters[:, :-1], direction[:, :-1]
        cross, square = float(np.vdot(weights, ahead)), float(np.vdot(ahead, ahead))

        def slope_at(gradient: Float64, step: float) -> float:
            return float(np.vdot(gradient, direction)) + strength * (cross + step * square)

        initial = slope_at(self._point.gradient, 0.0)
        if not initial < 0:
            return None
        self._loss.aim(direction)
        low, low_slope, high, high_slope = 0.0, initial, np.inf, np.inf
        for _ in range(20):
            evaluation = self._loss.evaluate(step, curvature=refresh_curvature)
            gradient = self._free(evaluation.gradient)
            slope = slope_at(gradient, step)
            if abs(slope) <= -SLOPE * initial:
                return self._move(direction, step, evaluation, gradient, strength)
            if slope < 0:
                low, low_slope = step, slope
            else:
                high, high_slope = step, slope
            step = _next_step(low, low_slope, high, high_slope, initial)
        return None

    def _move(
        self, direction: Float64, step: float, evaluation: Evaluation, gradient: Float64, strength: float
    ) -> tuple[Float64, Float64]:
        self._loss.advance(step)
        change = step * direction
        difference = gradient - self._point.gradient
        difference[:, :-1] += strength * change[:, :-1]
        self._point = _Point(self._point.parameters + change, evaluation.loss, gradient)
        if evaluation.curvature is not None:
            self._curvature = evaluation.curvature
        return change, difference

    def _free(self, gradient: Float64) -> Float64:
        """Remove from a gradient what is zero by symmetry or fixed: its mean over the outputs, the intercepts."""
        if self._loss.loss.ignores_shifts:
            gradient = gradient - gradient.mean(axis=0)
        if not self._fit_intercept:
            gradient[:, -1] = 0.0
        return gradient

    def _gradient(self, strength: float) -> Float64:
        gradient = self._point.gradient.copy()
        gradient[:, :-1] += strength * self._point.parameters[:, :-1]
        return gradient

    def _objective(self, strength: float) -> float:
        weights = self._point.parameters[:, :-1]
        return self._point.loss + strength / 2 * float(np.vdot(weights, weights))


def _next_step(low: float, low_slope: float, high: float, high_slope: float, initial: float) -> float:
    """Where the slope would vanish if it were linear, kept well inside of the bracket."""
    if high == np.inf:
        # Convex: the slope only rises. Extrapolate from the slope at 0, at most tenfold.
        return min(low * initial / (initial - low_slope), 10 * low) if low_slope > initial else 10 * low
    margin = 0.05 * (high - low)
    secant = low - low_slope * (high - low) / (high_slope - low_slope)
    return min(max(secant, low + margin), high - margin)


class _Preconditioner:
    """The inverse of A x G + l I, diagonal in the eigenbases of A and G; for the intercepts the pseudo-inverse of A."""

    def __init__(self, curvature: Float64, eigenvalues: Float64, strength: float, fit_intercept: bool) -> None:
        values, self._vectors = eigh(curvature)
        values = np.maximum(values, 0.0)
        usable = values > 1e-10 * values.max(initial=0.0)
        inverse = np.zeros((len(values), len(eigenvalues) + 1))
        inverse[:, :-1] = 1.0 / (np.outer(values, eigenvalues) + strength)
        if fit_intercept:
            inverse[usable, -1] = 1.0 / values[usable]
        self._inverse = inverse
        self._strength = strength

    def apply(self, gradient: Float64) -> Float64:
        return self._vectors @ ((self._vectors.T @ gradient) * self._inverse)

    def gap(self, gradient: Float64) -> float:
        """Bound F - min F: strong convexity in W, Newton's decrement in b."""
        weights, intercepts = gradient[:, :-1], self._vectors.T @ gradient[:, -1]
        return float(np.vdot(weights, weights) / self._strength + intercepts**2 @ self._inverse[:, -1]) / 2

    def apart(self, gradient: Float64, gap: float) -> Indices:
        """Say which outputs, independent of each other, are not yet within their part of a gap."""
        curvatures = np.square(self._vectors) @ self._inverse[:, -1]
        gaps = np.square(gradient[:, :-1]).sum(axis=1) / self._strength + gradient[:, -1] ** 2 * curvatures
        return np.flatnonzero(gaps / 2 > 0.1 * gap / len(gradient))


class _Memory:
    """L-BFGS's inverse Hessian on top of a preconditioner (Nocedal and Wright, algorithm 7.4).

    The two loops of the algorithm are substitutions in one triangular matrix, s_i y_j for i <= j, so that they cost a
    few products of matrix and vector however many pairs there are.
    """

    def __init__(self, preconditioner: _Preconditioner, size: int) -> None:
        self._preconditioner = preconditioner
        self._size = size
        self._scale = 1.0
        self._first: int = 0
        self._last: int = 0
        self._allocate(MEMORY)

    def add(self, change: Float64, difference: Float64, limit: int) -> None:
        product = float(np.vdot(change, difference))
        if product <= 0:
            return
        self._scale = product / float(np.vdot(difference, self._preconditioner.apply(difference)))
        if limit > self._limit or self._last == len(self._changes):
            self._allocate(limit)
        self._first = max(self._first, self._last + 1 - limit)
        at = self._last
        self._last += 1
        self._changes[at], self._differences[at] = change.ravel(), difference.ravel()
        kept = slice(self._first, self._last)
        self._products[kept, at] = self._changes[kept] @ self._differences[at]

    def apply(self, gradient: Float64) -> Float64:
        kept = slice(self._first, self._last)
        if self._first == self._last:
            return self._preconditioner.apply(gradient)
        changes, differences, products = self._changes[kept], self._differences[kept], self._products[kept, kept]
        first = _substituted(products, changes @ gradient.ravel())
        rest = gradient - (first @ differences).reshape(gradient.shape)
        result = self._scale * self._preconditioner.apply(rest)
        second = _substituted(products, np.diag(products) * first - differences @ result.ravel(), transposed=True)
        return result + (second @ changes).reshape(gradient.shape)

    def _allocate(self, limit: int) -> None:
        """Make room for twice as many pairs as are kept, so that they move to the front now and then only."""
        kept = slice(self._first, self._last)
        count: int = self._last - self._first
        changes, differences = np.empty((2 * limit, self._size)), np.empty((2 * limit, self._size))
        products = np.zeros((2 * limit, 2 * limit))
        if count:
            changes[:count], differences[:count] = self._changes[kept], self._differences[kept]
            products[:count, :count] = self._products[kept, kept]
        self._limit, self._first, self._last = limit, 0, count
        self._changes, self._differences, self._products = changes, differences, products


def _substituted(upper: Float64, right: Float64, *, transposed: bool = False) -> Float64:
    """Solve a triangular system."""
    solve = cast(Any, scipy.linalg).solve_triangular
    return cast(Float64, solve(upper, right, trans=1 if transposed else 0, check_finite=False))
