"""``mteb-fewshot``: logistic regression from 16 examples a class, drawn five times.

    features    as the model gives them
    objective   scikit-learn's LogisticRegression, C = 1
    shots       16 a class (all of a class that has fewer), drawn 5 times: the order of the rows is shuffled by NumPy's
                RandomState(42) again and again, and the first 16 of each class are taken
    selection   none
    metric      accuracy, mean over the draws (macro F1 and others beside it)

As published: scikit-learn's lbfgs, at most 100 iterations, in float32.

Source: N. Muennighoff et al., MTEB: massive text embedding benchmark, 2022; for images C. Xiao et al., MIEB, 2025;
github.com/embeddings-benchmark/mteb, mteb/abstasks/classification.py and mteb/abstasks/image.

Layer: probes.protocols.
"""

from __future__ import annotations

import numpy as np

from embedkit.evaluation import NOTHING_SELECTED, Outcome, Predicted, Rows, Targets, Task
from embedkit.probes.protocols.features import Prescription
from embedkit.probes.protocols.logistic import Published, fit_regressions

SHOTS = 16
DRAWS = 5
SEED = 42
PUBLISHED = Published(max_iter=100, dtype=np.float32)
PRESCRIPTION = Prescription()


def mteb_fewshot(task: Task) -> Outcome:
    """Run the protocol on one task."""
    order = np.arange(len(task.train))
    draws: list[Predicted] = []
    converged = True
    for _ in range(DRAWS):
        np.random.RandomState(SEED + task.random_state).shuffle(order)
        examples = task.train.take(_first_of_each_class(order, task.train.y))
        model = fit_regressions(examples, [1.0], task.n_classes, PUBLISHED if task.as_published else None)
        converged &= bool(model.converged.all())
        draws.append(model.predict(0, task.test_features))
    counts = np.bincount(task.train.y, minlength=task.n_classes)
    few = int((counts < SHOTS).sum())
    return Outcome(
        draws=draws,
        params={"shots": SHOTS, "draws": DRAWS, "C": 1.0},
        n_train=int(np.minimum(counts, SHOTS).sum()),
        selected_on=NOTHING_SELECTED,
        converged=converged,
        notes=[
            f"mteb-fewshot: {few} of {task.n_classes} classes have fewer than {SHOTS} training images; all of theirs "
            "are used"
        ]
        if few
        else [],
    )


def _first_of_each_class(order: Rows, y: Targets) -> Rows:
    """Take the first rows of each class, in the given order."""
    labels = y[order]
    rank = np.empty(len(order), dtype=np.intp)
    for k in np.unique(labels):
        members = np.flatnonzero(labels == k)
        rank[members] = np.arange(len(members))
    return order[rank < SHOTS]
