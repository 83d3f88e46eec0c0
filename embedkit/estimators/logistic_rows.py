"""The logistic loss on rows of features: everything in a fit that touches all rows, for NumPy and torch.

The loss is the weighted mean of -log p(y) with p = softmax(z) (several outputs) or p = sigmoid(z) (one output),
z = T W' + b. Parameters travel as one array (k, r + 1), the intercepts in the last column.

Residuals p - y are sums of what the other classes have, never 1 - p(y): on separable data the loss falls far below the
precision of 1 - p(y), and at a large C the optimum is made of just these small numbers. That is what makes float32
features enough.

Layer: imports NumPy, and estimators.arrays, .eigenrows and .row_arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from embedkit.estimators.arrays import Float64, Floats, Indices
from embedkit.estimators.eigenrows import EigenRows
from embedkit.estimators.row_arrays import RowArrays

SMALLEST_EXPONENT = -70.0
"""exp(-70) = 4e-31: below it, float32 turns subnormal, which is slow and changes nothing."""


class Evaluation(NamedTuple):
    """The loss at one point.

    Attributes
    ----------
    loss : float
        Weighted mean of the rows' losses.
    gradient : ndarray of shape (k, r + 1), float64
    curvature : ndarray of shape (k, k), float64, or None
        Weighted mean of diag(p) - p p' over the rows.
    """

    loss: float
    gradient: Float64
    curvature: Float64 | None


@dataclass
class _Span:
    """Consecutive rows and what is known of them. Logits are (k, n): sums over classes then run along memory."""

    rows: slice
    at_target: tuple[Any, Any]
    """Class numbers and positions, which index the logits."""
    weights: Float64
    """In NumPy."""
    working_weights: Any
    logits: Any
    change: Any


class _Part(NamedTuple):
    """Sums over a span of rows."""

    loss: float
    gradient: Floats
    intercepts: Float64
    curved: Float64 | None


class RowLoss:
    """The logistic loss on rows.

    Parameters
    ----------
    arrays : RowArrays
        Where the rows are.
    features : EigenRows
        Their coordinates.
    targets : ndarray of shape (n_samples,), intp
        Class numbers 0..k-1; for one output 0 or 1.
    weights : ndarray of shape (n_samples,), float64, summing to 1
    n_outputs : int
        Number of classes, or 1 for the binary loss.
    """

    def __init__(
        self, arrays: RowArrays, features: EigenRows, targets: Indices, weights: Float64, n_outputs: int
    ) -> None:
        self.shape = (n_outputs, len(features.eigenvalues) + 1)
        self._arrays = arrays
        self._features = features
        self._targets = targets
        self._weights = weights
        self._allocate()

    def promote(self) -> bool:
        """Turn to float64, without logits until the next `start`; False if that is the case already."""
        is_new = self._arrays.promote()
        if is_new:
            self._allocate()
        return is_new

    def start(self, parameters: Float64) -> None:
        """Compute the logits of `parameters`, where lines start from now on."""
        self.aim(parameters)
        for span in self._spans:
            span.logits[...] = span.change
            span.change[...] = 0

    def aim(self, direction: Float64) -> None:
        """Compute the change of the logits along `direction`."""
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
            span.logits += span.change * step

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
        return Evaluation(loss, np.column_stack([lowered, intercepts]), _completed(curved) if curvature else None)

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
                logits=arrays.zeros((n_outputs, rows.stop - rows.start)),
                change=arrays.zeros((n_outputs, rows.stop - rows.start)),
            )
            for rows in arrays.spans
        ]

    def _evaluate_span(self, span: _Span, step: float, curvature: bool) -> _Part:
        xp, to_numpy = self._arrays.xp, self._arrays.float64
        terms = _binomial if self.shape[0] == 1 else _multinomial
        logits = span.logits + span.change * step
        losses, residuals, curved = terms(xp, logits, span.at_target, span.working_weights, curvature)
        gradient = residuals @ self._arrays.block(span.rows)
        return _Part(
            float(span.weights @ to_numpy(losses)),
            gradient if xp is np else to_numpy(gradient),
            to_numpy(residuals.sum(axis=1, dtype=xp.float64)),
            None if curved is None else to_numpy(curved),
        )


def _multinomial(
    xp: Any, logits: Any, at_target: tuple[Any, Any], weights: Any, curvature: bool
) -> tuple[Any, Any, Any]:
    """Losses (n,), weighted residuals (k, n) and, off the diagonal, -sum of p_j p_k (k, k); logits are overwritten."""
    largest = xp.amax(logits, axis=0)
    behind = largest - logits[at_target]
    logits -= largest
    exponentials = xp.exp(xp.clip(logits, SMALLEST_EXPONENT, None, out=logits), out=logits)
    own = exponentials[at_target]
    exponentials[at_target] = 0
    others = exponentials.sum(axis=0)
    total = own + others
    # Where the target leads, own is 1 and what the others have is all that counts, however little it is.
    losses = xp.where(behind == 0, xp.log1p(others), xp.log(total) + behind)
    curved = None
    if curvature:
        probabilities = exponentials * (xp.sqrt(weights) / total)
        probabilities[at_target] = xp.sqrt(weights) * own / total
        curved = -(probabilities @ probabilities.T)
    exponentials *= weights / total
    exponentials[at_target] = -weights * others / total
    return losses, exponentials, curved


def _binomial(xp: Any, logits: Any, at_target: tuple[Any, Any], weights: Any, curvature: bool) -> tuple[Any, Any, Any]:
    """Losses (n,), weighted residuals (1, n) and the sum of p (1 - p) (1, 1), from logits (1, n) of class 1."""
    is_one = at_target[0] == 1
    against = xp.where(is_one, -logits[0], logits[0])
    # log(1 + exp(a)) and its derivative, without overflow and exact where they are small.
    decay = xp.exp(-xp.abs(against))
    losses = xp.clip(against, 0, None) + xp.log1p(decay)
    wrong = weights * xp.where(against > 0, 1 / (1 + decay), decay / (1 + decay))
    residuals = xp.where(is_one, -wrong, wrong)[None]
    curved = None
    if curvature:
        curved = (weights @ (decay / xp.square(1 + decay))).reshape(1, 1)
    return losses, residuals, curved


def _completed(curved: Float64) -> Float64:
    """Fill in the diagonal of mean(diag(p) - p p'): its rows sum to zero. Exact also where p is nearly one-hot."""
    if len(curved) == 1:
        return curved
    np.fill_diagonal(curved, 0.0)
    np.fill_diagonal(curved, -curved.sum(axis=1))
    return curved
