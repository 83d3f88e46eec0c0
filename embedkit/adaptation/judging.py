"""What the validation rows say of a tuning: by log-loss, in which each row says how much it gained or lost.

Of a few hundred rows tuning changes the class of a handful, and where these rows resemble those that were trained on it
changes hardly any; the log-loss of all rows orders what is tried long before. It is taken after a temperature that
is fitted on the same rows (Guo et al. 2017, arXiv:1706.04599), so that neither label smoothing, which makes too
little of its chances, nor long training, which makes too much of them, counts for or against.

Layer: adaptation. Imports evaluation and SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import mcnemar_test, paired_permutation_test

_SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was tried, and what the validation rows say of it at the best share of tuned weights.

    Attributes
    ----------
    depth : int
        How many of the last blocks were tuned.
    rate, weight_decay : float
    epochs : int
        Of the schedule.
    alpha : float
        Share of the tuned weights.
    stopped_at : int
        The epoch that was best, where the validation rows stopped training early; else 0.
    accuracy, loss : float
        The loss is the mean of -log p, after temperature.
    right, losses : ndarray (n_compared,)
        Of each row whether it is named right, and its loss.
    """

    depth: int
    rate: float
    weight_decay: float
    epochs: int
    alpha: float
    accuracy: float
    loss: float
    right: npt.NDArray[np.bool_] = field(compare=False, repr=False)
    losses: npt.NDArray[np.float64] = field(compare=False, repr=False)
    stopped_at: int = 0


def judged(
    logits: npt.NDArray[np.float32],
    y: npt.NDArray[np.intp],
    *,
    depth: int = 0,
    rate: float = 0.0,
    weight_decay: float = 0.0,
    epochs: int = 0,
    alpha: float = 0.0,
    stopped_at: int = 0,
) -> Trial:
    """Say of the logits of the validation rows how good they are."""
    losses = calibrated_losses(logits, y)
    right = logits.argmax(axis=1) == y
    return Trial(
        depth=depth,
        rate=rate,
        weight_decay=weight_decay,
        epochs=epochs,
        alpha=alpha,
        stopped_at=stopped_at,
        accuracy=float(right.mean()),
        loss=float(losses.mean()),
        right=right,
        losses=losses,
    )


def calibrated_losses(logits: npt.NDArray[np.float32], y: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return -log p of the class of each row, (n,), at the temperature that is best for all of them.

    Parameters
    ----------
    logits : float32 (n, classes)
    y : ndarray of intp, (n,)
    """
    from scipy import optimize as _optimize

    optimize = cast(Any, _optimize)  # not typed throughout
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    own = shifted[np.arange(len(y)), y]

    def losses(log_temperature: float) -> npt.NDArray[np.float64]:
        scale = np.exp(-log_temperature)
        return np.log(np.exp(scale * shifted).sum(axis=1)) - scale * own

    def mean_loss(log_temperature: float) -> float:
        return float(losses(log_temperature).mean())

    return losses(float(optimize.minimize_scalar(mean_loss, bounds=(-3.0, 3.0), method="bounded").x))


def is_better(tried: Trial, than: Trial, comparisons: int = 1) -> bool:
    """Whether the validation rows support one thing over another.

    The losses of the rows have to be less by a paired permutation test, corrected for the number of comparisons
    (Bonferroni), and not significantly fewer of the rows may be named right (McNemar's test).

    Parameters
    ----------
    tried, than : Trial
        On the same rows.
    comparisons : int
        From how many `tried` was chosen.
    """
    if tried.loss >= than.loss:
        return False
    fewer = tried.accuracy < than.accuracy and mcnemar_test(tried.right, than.right).p_value < _SIGNIFICANT
    return not fewer and paired_permutation_test(tried.losses, than.losses).p_value * comparisons < _SIGNIFICANT
