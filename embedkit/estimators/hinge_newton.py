"""Newton's method for the squared hinge loss: exact where L-BFGS crawls.

The loss is quadratic as long as no row enters or leaves the support vectors, those with y z < 1. So Newton's step leads
to the optimum for the support vectors of now, a ridge regression, and along the way to it the best point is found
exactly, since the slope is piecewise linear. A few steps end at the optimum (Mangasarian's finite Newton method, with
the intercept free). Machines are independent of each other: each has steps of its own, and passes over the rows are
shared.

Layer: imports NumPy, SciPy and, from its own room, arrays and eigenrows.

References
----------
O. L. Mangasarian, A finite Newton method for classification problems, Optimization Methods and Software 17, 2002.
S. S. Keerthi, D. DeCoste, A modified finite Newton method for fast solution of large scale linear SVMs, JMLR 6, 2005.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, cast

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from embedkit.estimators.arrays import Float64, Indices, MapFunction, row_spans
from embedkit.estimators.eigenrows import BLOCK_ROWS, EigenRows
from embedkit.estimators.symmetric import scatter_of

PRODUCTS_BYTES = 2**27
"""Up to this size the products of all rows with each other are kept: 4,096 rows."""


class HingeNewton:
    """Steps to the optimum of support vector machines, one against the rest, or one of two classes.

    Parameters
    ----------
    rows : EigenRows
    targets : ndarray of shape (n_samples,), intp
    weights : ndarray of shape (n_samples,), float64, summing to 1
    fit_intercept : bool
    threads : MapFunction
        Works on machines.
    """

    def __init__(
        self, rows: EigenRows, targets: Indices, weights: Float64, *, fit_intercept: bool, threads: MapFunction
    ) -> None:
        self._rows = rows
        self._targets = targets
        self._weights = weights
        self._fit_intercept = fit_intercept
        self._threads = threads

    def direction(self, parameters: Float64, strength: float, machines: Indices) -> Float64:
        """Give the step to the best point on the way to the optimum for the support vectors of now.

        Parameters
        ----------
        parameters : ndarray of shape (k, r + 1), float64
        strength : float
            l in F = sum_i s_i loss_i + l / 2 ||W||^2.
        machines : ndarray of intp
            Which of the k take a step.

        Returns
        -------
        ndarray of shape (k, r + 1), float64
            Zeros for the other machines.
        """
        signs = np.where(self._targets == (machines if len(parameters) > 1 else machines + 1)[:, None], 1.0, -1.0)
        old = parameters[machines]
        margins = signs * self._scores(old)

        def optimum(machine: int) -> Float64:
            return self._optimum(np.flatnonzero(margins[machine] < 1), signs[machine], old[machine], strength)

        ahead = np.stack(list(self._threads(optimum, range(len(machines))))) - old
        changes = signs * self._scores(ahead)
        for machine, direction in enumerate(ahead):
            cross = strength * float(old[machine, :-1] @ direction[:-1])
            square = strength * float(direction[:-1] @ direction[:-1])
            direction *= _best_step(margins[machine], changes[machine], self._weights, cross, square)
        step = np.zeros_like(parameters)
        step[machines] = ahead
        return step

    def _optimum(self, support: Indices, signs: Float64, old: Float64, strength: float) -> Float64:
        """Minimise sum_i s_i (y_i - z_i)^2 + l / 2 ||w||^2 over the support vectors."""
        weights, y = self._weights[support], signs[support]
        total = float(weights.sum())
        if not total:
            return np.append(np.zeros(len(old) - 1), old[-1])
        if len(support) < len(old) - 1:
            return self._optimum_by_products(support, weights, y, old[-1], strength)
        gram, sum_of_rows, sum_of_labelled = self._sums(support, weights, weights * y)
        middle, center = old[-1], np.zeros(len(gram))
        if self._fit_intercept:
            middle, center = float(weights @ y / total), sum_of_rows / total
            gram -= total * np.outer(center, center)
        curvature = 2 * gram + strength * np.eye(len(gram))
        w = _solved(curvature, 2 * (sum_of_labelled - middle * sum_of_rows))
        return np.append(w, middle - center @ w)

    def _sums(self, support: Indices, weights: Float64, labelled: Float64) -> tuple[Float64, Float64, Float64]:
        """Give sum s t t', sum s t and sum s y t over the support vectors t, block by block."""
        width = self._rows.raised_width
        gram, sums = np.zeros((width, width)), np.zeros((2, width))
        for start in range(0, len(support), BLOCK_ROWS):
            span = slice(start, start + BLOCK_ROWS)
            block = cast(Float64, self._rows.take(support[span]).block(slice(None), np.dtype(np.float64)))
            gram += scatter_of(block, weights[span])
            sums += np.stack([weights[span], labelled[span]]) @ block
        lift = self._rows.lift
        if lift is not None:
            gram, sums = lift.T @ gram @ lift, sums @ lift
        return gram, sums[0], sums[1]

    def _optimum_by_products(
        self, support: Indices, weights: Float64, y: Float64, intercept: float, strength: float
    ) -> Float64:
        """Find the same from the products of fewer support vectors than coordinates: w = 2 / l sum_i a_i x_i."""
        rows = self._coordinates(support)
        products = rows @ rows.T if self._products is None else self._products[np.ix_(support, support)]
        matrix = 2 / strength * products
        matrix[np.diag_indices(len(support))] += 1 / weights
        if self._fit_intercept:
            of_y, of_one = _solved(matrix, np.stack([y, np.ones_like(y)], axis=1)).T
            intercept = float(of_y.sum() / of_one.sum())
            residuals = of_y - intercept * of_one
        else:
            residuals = _solved(matrix, y - intercept)
        return np.append(2 / strength * (residuals @ rows), intercept)

    @cached_property
    def _products(self) -> Float64 | None:
        if 8 * len(self._targets) ** 2 > PRODUCTS_BYTES:
            return None
        rows = self._coordinates(np.arange(len(self._targets)))
        return rows @ rows.T

    def _scores(self, parameters: Float64) -> Float64:
        """Give z = T w + b of all rows, shape (k, n_samples), in float64."""
        coefficients = self._rows.raised(parameters[:, :-1]).T
        scores = np.empty((len(parameters), len(self._targets)))
        for span, block in self._blocks():
            scores[:, span] = (block @ coefficients).T
        return scores + parameters[:, -1:]

    def _blocks(self) -> Iterator[tuple[slice, Float64]]:
        for span in row_spans(len(self._targets)):
            yield span, cast(Float64, self._rows.block(span, np.dtype(np.float64)))

    def _coordinates(self, index: Indices) -> Float64:
        rows = self._rows.take(index)
        block = cast(Float64, rows.block(slice(None), np.dtype(np.float64)))
        return block if rows.lift is None else block @ rows.lift


