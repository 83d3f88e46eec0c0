"""Which rows train, which choose hyper-parameters, which are reported: decided once, and said in words.

Cuts are stratified: classes keep their shares in every part; a row of several classes counts for the rarest of them;
values have no strata. Where the table has groups (a patient, a scene, a product), no cut of ours goes through one.

Layer: probes; above the store and the estimators, below workflows.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError, SplitError

Rows = npt.NDArray[np.intp]

_TRAIN = frozenset({"train", "training"})
VALIDATION = frozenset({"val", "valid", "validation", "dev"})
_TEST = frozenset({"test", "testing"})

Labels = npt.NDArray[np.str_] | npt.NDArray[np.float64] | npt.NDArray[np.bool_]

# The part of the training rows that chooses hyper-parameters where no validation split does.
SELECTION_FRACTION = 0.2
# More rows than these choose no better (the standard error of an accuracy is below 0.4 % then), but cost a kNN dearly.
_MOST_SELECTION_ROWS = 20_000
_FEWER = "ask for fewer folds (--folds N, folds=N)"


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
    y: Labels,
    split: Sequence[str] | None,
    *,
    groups: Sequence[str] | None = None,
    folds: int = 5,
    random_state: int = 0,
) -> list[Split]:
    """Return the splits that a table is probed on: one if it names its own, else one a fold.

    Parameters
    ----------
    y : ndarray of shape (n_rows,), str or float64, or of shape (n_rows, n_classes), bool
        Class labels, values, or marks of several classes; the empty string and NaN are missing labels.
    split : sequence of str or None
        The split column of the table.
    groups : sequence of str or None
        The group column of the table; the empty string is no group.
    folds : int
        Number of stratified folds for a table without splits.
    random_state : int
        Seed of every random choice.

    Raises
    ------
    LabelsError
        A label is missing, or there is one class only, or values that are all equal.
    SplitError
        There is no train or no test split, or a class has fewer rows (or the table fewer groups) than there are folds.
    """
    _require_labels(y)
    strata, codes = strata_of(y), None if groups is None else _group_codes(groups)
    if split is None:
        return _folds(y, strata, codes, folds, random_state)
    return [_declared(y, strata, codes, np.array([name.lower() for name in split], dtype=np.str_), random_state)]


def final_split(y: Labels, groups: Sequence[str] | None, rows: Rows, *, random_state: int = 0) -> Split:
    """Return the split of a fit on all rows, of which a part chooses and none is tested."""
    codes = None if groups is None else _group_codes(groups)
    rest, part = _selection(strata_of(y), codes, rows, random_state)
    return Split(fit=rest, select=part, test=part[:0], selected_on="", reported_on="")


def is_test(split: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Whether each row is in a test split, which nothing is fitted on: ndarray of shape (n_rows,)."""
    return np.array([name.lower() in _TEST for name in split], dtype=np.bool_)


def strata_of(y: Labels) -> npt.NDArray[np.str_]:
    """Return what each row is stratified by: its class, the rarest of its classes, or nothing."""
    if y.ndim == 2:
        marks = cast(npt.NDArray[np.bool_], y)
        counts = np.where(marks, marks.sum(axis=0), np.iinfo(np.int64).max)
        return np.where(marks.any(axis=1), counts.argmin(axis=1), -1).astype(np.str_)
    if y.dtype.kind == "f":
        return np.zeros(len(y), dtype="<U1")
    return cast(npt.NDArray[np.str_], y)


def _require_labels(y: Labels) -> None:
    if y.ndim == 2:
        found = np.flatnonzero(y.any(axis=0) & ~y.all(axis=0))
        if not len(found):
            raise LabelsError("no label marks some images and not others, expected at least one; check the labels")
        return
    missing = int(np.count_nonzero(np.isnan(cast(Any, y)) if y.dtype.kind == "f" else y == ""))
    if missing:
        raise LabelsError(
            f"{missing} of {len(y)} rows have no label; give every image one, or leave "
            "those out (drop_unlabelled=True, --drop-unlabelled)"
        )
    if y.dtype.kind == "f":
        if not np.isfinite(cast(Any, y)).all():
            raise LabelsError("some labels are infinite, expected finite values; correct them, or leave those out")
        _require_values(cast(npt.NDArray[np.float64], y), "the table")


def _require_values(y: npt.NDArray[np.float64], where: str) -> None:
    if len(np.unique(y)) < 2:
        shown = f"the value {y[0]:g} alone" if len(y) else "no value"
        raise LabelsError(f"{where} holds {shown}, expected at least two different ones: nothing can be explained")


