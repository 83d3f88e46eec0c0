"""In which order rows are looked at: few are enough to begin with, and more only add to them.

Layer: the bottom of selection. NumPy only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedkit.selection.rows import Classes

FIRST_ROWS = 96
"""Of the first round, at most; or two of each class, where that is fewer classes than rows."""


def row_order(classes: Classes, *, first: int = FIRST_ROWS, seed: int = 0) -> npt.NDArray[np.intp]:
    """Put rows in an order whose beginnings are stratified samples.

    First come two rows of each class, classes in random order, so that a first round of more classes than it has pairs
    of rows sees some of them only; then the others, each class by its share.

    Parameters
    ----------
    classes : ndarray of shape (n,)
        Numbers from 0.
    first : int
        Rows of the first round: of few classes it takes more than two rows each.
    seed : int

    Returns
    -------
    ndarray of shape (n,)
        A permutation of the rows.
    """
    rng = np.random.default_rng(seed)
    count = int(classes.max()) + 1
    place_of_class = rng.permutation(count)
    pairs = max(first // 2, 1)
    keys: list[tuple[float, float, int]] = []
    for number in range(count):
        rows = rng.permutation(np.flatnonzero(classes == number))
        for rank, row in enumerate(rows.tolist()):
            # The first two of a class come with its block of classes, the others by their share of the class.
            early = rank < 2
            block = float(place_of_class[number] // pairs) if early else float(count // pairs + 1)
            within = float(rng.random()) if early else (rank - 1 - float(rng.random())) / len(rows)
            keys.append((block, within, row))
    return np.array([row for _, _, row in sorted(keys)], np.intp)


def round_sizes(available: int, *, first: int = FIRST_ROWS) -> list[int]:
    """Return how many rows each round looks at: each twice as many as the one before, the last one all of them."""
    sizes = [min(first, available)]
    while sizes[-1] < available:
        doubled = 2 * sizes[-1]
        # A last step to all rows of less than half a round is taken at once.
        sizes.append(available if doubled * 1.25 >= available else doubled)
    return sizes
