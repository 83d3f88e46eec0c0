"""``dinov3-logreg``: as ``dinov2-logreg``, but chosen on a stratified tenth, and for several labels a row too.

    features    the model's output, not normalised; resize and crop alike bicubic (224 unless told), ImageNet mean and
                deviation
    objective   scikit-learn's LogisticRegression in float64; several labels a row: one regression a class
    grid        C = 10 ** (45 values from -6 to 5)
    split       the validation split, else of each class the first int(10 %) rows, at least one of two or more, of the
                training rows in torch's permutation for seed 0
    selection   best accuracy (several labels a row: mean average precision); of equals, the smallest C
    refit       on training and validation rows
    metric      accuracy; several labels a row: mean average precision

As published: scikit-learn's lbfgs, at most 1000 iterations, tolerance 1e-12.

Source: O. Siméoni et al., DINOv3, 2025, github.com/facebookresearch/dinov3, dinov3/eval/log_regression.py and
dinov3/eval/data.py (split_train_val_datasets).

Layer: probes.protocols.
"""

from __future__ import annotations

import numpy as np

from embedkit.errors import SplitError
from embedkit.evaluation import Labelled, Outcome, Targets, Task, accuracy, mean_average_precision
from embedkit.probes.protocols.dinov2_logreg import PRESCRIPTION as DINOV2_PRESCRIPTION
from embedkit.probes.protocols.dinov2_logreg import sweep, torch_permutation

PRESCRIPTION = DINOV2_PRESCRIPTION


def dinov3_logreg(task: Task) -> Outcome:
    """Run the protocol on one task."""
    metric = mean_average_precision if task.is_multilabel else accuracy
    if task.validation is not None:
        return sweep(task, task.train, task.validation, task.selected_on, metric, [])
    fit, select = _tenth(task.train.take(torch_permutation(len(task.train), task.random_state)))
    return sweep(task, fit, select, f"a stratified 10 % of train ({len(select)} images)", metric, [])


def _tenth(shuffled: Labelled) -> tuple[Labelled, Labelled]:
    chosen = np.zeros(len(shuffled), dtype=np.bool_)
    for mark in _marks(shuffled.y):
        rows = np.flatnonzero(mark)
        if len(rows) > 1:
            chosen[rows[: max(1, int(0.1 * len(rows)))]] = True
    if not chosen.any():
        raise SplitError(f"no class has two training images ({len(shuffled)} in all), so nothing is left to choose on")
    return shuffled.take(np.flatnonzero(~chosen)), shuffled.take(np.flatnonzero(chosen))


def _marks(y: Targets) -> list[Targets]:
    return list(y.T) if y.ndim == 2 else [y == k for k in np.unique(y)]
