"""What all scores take: features and classes, checked in one place.

Layer: the bottom of selection. NumPy and errors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError

Floats = npt.NDArray[np.float64]
Classes = npt.NDArray[np.intp]

MOST_ROWS = 100_000
"""Rows that a score looks at; of more it takes a stratified sample."""


def checked(X: npt.ArrayLike, y: Sequence[Any] | npt.NDArray[Any], *, seed: int = 0) -> tuple[Floats, Classes]:
    """Return features in float64 and classes as numbers from 0, of at most `MOST_ROWS` rows.

    Raises
    ------
    UsageError
        Shapes do not agree, a feature is not finite, or there are fewer than two classes.
    """
    features = np.asarray(X)
    labels = np.asarray(y)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise UsageError(
            f"features of shape {features.shape} and labels of shape {labels.shape}; expected (n, d) and (n,)"
        )
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise UsageError(f"a score needs at least two classes, and the labels hold {len(classes)}")
    if len(features) > MOST_ROWS:
        rows = sample(numbers, MOST_ROWS, seed)
        features, numbers = features[rows], numbers[rows]
    values = features.astype(np.float64)
    if not np.isfinite(values).all():
        raise UsageError("some features are not finite; extract again, or leave these rows out")
    return values, numbers.astype(np.intp)


def sample(classes: Classes, rows: int, seed: int) -> npt.NDArray[np.intp]:
    """Draw about so many rows, ascending, each class by its share and at least one of it."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.choice(found, max(1, round(rows * len(found) / len(classes))), replace=False)
        for found in (np.flatnonzero(classes == place) for place in range(int(classes.max()) + 1))
    ]
    return np.sort(np.concatenate(chosen))


def class_means(values: Floats, classes: Classes) -> tuple[Floats, Floats]:
    """Return the mean row and the number of rows of each class."""
    counts = np.bincount(classes).astype(np.float64)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, classes, values)
    return sums / counts[:, None], counts
