"""From a table to the tasks that a protocol runs on: one for declared splits, else one a fold.

Layer: probes.protocols; above the store and probes.splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError
from embedkit.evaluation import FeatureRows, Labels, Leaks, Split, Targets, encoded, leaks, make_splits
from embedkit.probes.protocols.task import Labelled, Rows, Task
from embedkit.tables import FeatureTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """The tasks of a table.

    Attributes
    ----------
    tasks : list of Task
    tested : list of ndarray of intp
        Rows of the table that each task is judged on.
    y : ndarray
        Targets of all rows of the table.
    classes : ndarray of str of shape (n_classes,)
        What the class numbers mean.
    reported_on : str
    notes : list of str
        Of the splits.
    leaked : Leaks
        What tested images share with training images.
    """

    tasks: list[Task]
    tested: list[Rows]
    y: Targets
    classes: npt.NDArray[np.str_]
    reported_on: str
    notes: list[str]
    leaked: Leaks


def tasks_of(table: FeatureTable, *, folds: int, random_state: int, as_published: bool) -> Tasks:
    """Split a table.

    Parameters
    ----------
    table : FeatureTable
        With labels.
    folds : int
        For a table without splits.
    random_state : int
    as_published : bool

    Raises
    ------
    LabelsError
        Labels are missing in some rows, or are of one class.
    SplitError
        There is no usable split.
    UsageError
        Features are not finite.
    """
    if not len(table):
        raise LabelsError(
            f"the target holds no image with features ({len(table.failures)} failed); see `embedkit info`"
        )
    features = FeatureRows(table)
    splits = make_splits(
        cast(Labels, table.y),
        None if table.split is None else table.split.tolist(),
        groups=None if table.groups is None else table.groups.tolist(),
        folds=folds,
        random_state=random_state,
    )
    y, classes = encoded(table)
    tasks: list[Task] = []
    for split in splits:
        declared = _declares_validation(table, split)
        train = split.fit if declared else split.train
        tasks.append(
            Task(
                train=Labelled(X=features.take(train), y=y[train]),
                validation=Labelled(X=features.take(split.select), y=y[split.select]) if declared else None,
                cut=(np.searchsorted(train, split.fit), np.searchsorted(train, split.select)),
                selected_on=split.selected_on,
                test_features=features.take(split.test),
                n_classes=len(classes),
                random_state=random_state,
                as_published=as_published,
            )
        )
    return Tasks(
        tasks=tasks,
        tested=[split.test for split in splits],
        y=y,
        classes=classes,
        reported_on=splits[0].reported_on,
        notes=list(splits[0].notes),
        leaked=leaks(table, features, splits, random_state),
    )


def _declares_validation(table: FeatureTable, split: Split) -> bool:
    """Whether the selection rows are a split of the table, not cut from the training rows."""
    if table.split is None:
        return False
    return set(table.split[split.select].tolist()).isdisjoint(table.split[split.fit].tolist())
