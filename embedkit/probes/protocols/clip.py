"""``clip``: logistic regression over 97 penalties by a search that halves its steps, fitted again on all rows.

    features    penultimate ones, of vision transformers before the projection; bicubic resize and crop to the model's
                own size, CLIP's mean and deviation; no scaling
    objective   scikit-learn's LogisticRegression, lambda = 1 / C
    grid        lambda from 1e-6 to 1e6, 8 values a decade
    search      the best of 1e-6, 1e-4, ..., 1e6; then the best of it and its two neighbours 8, 4, 2 and 1 steps away
    split       the validation split, else a part of the training rows (a stratified fifth: the text leaves it open)
    selection   best validation metric; of equals, the largest lambda (the text leaves it open)
    refit       on training and validation rows
    metric      accuracy (mean per-class accuracy for Aircraft, Caltech-101, Flowers and Pets, ROC-AUC for Hateful
                Memes: among the metrics); several labels a row: one regression a class, mean of the 11-point average
                precisions (VOC 2007)

As published: scikit-learn's lbfgs, at most 1000 iterations, the other arguments at their defaults.

Source: A. Radford et al., Learning transferable visual models from natural language supervision, 2021, appendix A.3,
and the example in the README of github.com/openai/CLIP. The metrics are those of ELEVATER's configuration files.

Layer: probes.protocols.
"""

from __future__ import annotations

import numpy as np

from embedkit.evaluation import Outcome, Task, accuracy, mean_average_precision_11
from embedkit.probes.protocols.features import CLIP_MEAN, CLIP_STD, Prescription
from embedkit.probes.protocols.logistic import Published, fit_regressions
from embedkit.probes.protocols.search import halving_search

LAMBDAS = 10.0 ** (6 - np.arange(97) / 8)
"""Descending: of equal values the first is taken."""

PUBLISHED = Published(max_iter=1000)
PRESCRIPTION = Prescription(interpolation="bicubic", crop_mode="center", crop_pct=1.0, mean=CLIP_MEAN, std=CLIP_STD)


def clip(task: Task) -> Outcome:
    """Run the protocol on one task."""
    fit, select = task.fit_and_select
    published = PUBLISHED if task.as_published else None
    metric = mean_average_precision_11 if task.is_multilabel else accuracy
    all_converged = True

    def scores(indices: list[int]) -> list[float]:
        nonlocal all_converged
        fitted = fit_regressions(fit, (1 / LAMBDAS[indices]).tolist(), task.n_classes, published)
        all_converged &= bool(fitted.converged.all())
        return [metric(select.y, fitted.predict(i, select.X)) for i in range(len(indices))]

    best = halving_search(scores, len(LAMBDAS), first_step=16)
    C = 1 / float(LAMBDAS[best])
    final = fit_regressions(fit.with_rows(select), [C], task.n_classes, published)
    return Outcome(
        draws=[final.predict(0, task.test_features)],
        params={"C": C},
        n_train=len(fit) + len(select),
        selected_on=task.selected_on,
        at_edge=best in (0, len(LAMBDAS) - 1),
        converged=all_converged and bool(final.converged.all()),
    )
