"""What a protocol is given and what it gives back.

A protocol sees the features of the test rows and never their labels: it cannot select on what it is reported on.

Layer: probes.protocols; above probes.predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import Predicted, Targets

Rows = npt.NDArray[np.intp]
Float32 = npt.NDArray[np.float32]
Param = float | int | str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One split of a table.

    Attributes
    ----------
    train : Labelled
        Training rows, without those of a validation split.
    validation : Labelled or None
        The rows of the validation split; None if the table declares none, or one that lacks a class.
    cut : tuple of two ndarrays of intp
        Without a validation split: rows of `train` to fit candidates on and rows to choose on, for protocols that leave
        the cut open.
    selected_on : str
        The validation split, or that cut, in words.
    test_features : ndarray of shape (n_test, n_features), float32
    n_classes : int
        Classes of the table: class numbers are below it. 0 for values.
    random_state : int
        0 is the seed of the original where it has one.
    as_published : bool
        Use the solver and the stop rule of the original, not the optimum of its objective.
    """

    train: Labelled
    validation: Labelled | None
    cut: tuple[Rows, Rows]
    selected_on: str
    test_features: Float32
    n_classes: int
    random_state: int = 0
    as_published: bool = False

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
        return self.train.y.ndim == 2


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
    others: Mapping[str, list[Predicted]] = field(default_factory=dict[str, list[Predicted]])
    notes: list[str] = field(default_factory=list[str])


NOTHING_SELECTED = "nothing is selected"
