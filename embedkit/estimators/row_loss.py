"""A loss on rows of features: everything in a fit that touches all rows, for NumPy and torch.

It is the weighted mean of what a `Loss` says of the scores z = T W' + b of each row. Parameters travel as one array
(k, r + 1), the intercepts in the last column.

Layer: imports NumPy, and estimators.arrays, .eigenrows, .losses and .row_arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from embedkit.estimators.arrays import Float64, Floats, Indices
from embedkit.estimators.eigenrows import EigenRows
from embedkit.estimators.losses import Loss
from embedkit.estimators.row_arrays import RowArrays


class Evaluation(NamedTuple):
    """The loss at one point.

    Attributes
    ----------
    loss : float
        Weighted mean of the rows' losses.
    gradient : ndarray of shape (k, r + 1), float64
    curvature : ndarray of shape (k, k), float64, or None
        Weighted mean over the rows of the loss's second derivatives with respect to the scores.
    """

    loss: float
    gradient: Float64
    curvature: Float64 | None


@dataclass
class _Span:
    """Consecutive rows and what is known of them. Scores are (k, n): sums over classes then run along memory."""

    rows: slice
    at_target: tuple[Any, Any]
    """Class numbers and positions, which index the scores."""
    weights: Float64
    """In NumPy."""
    working_weights: Any
    scores: Any
    change: Any


class _Part(NamedTuple):
    """Sums over a span of rows."""

    loss: float
    gradient: Floats
    intercepts: Float64
    curved: Float64 | None


class RowLoss:
    """A loss on rows.

    Parameters
    ----------
    loss : Loss
    arrays : RowArrays
        Where the rows are.
    features : EigenRows
        Their coordinates.
    targets : ndarray of shape (n_samples,), intp
        Class numbers 0..k-1; for one output 0 or 1.
    weights : ndarray of shape (n_samples,), float64, summing to 1
    n_outputs : int
        Number of classes, or 1 for two.

    Attributes
    ----------
    loss : Loss
    """

    def __init__(
        self, loss: Loss, arrays: RowArrays, features: EigenRows, targets: Indices, weights: Float64, n_outputs: int
    ) -> None:
        self.loss = loss
        self.shape = (n_outputs, len(features.eigenvalues) + 1)
        self._arrays = arrays
        self._features = features
        self._targets = targets
        self._weights = weights
        self._allocate()

    def promote(self) -> bool:
        """Turn to float64, without scores until the next `start`; False if that is the case already."""
        is_new = self._arrays.promote()
        if is_new:
            self._allocate()
        return is_new

    def start(self, parameters: Float64) -> None:
        """Compute the scores of `parameters`, where lines start from now on."""
        self.aim(parameters)
        for span in self._spans:
            span.scores[...] = span.change
            span.change[...] = 0

    def aim(self, direction: Float64) -> None:
        """Compute the change of the scores along `direction`."""
        # Of all ways to write this product, rows times a contiguous (r, k) is the fastest in BLAS, by 1.2 to 2 times.
        coefficients = self._arrays.working(np.ascontiguousarray(self._features.raised(direction[:, :-1]).T))
        intercepts = self._arrays.working(direction[:, -1:])

        def multiply(span: _Span) -> None:
            product = self._arrays.block(span.rows) @ coefficients
            self._arrays.xp.add(product.T, intercepts, out=span.change)

        for _ in self._arrays.each(multiply, self._spans):
            pass

    def advance(self, step: float) -> None:
        """Move the start of the line to start + step * direction."""
        for span in self._spans:
            span.scores += span.change * step

    def evaluate(self, step: float, *, curvature: bool = False) -> Evaluation:
        """Evaluate the loss at start + step * direction."""
        n_outputs, _ = self.shape
        loss, intercepts = 0.0, np.zeros(n_outputs)
        gradient = np.zeros((n_outputs, self._features.raised_width))
        curved = np.zeros((n_outputs, n_outputs))
        for part in self._arrays.each(lambda span: self._evaluate_span(span, step, curvature), self._spans):
            loss += part.loss
            gradient += part.gradient
            intercepts += part.intercepts
            if part.curved is not None:
                curved += part.curved
        lowered = self._features.lowered(gradient)
        completed = self.loss.completed(curved) if curvature else None
        return Evaluation(loss, np.column_stack([lowered, intercepts]), completed)

    def _allocate(self) -> None:
        arrays, n_outputs = self._arrays, self.shape[0]
        self._spans = [
            _Span(
                rows=rows,
                at_target=(
                    arrays.integers(self._targets[rows]),
                    arrays.integers(np.arange(rows.stop - rows.start, dtype=np.intp)),
                ),
                weights=self._weights[rows],
                working_weights=arrays.working(self._weights[rows]),
                scores=arrays.zeros((n_outputs, rows.stop - rows.start)),
                change=arrays.zeros((n_outputs, rows.stop - rows.start)),
            )
            for rows in arrays.spans
        ]

    def _evaluate_span(self, span: _Span, step: float, curvature: bool) -> _Part:
        xp, to_numpy = self._arrays.xp, self._arrays.float64
        scores = span.scores + span.change * step
        losses, residuals, curved = self.loss.terms(xp, scores, span.at_target, span.working_weights, curvature)
        gradient = residuals @ self._arrays.block(span.rows)
        return _Part(
            float(span.weights @ to_numpy(losses)),
            gradient if xp is np else to_numpy(gradient),
            to_numpy(residuals.sum(axis=1, dtype=xp.float64)),
            None if curved is None else to_numpy(curved),
        )
