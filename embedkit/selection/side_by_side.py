"""Several layers side by side: each normalised by itself, with a ridge penalty of its own.

Layer: selection; above held_out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedkit.selection.held_out import REPEATS, class_weights, fitted_weights, folds_of, standardising
from embedkit.selection.rows import Classes, Floats

_EMPHASES = (0.1, 10.0)
"""Tried for each block in turn, as multiples of what it has: a penalty of its own is the inverse of its emphasis."""


def held_out_blocks(
    blocks: Sequence[npt.ArrayLike], classes: Classes, groups: Classes, *, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Return what `held_out_rows` does for a ridge regression on several blocks of columns.

    In each half, blocks are standardised and brought to one mean squared length; then each gets an emphasis, and all
    together a penalty, by the squared error of rows left out one by one.

    Parameters
    ----------
    blocks : sequence of array-like of shape (n, d)
    classes, groups : ndarray of shape (n,)
    seed : int

    Returns
    -------
    ndarray of shape (n,)
    """
    values = [np.asarray(block, np.float64) for block in blocks]
    named = np.zeros((REPEATS, len(classes)), bool)
    for number in range(REPEATS):
        folds = folds_of(classes, groups, seed=seed + number)
        for fold in (0, 1):
            test = folds == fold
            known, numbers = np.unique(classes[~test], return_inverse=True)
            if len(known) > 1 and test.any():
                said = _predict([X[~test] for X in values], numbers.astype(np.intp), [X[test] for X in values])
                named[number, test] = known[said] == classes[test]
    return named.mean(axis=0)


def _predict(train: list[Floats], classes: Classes, test: list[Floats]) -> Classes:
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
    return (_joined(others, emphases) @ coefficients).argmax(axis=1)


def _fitted(rows: list[Floats], emphases: list[float], targets: Floats, weights: Floats) -> tuple[Floats, float]:
    return fitted_weights(_joined(rows, emphases), targets, weights)


def _joined(blocks: list[Floats], emphases: list[float]) -> Floats:
    return np.concatenate([np.sqrt(emphasis) * X for X, emphasis in zip(blocks, emphases, strict=True)], axis=1)
