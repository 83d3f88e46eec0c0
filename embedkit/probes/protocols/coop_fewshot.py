"""``coop-fewshot``: logistic regression from a few examples a class, C chosen on a few others by bisection.

    features    as in ``clip``
    objective   scikit-learn's LogisticRegression
    shots       1, 2, 4, 8, 16 a class to fit on and 1, 2, 4, 4, 4 of the validation split to choose on; drawn with
                NumPy's RandomState(seed) for seeds 1 to 10: first the training, then the validation examples
    search      the best of C = 1e6, 1e4, ..., 1e-6 (of equals, the largest); then 8 bisections in log C, starting from
                0.1 to 10 times the peak: the better end is kept (of equals, the left one), the other moves to the
                middle. The peak itself is not tried again
    refit       none: the better end of the last step is reported, fitted on the training examples alone
    metric      accuracy, mean over seeds; the number of the result is that of the most shots that the table allows, the
                others are beside it

A table without a validation split chooses on examples from a stratified fifth of its training rows. Shots that some
class has too few rows for are left out (the original stops there).

As published: scikit-learn's lbfgs, at most 1000 iterations.

Source: K. Zhou, J. Yang, C. C. Loy, Z. Liu, Learning to prompt for vision-language models, 2022,
github.com/KaiyangZhou/CoOp, lpclip/linear_probe.py.

Layer: probes.protocols.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embedkit.errors import SplitError
from embedkit.evaluation import Labelled, Outcome, Predicted, Rows, Targets, Task, accuracy
from embedkit.probes.protocols.clip import PRESCRIPTION as CLIP_PRESCRIPTION
from embedkit.probes.protocols.logistic import Published, Regressions, fit_regressions
from embedkit.results import Param

SELECTION_SHOTS = {1: 1, 2: 2, 4: 4, 8: 4, 16: 4}
"""Examples to choose on, by examples to fit on."""

SEEDS = 10
PEAKS = (1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6)
STEPS = 8
PUBLISHED = Published(max_iter=1000)
PRESCRIPTION = CLIP_PRESCRIPTION


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    predicted: Predicted
    C: float
    at_edge: bool
    converged: bool


def coop_fewshot(task: Task) -> Outcome:
    """Run the protocol on one task."""
    train, validation = task.fit_and_select
    possible = [
        shots
        for shots, selection in SELECTION_SHOTS.items()
        if _smallest_class(train.y, train.y) >= shots and _smallest_class(validation.y, train.y) >= selection
    ]
    if not possible:
        raise SplitError(
            f"coop-fewshot needs an image of each class to fit on and another to choose on; the smallest class has "
            f"{_smallest_class(train.y, train.y)} and {_smallest_class(validation.y, train.y)}: leave it out"
        )
    notes: list[str] = []
    if len(possible) < len(SELECTION_SHOTS):
        notes.append(
            f"coop-fewshot: the smallest class allows for {', '.join(map(str, possible))} shots only, not for all of "
            f"{', '.join(map(str, SELECTION_SHOTS))}"
        )
    seeds = range(task.random_state + 1, task.random_state + 1 + SEEDS)
    by_shots = {shots: [_draw(task, train, validation, shots, seed) for seed in seeds] for shots in possible}
    reported = max(possible)
    found = by_shots.pop(reported)
    Cs = [draw.C for draw in found]
    params: dict[str, Param] = {"shots": reported, "draws": SEEDS, "C_smallest": min(Cs), "C_largest": max(Cs)}
    return Outcome(
        draws=[draw.predicted for draw in found],
        params=params,
        n_train=reported * len(np.unique(train.y)),
        selected_on=f"{SELECTION_SHOTS[reported]} images a class of {task.selected_on}",
        at_edge=any(draw.at_edge for draw in found),
        converged=all(draw.converged for draws in [found, *by_shots.values()] for draw in draws),
        others={
            f"{shots} shots" if shots > 1 else "1 shot": [draw.predicted for draw in draws]
            for shots, draws in by_shots.items()
        },
        notes=notes,
    )


def _draw(task: Task, train: Labelled, validation: Labelled, shots: int, seed: int) -> _Draw:
    random = np.random.RandomState(seed)
    classes = np.unique(train.y)
    examples = train.take(_sample(random, train.y, classes, shots))
    select = validation.take(_sample(random, validation.y, classes, SELECTION_SHOTS[shots]))
    published = PUBLISHED if task.as_published else None
    converged = True

    def fit(Cs: list[float]) -> tuple[Regressions, list[float]]:
        nonlocal converged
        fitted = fit_regressions(examples, Cs, task.n_classes, published)
        converged &= bool(fitted.converged.all())
        return fitted, [accuracy(select.y, fitted.predict(i, select.X)) for i in range(len(Cs))]

    _, scores = fit(list(PEAKS))
    peak = int(np.argmax(scores))
    low, high = np.log10(PEAKS[peak]) - 1, np.log10(PEAKS[peak]) + 1
    final, side, chosen = None, 0, PEAKS[peak]
    for _ in range(STEPS):
        ends = [float(10**low), float(10**high)]
        final, (left, right) = fit(ends)
        side = int(left < right)
        chosen = ends[side]
        middle = 0.5 * (low + high)
        low, high = (middle, high) if side else (low, middle)
    assert final is not None
    return _Draw(
        predicted=final.predict(side, task.test_features),
        C=chosen,
        at_edge=peak in (0, len(PEAKS) - 1),
        converged=converged,
    )


def _sample(random: np.random.RandomState, y: Targets, classes: Targets, shots: int) -> Rows:
    return np.concatenate([random.choice(np.flatnonzero(y == k), size=shots, replace=False) for k in classes])


def _smallest_class(y: Targets, classes_of: Targets) -> int:
    return min(int((y == k).sum()) for k in np.unique(classes_of))
