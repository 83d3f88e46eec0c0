"""Near-duplicates by pixels and features together: the same picture encoded again, resized, or cropped a little.

Features and small grey pictures name candidates, the nearest of each image by either. Pixels decide: one picture,
whole, must correlate with a middle part of the other. Aspects may differ; contrast and brightness do not count.

Measured on photographs of groceries and on PACS (benchmarks/audit.py, docs/audit.md).

Layer: auditing; above the estimators.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embedkit.auditing.copies import Pair
from embedkit.estimators import NearestRows

Float32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

LEAST_CORRELATION = 0.94
_SIDE = 24
_CROPS = (0.0, 0.02, 0.04, 0.05, 0.06, 0.08, 0.1)
"""Shares of the width and height that are cut away, the same on both sides."""

_BY_FEATURES, _BY_PIXELS = 10, 5
_LEAST_UNCUT = 0.3
"""Correlation of the whole pictures below which no crop of up to 10 % makes up for it."""

_PAIRS = 2048
_FLAT = 2.0
"""Standard deviation of grey below which a picture has nothing to be known by."""


def near_pairs(X: Float32, grey: npt.NDArray[np.uint8], exact: Sequence[Pair] = ()) -> list[Pair]:
    """Find the pairs of rows that show one picture, but for exact copies.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), float32
    grey : ndarray of shape (n, side, side), uint8
        Small grey pictures; all 0 where an image could not be read.
    exact : sequence of Pair
        Rows that are known to be copies. The first of them stands for all.

    Returns
    -------
    list of Pair
        The highest correlation first.
    """
    copies = {two for _, two, _ in exact}
    rows = np.array([row for row in range(len(X)) if row not in copies], dtype=np.intp)
    rows = rows[grey[rows].reshape(len(rows), -1).std(axis=1) >= _FLAT] if len(rows) else rows
    if len(rows) < 2:
        return []
    whole = _views(grey[rows], _CROPS[:1])[:, 0]
    pairs = np.unique(
        np.concatenate([_candidates(X[rows] - X[rows].mean(axis=0), _BY_FEATURES), _candidates(whole, _BY_PIXELS)]),
        axis=0,
    )
    uncut = np.einsum("ij,ij->i", whole[pairs[:, 0]], whole[pairs[:, 1]])
    pairs = pairs[uncut >= _LEAST_UNCUT]
    found: list[Pair] = []
    for start in range(0, len(pairs), _PAIRS):
        block = pairs[start : start + _PAIRS]
        likeness = _likeness(grey[rows[block[:, 0]]], grey[rows[block[:, 1]]])
        found += [
            (int(rows[block[place, 0]]), int(rows[block[place, 1]]), float(min(likeness[place], 1.0)))
            for place in np.flatnonzero(likeness >= LEAST_CORRELATION)
        ]
    return sorted(found, key=lambda pair: -pair[2])


def _candidates(X: Float32, k: int) -> Rows:
    """Pair each row with its k nearest; the smaller number first, each pair once or more."""
    k = min(k, len(X) - 1)
    _, near = NearestRows(np.ascontiguousarray(X), "cosine").search(X, k + 1)
    pairs = np.stack([np.repeat(np.arange(len(X)), k + 1), near.reshape(-1)], axis=1)
    return np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)


def _likeness(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> Float32:
    """Return the highest correlation of one picture, whole, with a middle part of the other, either way round."""
    of_a, of_b = _views(a, _CROPS), _views(b, _CROPS)
    return np.maximum(
        np.einsum("ij,icj->ic", of_a[:, 0], of_b).max(axis=1), np.einsum("ij,icj->ic", of_b[:, 0], of_a).max(axis=1)
    )


def _views(grey: npt.NDArray[np.uint8], crops: Sequence[float]) -> Float32:
    """Bring middle parts of pictures (n, side, side) to one size, mean 0 and length 1: (n, n_crops, n_pixels)."""
    side = grey.shape[1]
    pixels = grey.astype(np.float32)
    views = np.stack([weights @ pixels @ weights.T for weights in (_shrinking(side, crop) for crop in crops)], axis=1)
    views = views.reshape(len(grey), len(crops), _SIDE * _SIDE)
    views -= views.mean(axis=2, keepdims=True)
    lengths = np.linalg.norm(views, axis=2, keepdims=True)
    return views / np.where(lengths > 0, lengths, 1)


def _shrinking(side: int, crop: float) -> Float32:
    """Return weights (_SIDE, side) that average the pixels below each new one, fractions of them at its edges."""
    edges = side * (crop / 2 + (1 - crop) * np.arange(_SIDE + 1) / _SIDE)
    first, last = np.arange(side), np.arange(1, side + 1)
    overlap = np.minimum(edges[1:, None], last) - np.maximum(edges[:-1, None], first)
    weights = np.maximum(overlap, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
