"""From a protocol and a table to a number with everything needed to believe it: the one place where that is judged.

Layer: evaluation; above task, judging and duplicates.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import SplitError
from embedkit.evaluation.duplicates import Duplicates, find_duplicates, leaks
from embedkit.evaluation.judging import further_metrics, judge, per_image
from embedkit.evaluation.labels import TableLabels
from embedkit.evaluation.predictions import Float64, Predicted, Targets, joined
from embedkit.evaluation.splits import Rows, Split, final_split
from embedkit.evaluation.task import Outcome, Steps, Task, tasks_of
from embedkit.results import ProbeResult
from embedkit.results import Rows as TestedRows
from embedkit.tables import FeatureTable

# Up to so many numbers in the features, BLAS works on one core: its threads wait for each other after every product,
# and beside other work that cost a factor of 26 on 1,257 x 1,280 features, where they had little to gain.
_ONE_CORE_SIZE = 1 << 24

_MOST_SCORES = 1 << 22
"""32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What `evaluate` runs and judges by.

    Attributes
    ----------
    name, estimator : str
        What results call it.
    metric : str
        The main one.
    run : callable (Task) -> Outcome
    beside : tuple of str
        Metrics that it reports beside the main one and that others do not.
    ships : bool
        The fitted steps are wanted: for a table without splits they are fitted once more, on all its rows.
    notes : tuple of str
    """

    name: str
    estimator: str
    metric: str
    run: Callable[[Task], Outcome]
    beside: tuple[str, ...] = ()
    ships: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """A protocol on a table.

    Attributes
    ----------
    result : ProbeResult
        With the outcome of each tested row.
    steps : list of (str, estimator)
        The fitted steps of a Pipeline on features; empty where the protocol ships none.
    tested : ndarray of shape (n_test,), intp
        Rows of the table that were judged.
    draws : list of Predicted
        Of these rows, one a draw.
    labels : TableLabels
        What the numbers in them mean.
    """

    result: ProbeResult
    steps: Steps
    tested: npt.NDArray[np.intp]
    draws: list[Predicted]
    labels: TableLabels

    @property
    def predicted(self) -> Predicted:
        """The predictions of the first draw."""
        return self.draws[0]

    @property
    def predictions(self) -> npt.NDArray[Any]:
        """Labels, values or marks, of shape (n_test,); of several draws (n_test, n_draws)."""
        decoded = [self.labels.decoded(draw.targets) for draw in self.draws]
        return decoded[0] if len(decoded) == 1 else np.stack(decoded, axis=1)

    @property
    def per_image(self) -> Float64:
        """What paired tests compare, larger is better: 1 or 0 for right or wrong (over several draws, or several labels
        a row, their mean); for values minus the squared error.
        """  # noqa: D205
        return per_image(self.labels.targets[self.tested], self.draws)


def evaluate(
    protocol: Protocol,
    table: FeatureTable,
    *,
    model: str,
    floor: bool = False,
    folds: int = 5,
    random_state: int = 0,
    as_published: bool = False,
    further: bool = True,
    duplicates: Duplicates | None = None,
) -> ProbeRun:
    """Run a protocol on a table, judge its predictions for rows that no fit and no choice has seen.

    Parameters
    ----------
    protocol : Protocol
    table : FeatureTable
        Its splits are used where it has any; else every row is tested once, by cross-validation.
    model : str
        What the result calls the features.
    floor : bool
        The features are a floor.
    folds : int
        For a table without splits.
    random_state : int
        Seed of every random choice.
    as_published : bool
        Use the original's solver and stop rule.
    further : bool
        Judge by further metrics too. Those that need a score of every class for every tested image are left out where
        that would be more than four million numbers.
    duplicates : Duplicates, optional
        Of the images of the table, as `find_duplicates` found them by their pixels; by default by these features.

    Raises
    ------
    LabelsError
        Labels are missing, of one class only, or all equal.
    SplitError
        Splits or classes are too small, or the metric is not defined on the tested rows.
    UsageError
        The features are not finite, or the estimator refuses them.
    """
    from threadpoolctl import threadpool_limits  # pyright: ignore[reportUnknownVariableType]

    started = time.monotonic()
    tasks = tasks_of(table, folds=folds, random_state=random_state, as_published=as_published)
    splits, features, labels = [task.split for task in tasks], tasks[0].features, tasks[0].labels
    few_scores = sum(len(split.test) for split in splits) * len(labels.classes) <= _MOST_SCORES
    labels = dataclasses.replace(labels, scored=further and few_scores)
    tasks = [dataclasses.replace(task, labels=labels) for task in tasks]
    one_core = features.shape[0] * features.shape[1] <= _ONE_CORE_SIZE
    with threadpool_limits(1 if one_core else None), warnings.catch_warnings():
        # scikit-learn's guess at values where labels, which are classes here, are many.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
        outcomes = [protocol.run(task) for task in tasks]
        shipped = outcomes[0]
        if protocol.ships and table.split is None:
            # What is shipped learns from every image; the cross-validated number is that of the procedure.
            groups = None if table.groups is None else table.groups.tolist()
            every = final_split(labels.y, groups, np.arange(len(table)), random_state=random_state)
            shipped = protocol.run(dataclasses.replace(tasks[0], split=every))
        seconds = time.monotonic() - started
        if duplicates is None:
            duplicates = find_duplicates(table, random_state=random_state)
        leaked = leaks(table, splits, duplicates)
    tested = np.concatenate([split.test for split in splits])
    y = labels.targets[tested]
    if y.ndim == 2 and not y.any():
        raise SplitError("no tested image has any of the classes, so nothing can be judged; check the splits")
    draws = [joined(parts) for parts in zip(*(outcome.draws for outcome in outcomes), strict=True)]
    main = judge([protocol.metric], y, draws)[protocol.metric]
    if main["value"] is None:
        raise SplitError(
            f"{protocol.metric} is not defined on the {len(y)} tested images; {protocol.name} needs more of each class"
        )
    metrics = _beside(protocol, y, draws, outcomes, few_scores) if further else {}
    first = splits[0]
    judged = [*outcomes, shipped]
    chosen_from = judged[-1:] if shipped is not outcomes[0] else outcomes
    result = ProbeResult(
        model=model,
        protocol=protocol.name,
        estimator=protocol.estimator,
        metric=protocol.metric,
        value=main["value"],
        interval=main["interval"],
        n_train=outcomes[0].n_train,
        n_test=len(tested),
        n_classes=_classes_in(labels.targets[first.train]),
        params=shipped.params,
        at_edge=any(outcome.at_edge for outcome in chosen_from),
        converged=all(outcome.converged for outcome in judged),
        selected_on=outcomes[0].selected_on,
        reported_on=first.reported_on,
        floor=floor,
        notes=[
            *_notes(protocol, tasks, outcomes, leaked.notes()),
            *_of_interval(protocol.metric, main, draws),
        ],
        fit_seconds=seconds,
        metrics=metrics,
        leaks=leaked.counts(),
        as_published=as_published,
        fingerprint=table.spec.fingerprint,
        seed=random_state,
        candidates=outcomes[0].candidates,
        rows=_tested_rows(table, labels, splits, draws, few_scores),
    )
    return ProbeRun(result=result, steps=shipped.steps, tested=tested, draws=draws, labels=labels)


def _beside(
    protocol: Protocol, y: Targets, draws: list[Predicted], outcomes: list[Outcome], few_scores: bool
) -> dict[str, dict[str, Any]]:
    """Judge by further metrics, and the settings that a protocol reports beside its own by the main one."""
    ranked = draws if few_scores else [dataclasses.replace(draw, scores=None) for draw in draws]
    metric = protocol.metric
    found = further_metrics(metric, y, ranked, protocol.beside)
    for name in outcomes[0].others:
        settings = [joined(parts) for parts in zip(*(outcome.others[name] for outcome in outcomes), strict=True)]
        found[f"{metric} ({name})"] = judge([metric], y, settings)[metric]
    return found


def _tested_rows(
    table: FeatureTable, labels: TableLabels, splits: Sequence[Split], draws: list[Predicted], few: bool
) -> TestedRows:
    tested = np.concatenate([split.test for split in splits])
    keys: list[str] = [table.keys[row] for row in tested.tolist()]
    folds = np.repeat(np.arange(len(splits)), [len(split.test) for split in splits])
    scores = [draw.scores for draw in draws if draw.scores is not None]
    return TestedRows(
        keys=keys * len(draws),
        y_true=np.concatenate([labels.decoded(labels.targets[tested])] * len(draws)),
        y_pred=np.concatenate([labels.decoded(draw.targets) for draw in draws]),
        scores=np.concatenate(scores) if few and len(scores) == len(draws) else None,
        probabilities=all(draw.are_probabilities for draw in draws),
        classes=cast("list[str]", labels.classes.tolist()),
        fold=folds if len(draws) == 1 else np.repeat(np.arange(len(draws)), len(keys)),
    )


def _classes_in(y: Targets) -> int:
    if y.dtype == np.float64:
        return 0
    return int(y.any(axis=0).sum()) if y.ndim == 2 else len(np.unique(y))


def _notes(protocol: Protocol, tasks: list[Task], outcomes: list[Outcome], leaked: list[str]) -> list[str]:
    first = tasks[0]
    notes = [*protocol.notes, *first.split.notes, *_unlearnable(first.labels.targets, [task.split for task in tasks])]
    notes += leaked
    return list(dict.fromkeys([*notes, *(note for outcome in outcomes for note in outcome.notes)]))


def _of_interval(metric: str, judged: Mapping[str, Any], draws: list[Predicted]) -> list[str]:
    """Say what the interval is over where that is more than test images, and why there is none."""
    if judged["interval"] is None:
        return [f"{metric} has no interval: {judged['no_interval']}"]
    if any(not np.array_equal(draw.targets, draws[0].targets) for draw in draws[1:]):
        return [f"the interval is over the test images and the {len(draws)} draws of training images together"]
    return []


def _unlearnable(targets: Targets, splits: Sequence[Split]) -> list[str]:
    """Say of several labels how many cannot be learnt or judged."""
    if targets.ndim != 2:
        return []
    notes: list[str] = []

    def absent(rows: Rows) -> int:
        return int((~targets[rows].any(axis=0)).sum())

    worst = max(absent(split.train) for split in splits)
    if worst:
        notes.append(f"{worst} of {targets.shape[1]} classes have no training image and cannot be ranked")
    unseen = absent(np.concatenate([split.test for split in splits]))
    if unseen:
        notes.append(f"{unseen} of {targets.shape[1]} classes have no tested image and are not in the mean")
    return notes
