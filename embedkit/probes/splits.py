"""Which rows train, which choose hyper-parameters, which are reported: decided once, and said in words.

Layer: probes; above the store and the estimators, below workflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError, SplitError

Rows = npt.NDArray[np.intp]

_TRAIN = frozenset({"train", "training"})
_VALIDATION = frozenset({"val", "valid", "validation", "dev"})
_TEST = frozenset({"test", "testing"})

# The part of the training rows that chooses hyper-parameters where no validation split does.
SELECTION_FRACTION = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Disjoint rows of a table.

    Attributes
    ----------
    fit, select : ndarray of intp
        Rows that candidate hyper-parameters are fitted on and compared on.
    train : ndarray of intp
        Rows of the final fit: both of the above.
    test : ndarray of intp
        Rows that give the reported number; seen by no fit and no choice.
    selected_on, reported_on : str
        The same in words.
    notes : tuple of str
    """

    fit: Rows
    select: Rows
    test: Rows
    selected_on: str
    reported_on: str
    notes: tuple[str, ...] = ()

    @property
    def train(self) -> Rows:
        """Rows of the final fit."""
        return np.sort(np.concatenate([self.fit, self.select]))


def make_splits(
    y: npt.NDArray[np.str_], split: Sequence[str] | None, *, folds: int = 5, random_state: int = 0
) -> list[Split]:
    """Return the splits that a table is probed on: one if it names its own, else one a fold.

    Parameters
    ----------
    y : ndarray of shape (n_rows,), str
        Class labels; the empty string is a missing label.
    split : sequence of str or None
        The split column of the table.
    folds : int
        Number of stratified folds for a table without splits.
    random_state : int
        Seed of every random choice.

    Raises
    ------
    LabelsError
        A label is missing, or there is one class only.
    SplitError
        There is no train or no test split, or a class has fewer rows than there are folds.
    """
    missing = int(np.count_nonzero(y == ""))
    if missing:
        raise LabelsError(f"{missing} of {len(y)} rows have no label; give every image one, or leave those out")
    if split is None:
        return _folds(y, folds, random_state)
    return [_declared(y, np.array([name.lower() for name in split]), random_state)]


def _declared(y: npt.NDArray[np.str_], split: npt.NDArray[np.str_], random_state: int) -> Split:
    train, validation, test = (np.flatnonzero(np.isin(split, list(names))) for names in (_TRAIN, _VALIDATION, _TEST))
    found = ", ".join(
        f"{name or '(none)'}: {count}" for name, count in zip(*np.unique(split, return_counts=True), strict=True)
    )
    if not len(train):
        raise SplitError(f"no row belongs to a train split (found {found}); name the training rows 'train'")
    _require_classes(y[train], "the train split")
    notes: list[str] = []
    unused = [
        f"{name or '(none)'}: {count}"
        for name, count in zip(*np.unique(split, return_counts=True), strict=True)
        if name not in _TRAIN | _VALIDATION | _TEST
    ]
    if unused:
        notes.append(f"rows of other splits are not used ({', '.join(unused)}); known are train, val and test")
    if not len(test):
        if not len(validation):
            raise SplitError(f"no row belongs to a test split (found {found}); name the rows to report on 'test'")
        test, validation = validation, test
        notes.append("there is no test split: reported on the validation split, which chose nothing")
    unseen = np.setdiff1d(y[test], y[train])
    if len(unseen):
        notes.append(f"{len(unseen)} test classes have no training image and cannot be right: {_some(unseen)}")
    reported_on = f"{_name(split[test])} split ({len(test)} images)"
    lacking = np.setdiff1d(y[train], y[validation])
    if len(validation) and not len(lacking):
        return Split(
            fit=train,
            select=validation,
            test=test,
            selected_on=f"{_name(split[validation])} split ({len(validation)} images)",
            reported_on=reported_on,
            notes=tuple(notes),
        )
    if len(validation):
        notes.append(
            f"the {_name(split[validation])} split ({len(validation)} images) is not used: "
            f"it lacks {len(lacking)} of {len(np.unique(y[train]))} classes"
        )
    fit, select = stratified_part(y, train, SELECTION_FRACTION, random_state)
    return Split(
        fit=fit,
        select=select,
        test=test,
        selected_on=f"a stratified {SELECTION_FRACTION:.0%} of train ({len(select)} images)",
        reported_on=reported_on,
        notes=tuple(notes),
    )


def _folds(y: npt.NDArray[np.str_], folds: int, random_state: int) -> list[Split]:
    classes, counts = _require_classes(y, "the table")
    if folds < 2:
        raise SplitError(f"folds={folds}, expected at least 2")
    if counts.min() < folds:
        rare = classes[counts < folds]
        way_out = "ask for fewer folds" if counts.min() > 1 else "leave those classes out"
        raise SplitError(
            f"{len(rare)} of {len(classes)} classes have fewer images than the {folds} folds ({_some(rare)}; the "
            f"smallest has {counts.min()}); {way_out}, add images, or give a manifest with a split column"
        )
    random = np.random.default_rng(random_state)
    fold = np.empty(len(y), dtype=np.intp)
    start = 0
    for label in classes:
        rows = random.permutation(np.flatnonzero(y == label))
        # Where one class ends the next goes on, so that folds differ by one row at most.
        fold[rows] = (start + np.arange(len(rows))) % folds
        start += len(rows)
    splits: list[Split] = []
    for number in range(folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        fit, select = stratified_part(y, train, SELECTION_FRACTION, random_state)
        splits.append(
            Split(
                fit=fit,
                select=select,
                test=test,
                selected_on=f"a stratified {SELECTION_FRACTION:.0%} of each fold's training rows",
                reported_on=f"{folds}-fold cross-validation ({len(y)} images, each tested once)",
            )
        )
    return splits


def stratified_part(y: npt.NDArray[np.str_], rows: Rows, fraction: float, random_state: int) -> tuple[Rows, Rows]:
    """Cut rows in two, class by class; a class of one row stays whole in the first part.

    Returns
    -------
    rest, part : ndarray of intp
        `part` holds about `fraction` of each class, at least one row of each class of two or more.

    Raises
    ------
    SplitError
        No class has two rows.
    """
    random = np.random.default_rng(random_state)
    part: list[Rows] = []
    for label in np.unique(y[rows]):
        members = random.permutation(rows[y[rows] == label])
        if len(members) > 1:
            part.append(members[: max(1, round(fraction * len(members)))])
    if not part:
        raise SplitError(f"no class has two training images ({len(rows)} in all), so nothing is left to choose on")
    chosen = np.sort(np.concatenate(part))
    return np.setdiff1d(rows, chosen), chosen


def _require_classes(y: npt.NDArray[np.str_], where: str) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.intp]]:
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise LabelsError(
            f"{where} holds {len(classes)} class{'es' if not len(classes) else ''}"
            f"{'' if not len(classes) else f' ({classes[0]})'}, expected at least two: "
            "a folder needs one sub-folder a class, a manifest a label column"
        )
    return classes, counts


def _name(values: npt.NDArray[np.str_]) -> str:
    return "/".join(np.unique(values).tolist())


def _some(values: npt.NDArray[np.str_], limit: int = 3) -> str:
    shown = ", ".join(values[:limit].tolist())
    return shown if len(values) <= limit else f"{shown}, ..."
