"""What scores would have chosen: each judged by the ranking that probes give, in points of accuracy.

Layer: selection; above the scores.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.selection.label_scores import leep, n_leep, nce
from embedkit.selection.leave_one_out import knn_accuracy, ridge_accuracy
from embedkit.selection.transferability import gbc, h_score, log_me, parc, shrinkage_h_score, transrate


def _nce(probabilities: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    return nce(probabilities.argmax(axis=1), y)


SCORES: dict[str, Callable[..., float]] = {
    "log_me": log_me,
    "h_score": h_score,
    "shrinkage_h_score": shrinkage_h_score,
    "n_leep": n_leep,
    "transrate": transrate,
    "gbc": gbc,
    "parc": parc,
    "knn_accuracy": knn_accuracy,
    "ridge_accuracy": ridge_accuracy,
}
"""Those that need features and labels alone; LEEP and NCE need what the network says of its own classes."""

_OF_OWN_CLASSES: dict[str, Callable[..., float]] = {"leep": leep, "nce": _nce}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well numbers rank candidates.

    Attributes
    ----------
    tau : float or None
        Weighted Kendall's tau, -1 to 1: exchanges among the best weigh most. None with fewer than two candidates, or
        where all numbers are equal.
    regret : float
        How far the candidate with the greatest number is behind the best, in accuracy; of several that share the
        number the mean.
    top3 : bool
        Whether the best, or one of several that are equally good, is among the three greatest numbers.
    """

    tau: float | None
    regret: float
    top3: bool


def agreement_with(numbers: Mapping[str, float], truth: Mapping[str, float]) -> Agreement:
    """Judge numbers by what is true of the same candidates.

    Parameters
    ----------
    numbers : mapping of str to float
        Larger claims to be better; candidates without a number are left out.
    truth : mapping of str to float
        Accuracy of each candidate.

    References
    ----------
    S. Vigna, A weighted correlation index for rankings with ties, WWW 2015.
    """
    import scipy.stats

    names = [name for name in truth if name in numbers]
    claimed = np.array([numbers[name] for name in names], np.float64)
    true = np.array([truth[name] for name in names], np.float64)
    varies = len(names) > 1 and np.ptp(claimed) > 0 and np.ptp(true) > 0
    tau = float(cast(Any, scipy.stats).weightedtau(true, claimed, rank=None).statistic) if varies else None
    best = int(np.argmax(true))
    picked = true[claimed == claimed.max()]
    return Agreement(
        tau=tau if tau is None or np.isfinite(tau) else None,
        regret=float(true[best] - picked.mean()),
        top3=bool((claimed > claimed[true == true[best]].max()).sum() < 3),
    )


def score_all(
    features: Mapping[str, npt.NDArray[Any]],
    y: npt.NDArray[Any],
    own_classes: Mapping[str, npt.NDArray[Any]] | None = None,
) -> dict[str, tuple[dict[str, float], float]]:
    """Compute every score of every candidate.

    Parameters
    ----------
    features : mapping of str to ndarray of shape (n, d)
        Of each candidate, on the same rows.
    y : ndarray of shape (n,)
    own_classes : mapping of str to ndarray of shape (n, k), optional
        Of the candidates that have a classifier of their own, its probabilities: LEEP and NCE are of them alone.

    Returns
    -------
    dict of str to (dict of str to float, float)
        Each score's values by candidate, without those that are not finite, and the seconds they took.
    """
    found = {name: _scored(score, features, y) for name, score in SCORES.items()}
    if own_classes:
        found |= {name: _scored(score, own_classes, y) for name, score in _OF_OWN_CLASSES.items()}
    return found


def _scored(
    score: Callable[..., float], given: Mapping[str, npt.NDArray[Any]], y: npt.NDArray[Any]
) -> tuple[dict[str, float], float]:
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mixture that does not settle in few rows is a score like any other
        values = {candidate: float(score(X, y)) for candidate, X in given.items()}
    finite = {candidate: value for candidate, value in values.items() if np.isfinite(value)}
    return finite, time.monotonic() - started
