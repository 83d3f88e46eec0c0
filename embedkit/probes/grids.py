"""Estimators that are fitted once a candidate: support vector machines, and any estimator of scikit-learn's kind.

Layer: probes; above probes.outcomes.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from sklearn.model_selection import ParameterGrid
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from embedkit.evaluation import FeatureRows, Split, Task
from embedkit.probes.outcomes import Outcome, Params, Steps, best_of, fit_steps, predict, predict_array

_SVM_CS = tuple(float(value) for value in np.logspace(-5, 0, 6))
# libsvm is exact and quick where the kernel matrix of the rows fits into its cache; beyond, liblinear's primal is.
_KERNEL_ROWS = 10_000


def svm(features: FeatureRows, task: Task, split: Split) -> Outcome:
    """Run a linear support vector machine on standardised features."""

    def steps_for(params: Params, n_rows: int) -> Steps:
        final: Any
        if n_rows <= _KERNEL_ROWS:
            final = SVC(**params, kernel="linear", cache_size=1000)
        else:
            final = LinearSVC(**params, dual=cast(Any, False))
        return [("scale", StandardScaler()), ("svm", final)]

    return search(steps_for, {"C": _SVM_CS}, features, task, split)


def search(
    steps_for: Callable[[Params, int], Steps],
    grid: Mapping[str, Sequence[Any]],
    features: FeatureRows,
    task: Task,
    split: Split,
    device: str | None = None,
) -> Outcome:
    """Try every combination of a grid, refit the best; of equals the first.

    Parameters
    ----------
    steps_for : callable (params, n_rows) -> steps
        Gives unfitted steps for so many training rows.
    grid : mapping of str to sequence
        Values of each parameter; empty for nothing to choose.
    device : str, optional
        Of tensors, for steps that take them.
    """
    candidates = cast(list[Params], list(ParameterGrid(cast(Any, grid))))
    train = np.concatenate([split.fit, split.select])
    converged = True
    with features.arranged(split.fit, split.select) as X:
        n_fit, best = len(split.fit), 0
        if len(candidates) > 1:
            scores: list[float] = []
            for params in candidates:
                steps = steps_for(params, n_fit)
                converged &= fit_steps(steps, X[:n_fit], task.y[split.fit], device)
                scores.append(task.score(predict_array(steps, X[n_fit:], task), split.select))
            best = best_of(scores)
        steps = steps_for(candidates[best], len(X))
        converged &= fit_steps(steps, X, task.y[train], device)
    return Outcome(
        params=candidates[best],
        at_edge=any(_at_edge(candidates[best][name], values) for name, values in grid.items()),
        converged=converged,
        steps=steps,
        predicted=predict(steps, features, split.test, task),
    )


def _at_edge(value: Any, values: Sequence[Any]) -> bool:
    """Whether a number is the smallest or largest of several."""
    are_numbers = not any(isinstance(other, bool) or not isinstance(other, numbers.Real) for other in values)
    return are_numbers and len(set(values)) > 1 and value in (min(values), max(values))
