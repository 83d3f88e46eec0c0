"""A grid of candidates, each fitted anew: for any estimator of scikit-learn's kind.

Layer: probes; above probes.outcomes.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from sklearn.model_selection import ParameterGrid

from embedkit.evaluation import Outcome, Steps, Task
from embedkit.probes.steps import Params, best_of, fit_steps, predict, predict_array
from embedkit.results import Candidate, Param, to_plain


def search(
    steps_for: Callable[[Params], Steps],
    grid: Mapping[str, Sequence[Any]],
    task: Task,
    device: str | None = None,
) -> Outcome:
    """Try every combination of a grid, refit the best; of equals the first.

    Parameters
    ----------
    steps_for : callable (params) -> steps
        Gives unfitted steps.
    grid : mapping of str to sequence
        Values of each parameter; empty for nothing to choose.
    device : str, optional
        Of tensors, for steps that take them.
    """
    labels, split = task.labels, task.split
    candidates = cast(list[Params], list(ParameterGrid(cast(Any, grid))))
    train = np.concatenate([split.fit, split.select])
    converged = True
    with task.features.arranged(split.fit, split.select) as X:
        n_fit, best = len(split.fit), 0
        scores: list[float] = []
        if len(candidates) > 1:
            for params in candidates:
                steps = steps_for(params)
                converged &= fit_steps(steps, X[:n_fit], labels.y[split.fit], device)
                scores.append(labels.score(predict_array(steps, X[n_fit:], labels), split.select))
            best = best_of(scores)
        steps = steps_for(candidates[best])
        converged &= fit_steps(steps, X, labels.y[train], device)
    return Outcome(
        draws=[predict(steps, task.features, split.test, labels)],
        params=_plain(candidates[best]),
        n_train=len(train),
        selected_on=split.selected_on if grid else "nothing: the estimator's own parameters were kept",
        at_edge=any(_at_edge(candidates[best][name], values) for name, values in grid.items()),
        converged=converged,
        steps=steps,
        candidates=[
            Candidate(params=_plain(params), score=float(score))
            for params, score in zip(candidates, scores, strict=False)
        ],
    )


def _plain(params: Params) -> dict[str, Param]:
    """Return values that a record can hold."""
    plain: Params = {name: to_plain(value) for name, value in params.items()}
    return {name: value if _is_plain(value) else repr(params[name]) for name, value in plain.items()}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, cast("list[Any]", value)))
    return value is None or isinstance(value, float | int | str | bool)


def _at_edge(value: Any, values: Sequence[Any]) -> bool:
    """Whether a number is the smallest or largest of several."""
    are_numbers = not any(isinstance(other, bool) or not isinstance(other, numbers.Real) for other in values)
    return are_numbers and len(set(values)) > 1 and value in (min(values), max(values))
