"""The nearest rows by cosine of a table that may be larger than memory: training rows come block by block.

Layer: evaluation; above feature_rows and the estimators.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedkit.estimators import NearestRows
from embedkit.evaluation.feature_rows import FeatureRows, Float32
from embedkit.evaluation.splits import Rows

# 65,536 x 768 numbers are 200 MB; so many queries are compared with each block of training rows.
_BLOCK_ROWS = 65_536


def nearest(
    features: FeatureRows, train: Rows, queries: Rows, k: int, centre: Float32 | None = None
) -> tuple[Float32, npt.NDArray[np.intp]]:
    """Find the k nearest training rows of each query by cosine.

    Parameters
    ----------
    train, queries : ndarray of intp
        Rows, ascending; at least k for training.
    k : int
    centre : ndarray of shape (n_features,), optional
        What is subtracted first.

    Returns
    -------
    distances : ndarray of shape (n_queries, k), float32
        1 - cosine, ascending.
    rows : ndarray of shape (n_queries, k), intp
        Of equal distances, the smaller row first.
    """
    found = [
        _nearest_of_block(features, train, _centred(X, centre), k, centre)
        for _, X in features.batches(queries, _BLOCK_ROWS)
    ]
    distances = [np.empty((0, k), np.float32), *(block for block, _ in found)]
    return np.concatenate(distances), np.concatenate([np.empty((0, k), np.intp), *(rows for _, rows in found)])


def _nearest_of_block(
    features: FeatureRows, train: Rows, queries: Float32, k: int, centre: Float32 | None
) -> tuple[Float32, npt.NDArray[np.intp]]:
    distances = np.full((len(queries), k), np.inf, np.float32)
    rows = np.zeros((len(queries), k), np.intp)
    for span, X in features.batches(train, _BLOCK_ROWS):
        near, indices = NearestRows(_centred(X, centre), "cosine").search(queries, min(k, len(X)))
        candidates = np.concatenate([distances, near], axis=1)
        numbers = np.concatenate([rows, train[span][indices]], axis=1)
        order = np.argsort(candidates, axis=1, kind="stable")[:, :k]
        distances, rows = np.take_along_axis(candidates, order, axis=1), np.take_along_axis(numbers, order, axis=1)
    return distances, rows


def _centred(X: Float32, centre: Float32 | None) -> Float32:
    return X if centre is None else X - centre
