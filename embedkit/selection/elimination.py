"""Who cannot be the best any more, and what choosing the leader now is expected to cost.

Layer: selection. NumPy and SciPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from embedkit.selection.rows import Floats

ALPHA = 0.05
"""Chance that the best candidate is dropped anywhere in a selection, at most."""

_DRAWS = 2000


class Gap(NamedTuple):
    """A candidate beside another on the same rows.

    Attributes
    ----------
    mean : float
        Accuracy of the first less that of the second, a fraction.
    low, high : float
        Ends of its interval.
    """

    mean: float
    low: float
    high: float


def gap_of(right: Floats, other: Floats, *, level: float) -> Gap:
    """Return the difference of two accuracies on the same rows, with the interval that excludes `level` at each end.

    Two pseudo-rows, one of which each of them alone gets half right, keep the interval honest where few rows or none
    tell them apart.

    Parameters
    ----------
    right, other : ndarray of shape (n,)
        1 where a row is named right, else 0; or the share of repetitions in which it was.
    level : float
        One-sided.

    References
    ----------
    A. Agresti, Y. Min, Simple improved confidence intervals for comparing matched proportions, Statistics in Medicine
    24, 2005.
    """
    import scipy.special

    differences = right - other
    rows = len(differences) + 2
    mean = float(differences.sum()) / rows
    variance = (float(np.square(differences).sum()) + 1) / rows - mean * mean
    margin = float(cast(Any, scipy.special).ndtri(1 - level)) * float(np.sqrt(variance / rows))
    return Gap(float(differences.mean()), mean - margin, mean + margin)


def beaten(right: Floats, leader: int, *, tolerance: float, tests: int, alpha: float = ALPHA) -> list[tuple[bool, Gap]]:
    """Say which candidates cannot be better than the leader by more than the tolerance.

    The best of m candidates is dropped wrongly only if one of its m - 1 intervals misses in one of the rounds: each
    excludes ``alpha / tests`` at its end, with ``tests`` their number (Bonferroni).

    Parameters
    ----------
    right : ndarray of shape (m, n)
        As in `gap_of`, a row a candidate.
    leader : int
    tolerance : float
        A fraction, such as 0.01 for one point.
    tests : int
        (m - 1) times the rounds that there may be.
    alpha : float

    Returns
    -------
    list of (bool, Gap)
        Of each candidate: whether it is beaten, and how far it is from the leader.
    """
    gaps = [gap_of(one, right[leader], level=alpha / max(tests, 1)) for one in right]
    return [(place != leader and gap.high <= tolerance, gap) for place, gap in enumerate(gaps)]


def expected_regret(
    right: Floats, families: Sequence[str], groups: npt.NDArray[np.intp], *, seed: int = 0
) -> dict[str, float]:
    """Return by how much each family is expected to be behind the best, as far as these rows tell.

    A family's value is that of its best member: which one that is can be said later, at no cost. Rows are weighted at
    random, as draws from what the accuracies may be; the mean over draws of how far a family is behind the best of all
    is its expected regret.

    Parameters
    ----------
    right : ndarray of shape (m, n)
    families : sequence of str
        Of each candidate.
    groups : ndarray of shape (n,)
        Rows of one number share their weight.
    seed : int

    Returns
    -------
    dict of str to float
        A fraction, of each family.

    References
    ----------
    D. B. Rubin, The Bayesian bootstrap, Annals of Statistics 9, 1981; S. E. Chick, K. Inoue, New two-stage and
    sequential procedures for selecting the best simulated system, Operations Research 49, 2001 (opportunity cost).
    """
    rng = np.random.default_rng(seed)
    _, codes = np.unique(groups, return_inverse=True)
    weights = rng.standard_exponential((_DRAWS, int(codes.max()) + 1))[:, codes]
    weights /= weights.sum(axis=1, keepdims=True)
    values = weights @ right.T
    named = list(dict.fromkeys(families))
    best = np.stack([values[:, [one == name for one in families]].max(axis=1) for name in named])
    behind = best.max(axis=0) - best
    return {name: float(regret) for name, regret in zip(named, behind.mean(axis=1), strict=True)}