def _best_step(margins: Float64, changes: Float64, weights: Float64, cross: float, square: float) -> float:
    """Minimise sum_i s_i max(0, 1 - m_i - t c_i)^2 + cross t + square / 2 t^2 over t >= 0, exactly."""
    short = 1 - margins
    moving = changes != 0
    leaves = np.divide(short, changes, out=np.full(len(short), np.inf), where=moving)
    counts_now = (short > 0) | ((short == 0) & (changes < 0))
    # The slope is sum over rows that count of -2 s c (1 - m - t c), plus cross + square t: as a + b t between events.
    a_of, b_of = -2 * weights * changes * short, 2 * weights * changes**2
    a, b = cross + float(a_of[counts_now].sum()), square + float(b_of[counts_now].sum())
    events = np.flatnonzero(moving & (leaves > 0))
    order = events[np.argsort(leaves[events])]
    sign = np.where(changes[order] > 0, -1.0, 1.0)  # rows leave where their margin grows, and enter where it falls
    a_after = np.append(a, a + np.cumsum(sign * a_of[order]))
    b_after = np.append(b, b + np.cumsum(sign * b_of[order]))
    ends = np.append(leaves[order], np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = a_after + b_after * ends
    first = int(np.argmax(~(slope < 0)))
    return float(-a_after[first] / b_after[first]) if b_after[first] > 0 else float(ends[first - 1]) if first else 0.0


def _solved(matrix: Float64, right: Float64) -> Float64:
    linalg = cast(Any, scipy.linalg)
    factor: tuple[NDArray[np.float64], bool] = linalg.cho_factor(
        matrix, lower=True, overwrite_a=True, check_finite=False
    )
    return cast(Float64, linalg.cho_solve(factor, right, check_finite=False))
