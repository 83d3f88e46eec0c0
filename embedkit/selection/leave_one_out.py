"""Two probes that cost as little as a score: every row is tested by all the others.

Layer: selection; above rows and the estimators. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.estimators import NearestRows
from embedkit.selection.rows import checked

Labels = Sequence[Any] | npt.NDArray[Any]

PENALTIES = tuple(float(value) for value in np.logspace(-6, 2, 9))
"""Ridge penalties, as multiples of the mean eigenvalue of the scatter; the best by leave-one-out is taken."""


def knn_accuracy(X: npt.ArrayLike, y: Labels, *, k: int = 5) -> float:
    """Share of rows whose k nearest other rows, by cosine, vote for their class.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
    k : int
        Neighbours, at least 1; fewer where there are no more rows. Ties go to the class of the nearest of the tied.

    Returns
    -------
    float
        0 to 1, larger is better.
    """
    values, classes = checked(X, y)
    number = min(k, len(values) - 1)
    rows = np.ascontiguousarray(values, np.float32)
    _, found = NearestRows(rows, "cosine").search(rows, number + 1)
    own = found == np.arange(len(rows))[:, None]
    own[~own.any(axis=1), -1] = True  # more copies than neighbours: then the last one gives way
    others = classes[found[~own].reshape(len(rows), number)]
    votes = (others[:, :, None] == others[:, None, :]).sum(axis=2)
    # Of equal votes the nearest: argmax takes the first.
    named = others[np.arange(len(rows)), votes.argmax(axis=1)]
    return float((named == classes).mean())


def ridge_accuracy(X: npt.ArrayLike, y: Labels, *, penalties: Sequence[float] = PENALTIES) -> float:
    """Share of rows that ridge regression on the classes, fitted on all other rows, names right; exact, from one fit.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
    penalties : sequence of float
        Multiples of the mean eigenvalue of the scatter; the best one's accuracy is returned.

    Returns
    -------
    float
        0 to 1, larger is better. The penalty is chosen on the same rows, so that it flatters a little.
    """
    values, classes = checked(X, y)
    centred = values - values.mean(axis=0)
    targets = np.eye(int(classes.max()) + 1)[classes]
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    sigma = np.square(singular)
    projected = left.T @ (targets - targets.mean(axis=0))
    best = 0.0
    for penalty in penalties:
        shrink = sigma / (sigma + penalty * max(float(sigma.mean()), 1e-300))
        fitted = targets.mean(axis=0) + left @ (shrink[:, None] * projected)
        leverage = 1 / len(values) + np.square(left) @ shrink
        left_out = targets - (targets - fitted) / np.maximum(1 - leverage, 1e-12)[:, None]
        best = max(best, float((left_out.argmax(axis=1) == classes).mean()))
    return best
