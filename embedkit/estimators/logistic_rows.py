"""The logistic loss on rows of features: everything in a fit that touches all rows, for NumPy and torch.

The loss is the weighted mean of -log p(y) with p = softmax(z) (several outputs) or p = sigmoid(z) (one output),
z = T W' + b. Parameters travel as one array (k, r + 1), the intercepts in the last column.

Residuals p - y are computed from the differences z_j - z_y, never as 1 - p(y): on separable data the loss falls far
below the precision of 1 - p(y), and at a large C the optimum is made of just these small numbers. That is what makes
float32 features enough.

Layer: imports NumPy, and estimators.arrays, .eigenrows and .row_arrays.
"""

from __future__ import annotations

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
        self._targets = arrays.integers(targets)
        self._root_weights = np.sqrt(weights)
        longest = max(span.stop - span.start for span in arrays.spans)
        self._positions = arrays.integers(np.arange(longest, dtype=np.intp))
        self._allocate()

    def promote(self) -> bool:
        """Turn to float64, without logits until the next `start`; False if that is the case already."""
        is_new = self._arrays.promote()
        if is_new:
            self._allocate()
        return is_new

    def start(self, parameters: Float64) -> None:
        """Compute the logits of `parameters`, where lines start from now on."""
        self._multiply(parameters, self._logits)
        self._change[...] = 0

    def aim(self, direction: Float64) -> None:
        """Compute the change of the logits along `direction`."""
        self._multiply(direction, self._change)

    def advance(self, step: float) -> None:
        """Move the start of the line to start + step * direction."""
        self._logits += self._change * step

    def evaluate(self, step: float, *, curvature: bool = False) -> Evaluation:
        """Evaluate the loss at start + step * direction."""
        n_outputs, _ = self.shape
        loss, intercepts = 0.0, np.zeros(n_outputs)
        gradient = np.zeros((n_outputs, self._features.raised_width))
        curved = np.zeros((n_outputs, n_outputs))
        for part in self._arrays.each(lambda span: self._evaluate_span(span, step, curvature)):
            loss += part.loss
            gradient += part.gradient
            intercepts += part.intercepts
            if part.curved is not None:
                curved += part.curved
        lowered = self._features.lowered(gradient)
        return Evaluation(loss, np.column_stack([lowered, intercepts]), _completed(curved) if curvature else None)

    def _allocate(self) -> None:
        shape = (len(self._root_weights), self.shape[0])
        self._logits, self._change = self._arrays.zeros(shape), self._arrays.zeros(shape)
        self._roots = self._arrays.working(self._root_weights)

    def _multiply(self, parameters: Float64, out: Any) -> None:
        coefficients = self._arrays.working(self._features.raised(parameters[:, :-1])).T
        intercepts = self._arrays.working(parameters[:, -1])

        def multiply_span(span: slice) -> None:
            self._arrays.xp.matmul(self._arrays.block(span), coefficients, out=out[span])
            out[span] += intercepts

        for _ in self._arrays.each(multiply_span):
            pass

    def _evaluate_span(self, span: slice, step: float, curvature: bool) -> _Part:
        logits = self._logits[span] + self._change[span] * step
        targets, roots = self._targets[span], self._roots[span]
        if self.shape[0] == 1:
            losses, residuals, curved = _binomial(self._arrays.xp, logits[:, 0], targets, roots, curvature)
        else:
            at_target = self._positions[: len(logits)], targets
            losses, residuals, curved = _multinomial(self._arrays.xp, logits, at_target, roots, curvature)
        gradient = residuals.T @ self._arrays.block(span)
        to_numpy = self._arrays.float64
        return _Part(
            float(np.square(self._root_weights[span]) @ to_numpy(losses)),
            gradient if self._arrays.xp is np else to_numpy(gradient),
            to_numpy(residuals.sum(axis=0, dtype=self._arrays.xp.float64)),
            None if curved is None else to_numpy(curved),
        )


class _Part(NamedTuple):
    """Sums over a span of rows."""

    loss: float
    gradient: Floats
    intercepts: Float64
    curved: Float64 | None


def _multinomial(xp: Any, logits: Any, at_target: tuple[Any, Any], roots: Any, curvature: bool) -> tuple[Any, Any, Any]:
    """Losses (n,), weighted residuals (n, k) and, off the diagonal, -sum of p_j p_k (k, k); logits are overwritten.

    `at_target` are the positions of the rows and their classes, `roots` the square roots of their weights, (n,).
    """
    logits -= logits[at_target][:, None]
    largest = xp.amax(logits, axis=1)
    logits -= largest[:, None]
    exponentials = xp.exp(xp.clip(logits, SMALLEST_EXPONENT, None, out=logits), out=logits)
    own = exponentials[at_target]
    exponentials[at_target] = 0
    others = exponentials.sum(axis=1)
    total = own + others
    # largest >= 0, because the target's own difference is 0; where it is 0 the target leads and own is 1.
    losses = xp.where(largest == 0, xp.log1p(others), xp.log(total) + largest)
    exponentials *= (roots / total)[:, None]
    curved = None
    if curvature:
        exponentials[at_target] = roots * own / total
        curved = -(exponentials.T @ exponentials)
    exponentials[at_target] = -roots * others / total
    exponentials *= roots[:, None]
    return losses, exponentials, curved


def _binomial(xp: Any, logits: Any, targets: Any, roots: Any, curvature: bool) -> tuple[Any, Any, Any]:
    """Losses (n,), weighted residuals (n, 1) and the sum of p (1 - p) (1, 1), from logits (n,) of class 1."""
    is_one = targets == 1
    against = xp.where(is_one, -logits, logits)
    # log(1 + exp(a)) and its derivative, without overflow and exact where they are small.
    decay = xp.exp(-xp.abs(against))
    losses = xp.clip(against, 0, None) + xp.log1p(decay)
    wrong = roots * roots * xp.where(against > 0, 1 / (1 + decay), decay / (1 + decay))
    residuals = xp.where(is_one, -wrong, wrong)[:, None]
    curved = None
    if curvature:
        slopes = roots * xp.sqrt(decay) / (1 + decay)
        curved = (slopes @ slopes).reshape(1, 1)
    return losses, residuals, curved


def _completed(curved: Float64) -> Float64:
    """Fill in the diagonal of mean(diag(p) - p p'): its rows sum to zero. Exact also where p is nearly one-hot."""
    if len(curved) == 1:
        return curved
    np.fill_diagonal(curved, 0.0)
    np.fill_diagonal(curved, -curved.sum(axis=1))
    return curved
