"""The vote of the nearest neighbours by cosine: one search serves every number of neighbours.

Layer: probes; above probes.outcomes and the estimators.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from embedkit.estimators import KNeighborsClassifier
from embedkit.evaluation import Outcome, Predicted, Task, nearest
from embedkit.probes.steps import best_of, candidates_of

_NEIGHBOURS = (50, 20, 10, 5, 3, 1)
"""Many neighbours are the more regularised choice."""


def knn(task: Task) -> Outcome:
    """Run the vote of the nearest neighbours, all counting alike."""
    features, labels, split = task.features, task.labels, task.split
    codes, n_classes = labels.targets, len(labels.classes)
    # A neighbour more than there are rows cannot be had; k = 1 always can.
    values = [k for k in _NEIGHBOURS if k <= len(split.fit)]
    _, near = nearest(features, split.fit, split.select, values[0])
    scores = [float((_vote(codes[near[:, :k]], n_classes) == codes[split.select]).mean()) for k in values]
    k, train = values[best_of(scores)], split.train
    _, near = nearest(features, train, split.test, k)
    steps = []
    if not features.large:
        model = KNeighborsClassifier(k).fit(features.take(train), labels.y[train])
        steps = [("knn", model)]
    return Outcome(
        draws=[
            Predicted(
                targets=_vote(codes[near], n_classes),
                scores=np.concatenate([np.empty((0, n_classes)), *_ballots(codes[near], n_classes)]) / k
                if labels.scored
                else None,
                are_probabilities=labels.scored,
            )
        ],
        params={"n_neighbors": k},
        n_train=len(train),
        selected_on=split.selected_on,
        # One neighbour is the end of every grid by nature, not for want of a wider one.
        at_edge=k == _NEIGHBOURS[0],
        steps=steps,
        candidates=candidates_of("n_neighbors", values, scores),
    )


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
