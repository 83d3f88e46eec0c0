"""Several layers side by side: each normalised by itself, with a ridge penalty of its own.

Layer: selection; above held_out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedkit.estimators import block_ridge
from embedkit.selection.held_out import REPEATS, folds_of
from embedkit.selection.rows import Classes


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
                trained = [X[~test] for X in values]
                scores, _ = block_ridge(trained, numbers.astype(np.intp), [X[test] for X in values])
                named[number, test] = known[scores.argmax(axis=1)] == classes[test]
    return named.mean(axis=0)
