"""What the features of a layer look like: how many directions they use, and how far classes lie apart in them.

Layer: selection; above the scores. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.selection.rows import checked
from embedkit.selection.transferability import shrinkage_h_score


def variance_shares(X: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the share of the variance of each principal component, the largest first; they add up to 1.

    Parameters
    ----------
    X : array-like of shape (n, d)

    Returns
    -------
    ndarray of shape (min(n, d),)
        Zeros where nothing varies.
    """
    values = np.asarray(X, np.float64)
    centred = values - values.mean(axis=0)
    gram = centred @ centred.T if len(centred) <= centred.shape[1] else centred.T @ centred
    variances = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)
    total = float(variances.sum())
    return variances / total if total > 1e-12 * float(np.square(values).sum()) else np.zeros_like(variances)


def effective_rank(shares: npt.NDArray[np.float64]) -> float:
    """Return how many directions the variance is spread over: exp of the entropy of its shares.

    Parameters
    ----------
    shares : ndarray
        Of `variance_shares`.

    Returns
    -------
    float
        1 for a line, d for a sphere of d dimensions; 0 where nothing varies.

    References
    ----------
    O. Roy, M. Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007.
    """
    some = shares[shares > 0]
    return float(np.exp(-(some * np.log(some)).sum())) if len(some) else 0.0


def separability(X: npt.ArrayLike, y: Sequence[Any] | npt.NDArray[Any]) -> float:
    """Return the share of the spread that is between classes, along the directions of linear discriminant analysis.

    `shrinkage_h_score` over the number of these directions, so that it does not grow with the classes.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)

    Returns
    -------
    float
        0 to 1; larger is better.
    """
    values, classes = checked(X, y)
    if not np.ptp(values, axis=0).any():
        return 0.0
    return shrinkage_h_score(values, classes) / min(int(classes.max()), values.shape[1])
