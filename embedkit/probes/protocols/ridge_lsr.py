"""``ridge-lsr``: least squares with a fixed penalty from a few examples a class.

    features    the model's output before its head, standardised on the examples (deviation + 1e-5), and a constant
                feature of 100 for the bias
    objective   squared error to +1 for the own class and -1 for the others, + 1024 ||W||^2
    shots       1, 5, 10, 25 a class (all of a class that has fewer), each drawn with seeds 0, 1, 2: the first of
                NumPy's permutation of each class in turn
    selection   none
    metric      accuracy, mean over seeds; the number of the result is that of 10 shots, the others are beside it

Solved in closed form by an eigendecomposition: in float64, as published in float32.

Source: github.com/google-research/big_vision, big_vision/evaluators/fewshot_lsr.py (penalty 1024 and shots as in its
configurations).

Layer: probes.protocols.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import NOTHING_SELECTED, Labelled, Outcome, Predicted, Rows, Task, predicted_classes
from embedkit.probes.protocols.features import Prescription

PENALTY = 1024.0
BIAS = 100.0
SHOTS = (1, 5, 10, 25)
REPORTED = 10
SEEDS = 3
PRESCRIPTION = Prescription()


def ridge_lsr(task: Task) -> Outcome:
    """Run the protocol on one task."""
    dtype = np.float32 if task.as_published else np.float64
    draws: dict[int, list[Predicted]] = {shots: [] for shots in SHOTS}
    for seed in range(task.random_state, task.random_state + SEEDS):
        classes = _permuted_classes(task, seed)
        for shots in SHOTS:
            examples = task.train.take(np.concatenate([rows[:shots] for rows in classes]))
            scores = _scores(examples, task.test_features, task.n_classes, dtype)
            draws[shots].append(predicted_classes(scores))
    counts = np.bincount(task.train.y, minlength=task.n_classes)
    notes = [
        f"ridge-lsr: {int((counts < shots).sum())} of {task.n_classes} classes have fewer than {shots} training "
        "images; all of theirs are used"
        for shots in SHOTS
        if (counts < shots).any()
    ]
    return Outcome(
        draws=draws.pop(REPORTED),
        params={"shots": REPORTED, "draws": SEEDS, "alpha": PENALTY},
        n_train=int(np.minimum(counts, REPORTED).sum()),
        selected_on=NOTHING_SELECTED,
        others={f"{shots} shots" if shots > 1 else "1 shot": several for shots, several in draws.items()},
        notes=notes,
    )


def _permuted_classes(task: Task, seed: int) -> list[Rows]:
    random = np.random.default_rng(seed)
    return [random.permutation(np.flatnonzero(task.train.y == k)) for k in range(task.n_classes)]


def _scores(
    examples: Labelled, features: npt.NDArray[np.float32], n_classes: int, dtype: type[np.floating[Any]]
) -> npt.NDArray[Any]:
    raw = examples.X.astype(dtype)
    mean, deviation = raw.mean(axis=0), raw.std(axis=0) + dtype(1e-5)
    X = _with_bias((raw - mean) / deviation)
    targets = np.where(examples.y[:, None] == np.arange(n_classes), 1, -1).astype(dtype)
    if X.shape[0] >= X.shape[1]:
        eigenvalues, left = np.linalg.eigh(X.T @ X)
        right = left.T @ (X.T @ targets)
    else:
        eigenvalues, vectors = np.linalg.eigh(X @ X.T)
        left, right = X.T @ vectors, vectors.T @ targets
    weights = (left / (eigenvalues + dtype(PENALTY))) @ right
    return _with_bias((features.astype(dtype) - mean) / deviation) @ weights


def _with_bias(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.pad(X, ((0, 0), (0, 1)), constant_values=BIAS)
