"""The ``quick`` protocol as a run that can be compared with others: its predictions beside its record.

Layer: probes.protocols; above probes.quick.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, cast

import numpy as np

from embedkit.probes.predictions import Predicted, predicted_classes, spread
from embedkit.probes.protocols.judge import further_metrics, per_image
from embedkit.probes.protocols.rows import Tasks, tasks_of
from embedkit.probes.protocols.run import ProbeRun
from embedkit.probes.quick import quick
from embedkit.probes.statistics import wilson_interval
from embedkit.store import FeatureTable


def quick_run(
    table: FeatureTable, estimator: str, *, model: str, floor: bool, random_state: int, folds: int
) -> ProbeRun:
    """Run ``quick`` on a table, on one without splits once a fold."""
    found = tasks_of(table, "quick", ("class",), folds=folds, random_state=random_state, as_published=False)
    tables = [table] if table.split is not None else [_declared(table, found, i) for i in range(len(found.tested))]
    runs = [quick(part, estimator, model=model, floor=floor, random_state=random_state) for part in tables]
    parts = [
        _predicted(run.steps, task.test_features, found.classes.tolist())
        for run, task in zip(runs, found.tasks, strict=True)
    ]
    tested = np.concatenate(found.tested)
    y = found.y[tested]
    predicted = Predicted(
        targets=np.concatenate([part.targets for part in parts]),
        scores=np.concatenate([cast(Any, part.scores) for part in parts]),
        are_probabilities=parts[0].are_probabilities,
    )
    correct = int((predicted.targets == y).sum())
    first = runs[0].result
    result = dataclasses.replace(
        first,
        value=correct / len(y),
        interval=wilson_interval(correct, len(y)),
        n_test=len(y),
        at_edge=any(run.result.at_edge for run in runs),
        converged=all(run.result.converged for run in runs),
        selected_on=found.splits[0].selected_on,
        reported_on=found.reported_on,
        fit_seconds=sum(run.result.fit_seconds for run in runs),
        metrics=further_metrics(y, [predicted], "accuracy"),
    )
    return ProbeRun(
        result=result,
        tested=tested,
        predictions=found.classes[predicted.targets],
        per_image=per_image(y, [predicted]),
    )


def _declared(table: FeatureTable, found: Tasks, i: int) -> FeatureTable:
    """Give the table with a fold as its splits."""
    head = copy.copy(table.head)
    head.split = np.full(len(table), "train", dtype=object)
    head.split[found.tested[i]] = "test"
    head.spec = dataclasses.replace(head.spec, dtype="float32")
    return FeatureTable(head, table.X)


def _predicted(steps: list[tuple[str, Any]], X: Any, classes: list[str]) -> Predicted:
    features = X
    for _, step in steps[:-1]:
        features = step.transform(features)
    final = steps[-1][1]
    columns = np.array([classes.index(name) for name in final.classes_], dtype=np.intp)
    if hasattr(final, "predict_proba"):
        scores, absent = final.predict_proba(features), 0.0
    else:
        scores, absent = final.decision_function(features), -np.inf
        scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    ranked = predicted_classes(spread(scores, columns, len(classes), absent), are_probabilities=absent == 0.0)
    # The estimator's own word: of an SVM it is not always the class of the highest score.
    said = np.array([classes.index(name) for name in final.predict(features)], dtype=np.intp)
    return dataclasses.replace(ranked, targets=said)
