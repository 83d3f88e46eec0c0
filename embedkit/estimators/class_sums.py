"""Number, mean and scatter of the rows of each class: put together, and taken apart again.

Layer: imports NumPy, embedkit.errors and its own room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64
from embedkit.estimators.symmetric import scatter_of

GONE = 1e-9
"""A weight below this share of what was there is what rounding left of weights that are all gone."""


class ClassSums(NamedTuple):
    """What is known of the rows of each class.

    Attributes
    ----------
    labels : ndarray of shape (n_classes,)
        Sorted.
    n : ndarray of shape (n_classes,), float64
    means : ndarray of shape (n_classes, n_features), float64
    scatter : ndarray of shape (n_classes, n_features, n_features), float64, or None
        Around the class means.
    """

    labels: NDArray[Any]
    n: Float64
    means: Float64
    scatter: Float64 | None

    def take(self, places: Sequence[int] | NDArray[Any]) -> ClassSums:
        """Give some of the classes."""
        scatter = None if self.scatter is None else self.scatter[places]
        return ClassSums(self.labels[places], self.n[places], self.means[places], scatter)


def sums_by_class(block: Float64, targets: NDArray[Any], weights: Float64, *, scatters: bool) -> ClassSums:
    """Collect rows by their class."""
    labels, codes = np.unique(targets, return_inverse=True)
    n = np.bincount(codes, weights=weights).astype(np.float64)
    order = np.argsort(codes, kind="stable")
    first = np.flatnonzero(np.diff(codes[order], prepend=-1))
    means = np.add.reduceat((block * weights[:, None])[order], first) / n[:, None]
    if not scatters:
        return ClassSums(labels, n, means, None)
    parts = zip(np.split(order, first[1:]), means, strict=True)
    return ClassSums(labels, n, means, np.stack([scatter_of(block[at] - mean, weights[at]) for at, mean in parts]))


def joined(one: ClassSums, other: ClassSums) -> ClassSums:
    """Put the classes of two collections together."""
    labels, width = np.union1d(one.labels, other.labels), one.means.shape[1]
    n, means = np.zeros(len(labels)), np.zeros((len(labels), width))
    scatter = None if one.scatter is None else np.zeros((len(labels), width, width))
    for part in (one, other):
        at = np.searchsorted(labels, part.labels)
        before, n[at] = n[at], n[at] + part.n
        apart = part.means - means[at]
        means[at] += apart * (part.n / n[at])[:, None]
        if scatter is not None and part.scatter is not None:
            for place, known, product, shift in zip(at, part.scatter, before * part.n / n[at], apart, strict=True):
                scatter[place] += known + np.outer(product * shift, shift)
    return ClassSums(labels, n, means, scatter)


def without(one: ClassSums, other: ClassSums) -> ClassSums:
    """Take the rows of one collection out of another; a class without any row left is none.

    Raises
    ------
    UsageError
        There were fewer rows of a class than are to be taken out.
    """
    unknown = np.setdiff1d(other.labels, one.labels)
    if len(unknown):
        raise UsageError(f"no row of class {unknown.tolist()[0]!r} was seen, so none can be taken away")
    at = np.searchsorted(one.labels, other.labels)
    before, left = one.n[at], one.n[at] - other.n
    if (left < -GONE * before).any():
        place = int((left / before).argmin())
        raise UsageError(
            f"{other.n[place]:g} rows of class {other.labels.tolist()[place]!r} cannot be taken away from "
            f"{before[place]:g}; they were not all among these"
        )
    n, means = one.n.copy(), one.means.copy()
    stays = left > GONE * before
    n[at] = np.where(stays, left, 0.0)
    shrunk = at[stays]
    means[shrunk] -= (other.n / np.where(stays, left, 1.0))[stays, None] * (other.means[stays] - one.means[shrunk])
    scatter = None if one.scatter is None else one.scatter.copy()
    if scatter is not None and other.scatter is not None:
        products, shifts = (left * other.n / before)[stays], other.means[stays] - means[shrunk]
        for place, known, product, shift in zip(shrunk, other.scatter[stays], products, shifts, strict=True):
            scatter[place] -= known + np.outer(product * shift, shift)
    return ClassSums(one.labels, n, means, scatter).take(np.flatnonzero(n))
