"""Ridge regression on classes, in closed form: its penalty by rows left out, one for each block of columns.

Layer: imports NumPy and its own room.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedkit.estimators.arrays import Float64 as Floats
from embedkit.estimators.arrays import Indices

PENALTIES = tuple(float(value) for value in np.logspace(2, -4, 13))
"""Of ridge, as multiples of the mean eigenvalue of the training rows' Gram matrix, the strongest first."""

_EMPHASES = (0.1, 10.0)
"""Tried for each block in turn, as multiples of what it has: a penalty of its own is the inverse of its emphasis."""


def block_ridge(train: Sequence[Floats], classes: Indices, test: Sequence[Floats]) -> tuple[Floats, list[float]]:
    """Fit ridge regression on the classes, of several blocks of columns, each with a penalty of its own.

    Blocks are standardised and brought to one mean squared length; then each gets an emphasis, and all together a
    penalty, by the squared error of rows left out one by one. All classes weigh alike.

    Parameters
    ----------
    train : sequence of float64 (n, d)
        The columns of each block.
    classes : ndarray of intp (n,)
        From 0 to k - 1, each of them at least once.
    test : sequence of float64 (m, d)

    Returns
    -------
    scores : float64 (m, k)
    emphases : list of float
        Of each block: the inverse of its penalty, that of others being 1.
    """
    weights, targets = class_weights(classes)
    rows: list[Floats] = []
    others: list[Floats] = []
    for known, new in zip(train, test, strict=True):
        centre, scale = standardising(known, weights)
        block = (known - centre) / scale * np.sqrt(weights)[:, None]
        length = np.sqrt(max(float(np.square(block).sum()) / len(block), 1e-300))
        rows.append(block / length)
        others.append((new - centre) / scale / length)
    emphases = [1.0] * len(rows)
    coefficients, least = _fitted(rows, emphases, targets, weights)
    for place in range(len(rows)):
        for factor in _EMPHASES:
            tried = [*emphases]
            tried[place] *= factor
            found, error = _fitted(rows, tried, targets, weights)
            if error < least:
                emphases, coefficients, least = tried, found, error
    return _joined(others, emphases) @ coefficients, emphases


def _fitted(rows: list[Floats], emphases: list[float], targets: Floats, weights: Floats) -> tuple[Floats, float]:
    return fitted_weights(_joined(rows, emphases), targets, weights)


def _joined(blocks: list[Floats], emphases: list[float]) -> Floats:
    return np.concatenate([np.sqrt(emphasis) * X for X, emphasis in zip(blocks, emphases, strict=True)], axis=1)


def class_weights(classes: Indices) -> tuple[Floats, Floats]:
    """Return weights of rows that make all classes weigh alike, and the weighted, centred marks of the classes."""
    counts = np.bincount(classes)
    weights = len(classes) / (len(counts) * counts[classes])
    return weights, (np.eye(len(counts))[classes] - 1 / len(counts)) * np.sqrt(weights)[:, None]


def standardising(rows: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the weighted mean and the standard deviation of each column; what does not vary says nothing."""
    scale = rows.std(axis=0)
    scale[scale < 1e-12 * max(float(np.abs(rows).max()), 1e-300)] = np.inf
    return weights @ rows / len(rows), scale


def fitted_weights(rows: Floats, targets: Floats, weights: Floats) -> tuple[Floats, float]:
    """Return ridge coefficients, with the penalty of the least squared error of rows left out one by one; and that.

    Parameters
    ----------
    rows, targets : ndarray of shape (n, d) and (n, k)
        Centred, each row times the root of its weight.
    weights : ndarray of shape (n,)
        They add up to n.
    """
    wide = len(rows) <= rows.shape[1]
    values, vectors = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    values, vectors = values[kept], vectors[:, kept]
    left = vectors if wide else rows @ vectors / np.sqrt(values)
    projected, squared = left.T @ targets, np.square(left)
    unit = float(values.sum()) / len(rows) if len(values) else 1.0
    best, least = PENALTIES[0], np.inf
    for penalty in PENALTIES:
        shrink = values / (values + penalty * unit)
        residual = targets - left @ (shrink[:, None] * projected)
        leverage = weights / len(weights) + squared @ shrink
        error = float(np.square(residual / np.maximum(1 - leverage, 1e-9)[:, None]).sum())
        if error < least:
            best, least = penalty, error
    damped = values + best * unit
    if wide:
        return rows.T @ (left @ (projected / damped[:, None])), least
    return vectors @ ((np.sqrt(values) / damped)[:, None] * projected), least
