"""The losses of linear classifiers, of the scores of some rows, for NumPy and torch.

Logistic: -log p(y) with p = softmax(z) (several outputs) or p = sigmoid(z) (one output). Residuals p - y are sums of
what the other classes have, never 1 - p(y): on separable data the loss falls far below the precision of 1 - p(y), and
at a large C the optimum is made of just these small numbers. That is what makes float32 features enough.

Squared hinge: max(0, 1 - z)^2 of the class of a row plus max(0, 1 + z)^2 of each other one, so that every output is a
machine of its own, one class against the rest; with one output, of the two classes.

Layer: imports NumPy and estimators.arrays.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from embedkit.estimators.arrays import Float64

SMALLEST_EXPONENT = -70.0
"""exp(-70) = 4e-31: below it, float32 turns subnormal, which is slow and changes nothing."""


class Loss(Protocol):
    """A convex loss of scores.

    Attributes
    ----------
    ignores_shifts : bool
        Whether the same number added to all outputs changes nothing.
    """

    ignores_shifts: bool

    def terms(
        self, xp: Any, scores: Any, at_target: tuple[Any, Any], weights: Any, curvature: bool
    ) -> tuple[Any, Any, Any]:
        """Give losses and derivatives of rows.

        Parameters
        ----------
        xp : module
            numpy or torch.
        scores : array of shape (k, n)
            Overwritten.
        at_target : tuple of two arrays of shape (n,)
            Class numbers, and positions 0..n-1: the index of the rows' own scores where there are several outputs.
        weights : array of shape (n,)
        curvature : bool

        Returns
        -------
        losses : array of shape (n,)
            Not weighted.
        residuals : array of shape (k, n)
            Weighted derivatives.
        curved : array of shape (k, k), or None
            Weighted sum of the second derivatives, as far as `completed` does not make it.
        """
        ...

    def completed(self, curved: Float64) -> Float64:
        """Make the sum of all rows' `curved` the curvature."""
        ...

    def intercepts(self, shares: Float64) -> Float64:
        """Give the intercepts that are best without coefficients, from the classes' shares of the weight.

        Of as many outputs as shares, or of one if there are two.
        """
        ...


class Multinomial:
    """The logistic loss of several classes."""

    ignores_shifts = True

    def terms(
        self, xp: Any, scores: Any, at_target: tuple[Any, Any], weights: Any, curvature: bool
    ) -> tuple[Any, Any, Any]:
        """See Loss; curved is -sum of p_j p_k, off the diagonal."""
        largest = xp.amax(scores, axis=0)
        behind = largest - scores[at_target]
        scores -= largest
        exponentials = xp.exp(xp.clip(scores, SMALLEST_EXPONENT, None, out=scores), out=scores)
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

    def completed(self, curved: Float64) -> Float64:
        """Fill in the diagonal of mean(diag(p) - p p'): rows sum to zero. Exact also where p is nearly one-hot."""
        np.fill_diagonal(curved, 0.0)
        np.fill_diagonal(curved, -curved.sum(axis=1))
        return curved

    def intercepts(self, shares: Float64) -> Float64:
        """See Loss: they predict the shares."""
        logits = np.log(shares)
        return logits - logits.mean()


class Binomial:
    """The logistic loss of two classes, from the score of the second."""

    ignores_shifts = False

    def terms(
        self, xp: Any, scores: Any, at_target: tuple[Any, Any], weights: Any, curvature: bool
    ) -> tuple[Any, Any, Any]:
        """See Loss; curved is the sum of p (1 - p)."""
        is_one = at_target[0] == 1
        against = xp.where(is_one, -scores[0], scores[0])
        # log(1 + exp(a)) and its derivative, without overflow and exact where they are small.
        decay = xp.exp(-xp.abs(against))
        losses = xp.clip(against, 0, None) + xp.log1p(decay)
        wrong = weights * xp.where(against > 0, 1 / (1 + decay), decay / (1 + decay))
        residuals = xp.where(is_one, -wrong, wrong)[None]
        curved = None
        if curvature:
            curved = (weights @ (decay / xp.square(1 + decay))).reshape(1, 1)
        return losses, residuals, curved

    def completed(self, curved: Float64) -> Float64:
        """See Loss."""
        return curved

    def intercepts(self, shares: Float64) -> Float64:
        """See Loss: the logit of the second class."""
        return np.log(shares[1:]) - np.log(shares[:1])


class SquaredHinge:
    """The loss of a support vector machine a class, against the rest; of one machine for two classes."""

    ignores_shifts = False

    def terms(
        self, xp: Any, scores: Any, at_target: tuple[Any, Any], weights: Any, curvature: bool
    ) -> tuple[Any, Any, Any]:
        """See Loss; curved is twice the weight of the support vectors of each machine, on the diagonal."""
        if len(scores) == 1:
            at_target = xp.zeros_like(at_target[1][at_target[0] == 1]), at_target[1][at_target[0] == 1]
        short = scores
        own = 1 - scores[at_target]
        short += 1
        short[at_target] = own
        xp.clip(short, 0, None, out=short)
        losses = (short * short).sum(axis=0)
        curved = xp.diag(2 * ((short > 0) * weights).sum(axis=1)) if curvature else None
        short *= 2 * weights
        short[at_target] *= -1
        return losses, short, curved

    def completed(self, curved: Float64) -> Float64:
        """See Loss; a machine without support vectors here meets some on the way, and counts as if it had a few."""
        few = np.where(np.diag(curved) == 0, 0.02, 0.0)
        return curved + np.diag(few)

    def intercepts(self, shares: Float64) -> Float64:
        """See Loss: where the squares of what both sides miss, 1 - b and 1 + b, weigh the same."""
        return 2 * (shares if len(shares) > 2 else shares[1:]) - 1
