"""A probe that is fitted on images and on random views of them, whose features come from the same frozen network.

    views            fitted on all, asked of the images as they are
    views, average   fitted on all, asked of the mean of the features of an image and of its views

Layer: adaptation. Imports evaluation, the estimators and its own start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedkit.adaptation.start import choose_penalty, fit_head
from embedkit.estimators import ViewAverage
from embedkit.evaluation import Outcome, Predicted, Protocol, Rows, Task
from embedkit.results import Candidate

ViewWay = Literal["views", "views, average"]
VIEW_WAYS: tuple[ViewWay, ...] = ("views", "views, average")

Features = npt.NDArray[np.float32]


def view_protocol(way: ViewWay, views: Sequence[Features]) -> Protocol:
    """Return logistic regression on views as what `evaluate` runs.

    Parameters
    ----------
    way : {"views", "views, average"}
    views : sequence of float32 (n, d)
        Features of the images themselves, then of each view, row for row.
    """
    return Protocol(name="views", estimator=way, metric="accuracy", run=lambda task: _run(way, views, task))


def _run(way: ViewWay, views: Sequence[Features], task: Task) -> Outcome:
    n, several = len(views[0]), len(views)
    averaging: Any = ViewAverage(several)
    average: Features = averaging.fit_transform(np.concatenate(views, axis=1)) if "average" in way else views[0]
    rows = np.concatenate([*views, average])
    y = np.tile(task.labels.targets, several + 1)
    split = task.split

    def in_all(some: Rows) -> Rows:
        return np.concatenate([some + place * n for place in range(several)])

    asked = several * n  # where the rows begin that a fit is asked of
    C = choose_penalty(rows, y, in_all(split.fit), split.select + asked)
    tried = fit_head(rows, y, in_all(split.fit), C, task.n_classes).logits(average[split.select])
    kept = fit_head(rows, y, in_all(split.train), C, task.n_classes).logits(average[split.test]).astype(np.float64)
    chances = np.exp(kept - kept.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    right = tried.argmax(axis=1) == task.labels.targets[split.select]
    predicted = Predicted(targets=chances.argmax(axis=1).astype(np.intp), scores=chances, are_probabilities=True)
    return Outcome(
        draws=[predicted],
        params={"C": C},
        n_train=len(split.train),
        selected_on=split.selected_on,
        candidates=[Candidate(params={"C": C}, score=float(right.mean()))],
    )
