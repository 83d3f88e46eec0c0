"""Nearest neighbours by cosine: one search serves every number of neighbours, training rows come block by block.

Layer: probes; above probes.outcomes and the estimators.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from embedkit.estimators import KNeighborsClassifier, NearestRows
from embedkit.probes.features import FeatureRows, Float32
from embedkit.probes.outcomes import Outcome, best_of
from embedkit.probes.predictions import Predicted
from embedkit.probes.splits import Rows, Split
from embedkit.probes.tasks import Task

_NEIGHBOURS = (50, 20, 10, 5, 3, 1)
"""Many neighbours are the more regularised choice."""

# 65,536 x 768 numbers are 200 MB; so many queries are compared with each block of training rows.
_BLOCK_ROWS = 65_536


def knn(features: FeatureRows, task: Task, split: Split) -> Outcome:
    """Run the vote of the nearest neighbours, all counting alike."""
    codes, n_classes = task.targets, len(task.classes)
    # A neighbour more than there are rows cannot be had; k = 1 always can.
    values = [k for k in _NEIGHBOURS if k <= len(split.fit)]
    _, near = nearest(features, split.fit, split.select, values[0])
    scores = [float((_vote(codes[near[:, :k]], n_classes) == codes[split.select]).mean()) for k in values]
    k, train = values[best_of(scores)], split.train
    _, near = nearest(features, train, split.test, k)
    steps = []
    if not features.large:
        model = KNeighborsClassifier(k).fit(features.take(train), task.y[train])
        steps = [("knn", model)]
    return Outcome(
        params={"n_neighbors": k},
        # One neighbour is the end of every grid by nature, not for want of a wider one.
        at_edge=k == _NEIGHBOURS[0],
        converged=True,
        steps=steps,
        predicted=Predicted(
            targets=_vote(codes[near], n_classes),
            scores=np.concatenate([np.empty((0, n_classes)), *_ballots(codes[near], n_classes)]) / k
            if task.scored
            else None,
            are_probabilities=task.scored,
        ),
    )


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


def _vote(codes: npt.NDArray[np.intp], n_classes: int) -> npt.NDArray[np.intp]:
    """Return the class with most votes of each row (n_rows, k); of equals the first."""
    winners = [counts.argmax(axis=1) for counts in _ballots(codes, n_classes)]
    return np.concatenate([np.empty(0, np.intp), *winners])


def _ballots(codes: npt.NDArray[np.intp], n_classes: int) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the votes for each class of some rows at a time."""
    for start in range(0, len(codes), 1024):
        part = codes[start : start + 1024]
        cells = np.arange(len(part))[:, None] * n_classes + part
        yield np.bincount(cells.ravel(), minlength=len(part) * n_classes).reshape(len(part), n_classes)