def _declared(
    y: Labels,
    strata: npt.NDArray[np.str_],
    groups: Rows | None,
    split: npt.NDArray[np.str_],
    random_state: int,
) -> Split:
    train, validation, test = (np.flatnonzero(np.isin(split, list(names))) for names in (_TRAIN, VALIDATION, _TEST))
    found = ", ".join(
        f"{name or '(none)'}: {count}" for name, count in zip(*np.unique(split, return_counts=True), strict=True)
    )
    if not len(train):
        raise SplitError(f"no row belongs to a train split (found {found}); name the training rows 'train'")
    _require_variety(y[train], "the train split")
    notes: list[str] = []
    unused = [
        f"{name or '(none)'}: {count}"
        for name, count in zip(*np.unique(split, return_counts=True), strict=True)
        if name not in _TRAIN | VALIDATION | _TEST
    ]
    if unused:
        notes.append(f"rows of other splits are not used ({', '.join(unused)}); known are train, val and test")
    if not len(test):
        if not len(validation):
            raise SplitError(f"no row belongs to a test split (found {found}); name the rows to report on 'test'")
        test, validation = validation, test
        notes.append("there is no test split: reported on the validation split, which chose nothing")
    if y.dtype.kind == "f":
        _require_values(cast(npt.NDArray[np.float64], y[test]), "the test split")
    unseen = np.setdiff1d(strata[test], strata[train])
    if len(unseen) and y.ndim == 1:
        classes = "test class has" if len(unseen) == 1 else "test classes have"
        notes.append(f"{len(unseen)} {classes} no training image and cannot be right: {_some(unseen)}")
    reported_on = f"{_name(split[test])} split ({len(test)} images)"
    n_classes, n_lacking = _classes_lacking(y, train, validation)
    if len(validation) and not n_lacking:
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
            f"it lacks {n_lacking} of {n_classes} classes"
        )
    fit, select = _selection(strata, groups, train, random_state)
    return Split(
        fit=fit,
        select=select,
        test=test,
        selected_on=f"{_part_of(train, select, groups)} of train ({len(select)} images)",
        reported_on=reported_on,
        notes=tuple(notes),
    )


def _classes_lacking(y: Labels, train: Rows, validation: Rows) -> tuple[int, int]:
    """Return how many classes training rows are of, and how many of these no validation row is of; 0 for values."""
    if y.dtype.kind == "f":
        return 0, 0
    if y.ndim == 2:
        known, there = (cast(npt.NDArray[np.bool_], y)[rows].any(axis=0) for rows in (train, validation))
        return int(known.sum()), int((known & ~there).sum())
    return len(np.unique(y[train])), len(np.setdiff1d(y[train], y[validation]))


def _folds(y: Labels, strata: npt.NDArray[np.str_], groups: Rows | None, folds: int, random_state: int) -> list[Split]:
    _require_variety(y, "the table")
    if folds < 2:
        raise SplitError(f"folds={folds}, expected at least 2")
    if y.ndim == 1 and y.dtype.kind != "f":
        _require_rows_for(strata, folds)
    if len(y) < 2 * folds:
        raise SplitError(f"the table has {len(y)} rows, too few for {folds} folds; add images, or {_FEWER}")
    notes: list[str] = []
    if groups is None:
        fold = _stratified_folds(strata, folds, random_state)
    else:
        n_groups = len(np.unique(groups))
        if n_groups == 1:
            raise SplitError("all rows are of one group, and groups are not split; add images of other groups")
        if n_groups < folds:
            raise SplitError(f"the table has {n_groups} groups, fewer than the {folds} folds; {_FEWER}")
        fold = _grouped_folds(strata, groups, folds, random_state)
        notes += _alone(y, strata, fold)
    splits: list[Split] = []
    for number in range(folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        fit, select = _selection(strata, groups, train, random_state)
        grouped = "" if groups is None else f", no group of {len(np.unique(groups))} in two folds"
        splits.append(
            Split(
                fit=fit,
                select=select,
                test=test,
                selected_on=f"{_part_of(train, select, groups)} of each fold's training rows",
                reported_on=f"{folds}-fold cross-validation ({len(y)} images, each tested once{grouped})",
                notes=tuple(notes),
            )
        )
    return splits


def _stratified_folds(strata: npt.NDArray[np.str_], folds: int, random_state: int) -> Rows:
    random = np.random.default_rng(random_state)
    fold = np.empty(len(strata), dtype=np.intp)
    start = 0
    for rows in _members(strata, np.arange(len(strata))):
        # Where one stratum ends the next goes on, so that folds differ by one row at most.
        fold[random.permutation(rows)] = (start + np.arange(len(rows))) % folds
        start += len(rows)
    return fold


def _grouped_folds(strata: npt.NDArray[np.str_], groups: Rows, folds: int, random_state: int) -> Rows:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = cast(Any, StratifiedGroupKFold)(folds, shuffle=True, random_state=random_state)
    _, codes = np.unique(strata, return_inverse=True)
    if np.bincount(codes).max() < folds:
        codes = np.zeros_like(codes)  # scikit-learn refuses strata that are all smaller than the folds
    fold = np.zeros(len(strata), dtype=np.intp)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # said by _alone where it matters
        for number, (_, test) in enumerate(splitter.split(codes, codes, groups)):
            fold[test] = number
    return fold


def _alone(y: Labels, strata: npt.NDArray[np.str_], fold: Rows) -> list[str]:
    """Say which classes are all in one fold, so that they are tested without training images."""
    if y.ndim == 2 or y.dtype.kind == "f":
        return []
    pairs = np.unique(np.stack([np.unique(strata, return_inverse=True)[1], fold]), axis=1)
    alone = np.unique(strata)[np.bincount(pairs[0]) < 2]
    if not len(alone):
        return []
    return [f"{len(alone)} classes are of one group (or fold) only and cannot be right when tested: {_some(alone)}"]


def _selection(strata: npt.NDArray[np.str_], groups: Rows | None, rows: Rows, random_state: int) -> tuple[Rows, Rows]:
    """Cut training rows into those that candidates are fitted on and those that choose among them."""
    if groups is None:
        fraction = min(SELECTION_FRACTION, _MOST_SELECTION_ROWS / len(rows))
        return stratified_part(strata, rows, fraction, random_state)
    n_groups = len(np.unique(groups[rows]))
    if n_groups < 2:
        raise SplitError("the training rows are of one group, so no group is left to choose on; give more groups")
    fold = _grouped_folds(strata[rows], groups[rows], min(round(1 / SELECTION_FRACTION), n_groups), random_state)
    n_strata = len(np.unique(strata[rows]))
    # The part that leaves most classes to fit on; of equals the first.
    seen = [len(np.unique(strata[rows[fold != number]])) for number in range(int(fold.max()) + 1)]
    chosen = int(np.argmax(seen))
    rest, part = rows[fold != chosen], rows[fold == chosen]
    if seen[chosen] < min(2, n_strata) or not len(part):
        raise SplitError("no group can be left out without losing all classes but one; give more groups")
    return rest, part


def stratified_part(strata: npt.NDArray[np.str_], rows: Rows, fraction: float, random_state: int) -> tuple[Rows, Rows]:
    """Cut rows in two, stratum by stratum; one of a single row stays whole in the first part.

    Returns
    -------
    rest, part : ndarray of intp
        `part` holds about `fraction` of each stratum, at least one row of each of two or more.

    Raises
    ------
    SplitError
        No stratum has two rows.
    """
    random = np.random.default_rng(random_state)
    part: list[Rows] = []
    for found in _members(strata, rows):
        members = random.permutation(found)
        if len(members) > 1:
            part.append(members[: max(1, round(fraction * len(members)))])
    if not part:
        raise SplitError(f"no class has two training images ({len(rows)} in all), so nothing is left to choose on")
    chosen = np.sort(np.concatenate(part))
    return np.setdiff1d(rows, chosen), chosen


def shared_groups(groups: Sequence[str], train: Rows, test: Rows) -> npt.NDArray[np.bool_]:
    """Say of each tested row whether training rows are of its group."""
    codes = _group_codes(groups)
    return np.isin(codes[test], codes[train])


def _members(strata: npt.NDArray[np.str_], rows: Rows) -> list[Rows]:
    """Return the rows of each stratum, strata in order."""
    _, codes = np.unique(strata[rows], return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(codes[order])) + 1)


