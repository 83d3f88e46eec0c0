"""The logistic loss on rows of features: everything in a fit that touches all rows, in NumPy.

The loss is the weighted mean of -log p(y) with p = softmax(z) (several outputs) or p = sigmoid(z) (one output),
z = T W' + b. Parameters travel as one array (k, r + 1), the intercepts in the last column.

Residuals p - y are computed from the differences z_j - z_y, never as 1 - p(y): on separable data the loss falls far
below the precision of 1 - p(y), and at a large C the optimum is made of just these small numbers. That is what makes
float32 features enough.

Layer: imports NumPy, SciPy, estimators.arrays and estimators.eigenrows.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from scipy.special import expit

from embedkit.estimators.arrays import Float64, Floats, Indices, MapFunction, row_spans
from embedkit.estimators.eigenrows import EigenRows

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


class LossOnRows(Protocol):
    """What the solver needs of the rows; NumPy's and torch's implementations share one set of tests."""

    shape: tuple[int, int]

    def start(self, parameters: Float64) -> None:
        """Compute the logits of `parameters`, where lines start from now on."""
        ...

    def aim(self, direction: Float64) -> None:
        """Compute the change of the logits along `direction`."""
        ...

    def evaluate(self, step: float, *, curvature: bool = False) -> Evaluation:
        """Evaluate the loss at start + step * direction."""
        ...

    def advance(self, step: float) -> None:
        """Move the start of the line to start + step * direction."""
        ...

    def promote(self) -> bool:
        """Turn to float64, without logits until the next `start`; False if that is the case already."""
        ...


class NumpyLoss:
    """The logistic loss on rows held by NumPy.

    Parameters
    ----------
    features : EigenRows
    targets : ndarray of shape (n_samples,), intp
        Class numbers 0..k-1; for one output 0 or 1.
    weights : ndarray of shape (n_samples,), float64, summing to 1
    n_outputs : int
        Number of classes, or 1 for the binary loss.
    threads : MapFunction
        Computes spans of rows side by side.
    """

    def __init__(
        self, features: EigenRows, targets: Indices, weights: Float64, n_outputs: int, threads: MapFunction
    ) -> None:
        self.shape = (n_outputs, len(features.eigenvalues) + 1)
        self._features = features
        self._targets = targets
        self._weights = weights
        self._threads = threads
        self._spans = row_spans(len(targets))
        self._allocate(features.rows.dtype)

    def _allocate(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._logits: Floats = np.zeros((len(self._targets), self.shape[0]), dtype)
        self._change: Floats = np.zeros_like(self._logits)

    def promote(self) -> bool:
        """See LossOnRows."""
        if self._dtype == np.float64:
            return False
        self._allocate(np.dtype(np.float64))
        return True

    def start(self, parameters: Float64) -> None:
        """See LossOnRows."""
        self._multiply(parameters, self._logits)
        self._change[...] = 0

    def aim(self, direction: Float64) -> None:
        """See LossOnRows."""
        self._multiply(direction, self._change)

    def advance(self, step: float) -> None:
        """See LossOnRows."""
        self._logits += self._dtype.type(step) * self._change

    def evaluate(self, step: float, *, curvature: bool = False) -> Evaluation:
        """See LossOnRows."""
        n_outputs, width = self.shape
        loss = 0.0
        gradient: Float64 | None = None
        intercepts = np.zeros(n_outputs)
        curved = np.zeros((n_outputs, n_outputs)) if curvature else None
        for part in self._threads(lambda span: self._evaluate_span(span, step, curvature), self._spans):
            loss += part[0]
            gradient = part[1].astype(np.float64) if gradient is None else np.add(gradient, part[1], out=gradient)
            intercepts += part[2]
            if curved is not None:
                curved += part[3]
        lowered = self._features.lowered(np.zeros((n_outputs, width - 1)) if gradient is None else gradient)
        return Evaluation(loss, np.column_stack([lowered, intercepts]), None if curved is None else _completed(curved))

    def _multiply(self, parameters: Float64, out: Floats) -> None:
        coefficients = self._features.raised(parameters[:, :-1]).astype(self._dtype).T
        intercepts = parameters[:, -1].astype(self._dtype)

        def multiply_span(span: slice) -> None:
            block = self._features.block(span, self._dtype)
            np.matmul(block, coefficients, out=out[span])
            out[span] += intercepts

        for _ in self._threads(multiply_span, self._spans):
            pass

    def _evaluate_span(self, span: slice, step: float, curvature: bool) -> tuple[float, Floats, Float64, Floats]:
        logits = self._logits[span] + self._dtype.type(step) * self._change[span]
        targets, weights = self._targets[span], self._weights[span]
        terms = _binomial if logits.shape[1] == 1 else _multinomial
        losses, residuals, curved = terms(logits, targets, weights, curvature)
        gradient = residuals.T @ self._features.block(span, self._dtype)
        return float(weights @ losses), gradient, residuals.sum(axis=0, dtype=np.float64), curved


def _multinomial(logits: Floats, targets: Indices, weights: Float64, curvature: bool) -> tuple[Floats, Floats, Floats]:
    """Losses (n,), weighted residuals (n, k) and, off the diagonal, -sum of p_j p_k (k, k); logits are overwritten."""
    at_target = np.arange(len(logits)), targets
    logits -= logits[at_target][:, None]
    largest = logits.max(axis=1)
    logits -= largest[:, None]
    exponentials = np.exp(np.maximum(logits, SMALLEST_EXPONENT, out=logits), out=logits)
    own = exponentials[at_target]
    exponentials[at_target] = 0
    others = exponentials.sum(axis=1)
    total = own + others
    # largest >= 0, because the target's own difference is 0; where it is 0 the target leads and own is 1.
    losses = cast(Floats, np.where(largest == 0, np.log1p(others), np.log(total) + largest))
    root = np.sqrt(weights).astype(logits.dtype)
    exponentials *= (root / total)[:, None]
    if curvature:
        exponentials[at_target] = root * own / total
        curved: Floats = -(exponentials.T @ exponentials)
    else:
        curved = np.empty((0, 0), logits.dtype)
    exponentials[at_target] = -root * others / total
    exponentials *= root[:, None]
    return losses, exponentials, curved


def _binomial(logits: Floats, targets: Indices, weights: Float64, curvature: bool) -> tuple[Floats, Floats, Floats]:
    """Losses (n,), weighted residuals (n, 1) and the sum of p (1 - p) (1, 1), from logits (n, 1) of class 1."""
    sign = (2 * targets - 1).astype(logits.dtype)
    against = -sign * logits[:, 0]
    residuals = (-sign * weights.astype(logits.dtype) * expit(against))[:, None]
    curved = (weights @ (expit(against) * expit(-against))).reshape(1, 1) if curvature else np.empty((0, 0))
    return np.logaddexp(0, against), residuals, curved


def _completed(curved: Float64) -> Float64:
    """Fill in the diagonal of mean(diag(p) - p p'): its rows sum to zero. Exact also where p is nearly one-hot."""
    if len(curved) == 1:
        return curved
    np.fill_diagonal(curved, 0.0)
    np.fill_diagonal(curved, -curved.sum(axis=1))
    return curved
