"""What a protocol is given, and what it gives back.

A protocol sees the features of the test rows; the labels that come with its task are those of the other rows too, but
none of the protocols looks at a tested one: it cannot select on what it is reported on.

Layer: evaluation; above labels, feature_rows and splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.evaluation.feature_rows import FeatureRows, Float32
from embedkit.evaluation.labels import TableLabels, labels_of
from embedkit.evaluation.predictions import Predicted, Targets
from embedkit.evaluation.splits import VALIDATION, Rows, Split, make_splits
from embedkit.results import Candidate, Param
from embedkit.tables import FeatureTable

Steps = list[tuple[str, Any]]
"""Of a Pipeline: names and estimators."""

NOTHING_SELECTED = "nothing is selected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Rows with their targets, in the order of the table.

    Attributes
    ----------
    X : ndarray of shape (n, n_features), float32
    y : ndarray
        Class numbers (n,) intp, marks (n, n_classes) bool, or values (n,) float64.
    """

    X: Float32
    y: Targets

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: Rows) -> Labelled:
        """Give some of the rows."""
        return Labelled(X=self.X[rows], y=self.y[rows])

    def with_rows(self, other: Labelled) -> Labelled:
        """Give these rows and others behind them."""
        return Labelled(X=np.concatenate([self.X, other.X]), y=np.concatenate([self.y, other.y]))


@dataclass(frozen=True, kw_only=True)
class Task:
    """One split of a table.

    The arrays below are brought into memory when they are first asked for; `features` may be larger than that.

    Attributes
    ----------
    features : FeatureRows
    labels : TableLabels
    split : Split
    declared : bool
        Whether the rows that choose are a validation split of the table, not cut from its training rows.
    random_state : int
        0 is the seed of the original where it has one.
    as_published : bool
        Use the solver and the stop rule of the original, not the optimum of its objective.
    """

    features: FeatureRows
    labels: TableLabels
    split: Split
    declared: bool
    random_state: int = 0
    as_published: bool = False

    @cached_property
    def train(self) -> Labelled:
        """Training rows, without those of a validation split."""
        return self._labelled(self.split.fit if self.declared else self.split.train)

    @cached_property
    def validation(self) -> Labelled | None:
        """The rows of the validation split; None if the table declares none, or one that lacks a class."""
        return self._labelled(self.split.select) if self.declared else None

    @property
    def cut(self) -> tuple[Rows, Rows]:
        """Without a validation split: rows of `train` to fit on and to choose on, where a protocol leaves it open."""
        rows = self.split.fit if self.declared else self.split.train
        return np.searchsorted(rows, self.split.fit), np.searchsorted(rows, self.split.select)

    @cached_property
    def test_features(self) -> Float32:
        """Features of the tested rows, of shape (n_test, n_features)."""
        return self.features.take(self.split.test)

    @property
    def selected_on(self) -> str:
        """The validation split, or the cut, in words."""
        return self.split.selected_on

    @property
    def n_classes(self) -> int:
        """Classes of the table: class numbers are below it. 0 for values."""
        return len(self.labels.classes)

    @property
    def known(self) -> Labelled:
        """All rows that are not tested."""
        return self.train if self.validation is None else self.train.with_rows(self.validation)

    @property
    def fit_and_select(self) -> tuple[Labelled, Labelled]:
        """Training and validation split, or the cut of the training rows."""
        if self.validation is not None:
            return self.train, self.validation
        return self.train.take(self.cut[0]), self.train.take(self.cut[1])

    @property
    def is_multilabel(self) -> bool:
        """Whether a row may belong to several classes."""
        return self.labels.kind == "multilabel"

    def _labelled(self, rows: Rows) -> Labelled:
        return Labelled(X=self.features.take(rows), y=self.labels.targets[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a protocol found on one task.

    Attributes
    ----------
    draws : list of Predicted
        Predictions for the test rows: one, or one a seed; the reported value is the mean over seeds.
    params : dict
        What was chosen, or what the protocol fixes.
    n_train : int
        Rows that the reported model was fitted on.
    selected_on : str
        Which rows chose the hyper-parameters, in words.
    at_edge : bool
        A chosen value lies at an end of its grid.
    converged : bool
        Every fit that was chosen from, and the reported one, met its stop rule: the optimum by default, that of the
        original for `as_published`.
    steps : list of (str, estimator)
        Fitted on the training rows; empty where a protocol ships none, or where they would hold features larger than
        memory.
    candidates : list of Candidate
        What was chosen from.
    others : mapping of str to list of Predicted
        Other settings that the protocol reports beside (other shots, other numbers of neighbours).
    notes : list of str
    """

    draws: list[Predicted]
    params: dict[str, Param]
    n_train: int
    selected_on: str
    at_edge: bool = False
    converged: bool = True
    steps: Steps = field(default_factory=Steps)
    candidates: list[Candidate] = field(default_factory=list[Candidate])
    others: Mapping[str, list[Predicted]] = field(default_factory=dict[str, list[Predicted]])
    notes: list[str] = field(default_factory=list[str])


def tasks_of(
    table: FeatureTable, *, folds: int = 5, random_state: int = 0, as_published: bool = False, scored: bool = True
) -> list[Task]:
    """Split a table: one task for declared splits, else one a fold.

    Parameters
    ----------
    table : FeatureTable
        With labels.
    folds : int
        For a table without splits.
    random_state : int
    as_published : bool
    scored : bool
        Ask for scores of the classes.

    Raises
    ------
    LabelsError
        Labels are missing in some rows, or are of one class.
    SplitError
        There is no usable split.
    UsageError
        Features are not finite.
    """
    labels, features = labels_of(table, scored=scored), FeatureRows(table)
    splits = make_splits(
        labels.y,
        None if table.split is None else table.split.tolist(),
        groups=None if table.groups is None else table.groups.tolist(),
        folds=folds,
        random_state=random_state,
    )
    return [
        Task(
            features=features,
            labels=labels,
            split=split,
            declared=_declares_validation(table.split, split),
            random_state=random_state,
            as_published=as_published,
        )
        for split in splits
    ]


def validation_rows(names: Sequence[str]) -> Rows:
    """Return the rows of a declared validation split, also of one that lacks a class."""
    return np.flatnonzero([name.lower() in VALIDATION for name in names])


def _declares_validation(names: npt.NDArray[Any] | None, split: Split) -> bool:
    if names is None:
        return False
    return set(cast("list[str]", names[split.select].tolist())).isdisjoint(names[split.fit].tolist())