def _group_codes(groups: Sequence[str]) -> Rows:
    """Return the number of each row's group; a row without one is a group of its own."""
    names = np.asarray(groups, dtype=np.str_)
    _, codes = np.unique(names, return_inverse=True)
    codes = codes.astype(np.intp)
    without = np.flatnonzero(names == "")
    codes[without] = codes.max(initial=0) + 1 + np.arange(len(without))
    return codes


def _require_variety(y: Labels, where: str) -> None:
    """Raise LabelsError unless there are two classes or two values to tell apart."""
    if y.dtype.kind == "f":
        _require_values(cast(npt.NDArray[np.float64], y), where)
    elif y.ndim == 1:
        _require_two_classes(cast(npt.NDArray[np.str_], y), where)


def _require_two_classes(y: npt.NDArray[np.str_], where: str) -> None:
    classes = np.unique(y)
    if len(classes) < 2:
        raise LabelsError(
            f"{where} holds {len(classes)} class{'es' if not len(classes) else ''}"
            f"{'' if not len(classes) else f' ({classes[0]})'}, expected at least two: "
            "a folder needs one sub-folder a class, a manifest a label column"
        )


def _require_rows_for(strata: npt.NDArray[np.str_], folds: int) -> None:
    classes, counts = np.unique(strata, return_counts=True)
    if counts.min() < folds:
        rare = classes[counts < folds]
        way_out = _FEWER if counts.min() > 1 else "leave those classes out"
        raise SplitError(
            f"{len(rare)} of {len(classes)} classes have fewer images than the {folds} folds ({_some(rare)}; the "
            f"smallest has {counts.min()}); {way_out}, add images, or give a manifest with a split column"
        )


def _part_of(train: Rows, select: Rows, groups: Rows | None) -> str:
    wanted = min(SELECTION_FRACTION, _MOST_SELECTION_ROWS / len(train))
    return f"a stratified {wanted:.0%}" if groups is None else f"whole groups, {len(select) / len(train):.0%}"


def _name(values: npt.NDArray[np.str_]) -> str:
    return "/".join(np.unique(values).tolist())


def _some(values: npt.NDArray[np.str_], limit: int = 3) -> str:
    return ", ".join([*values[:limit].tolist(), *(["..."] if len(values) > limit else [])])
