"""diff: how one feature file differs from another.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.backbones import centred_cosines
from embedkit.results import ChangedRow, ChangedSetting, FeatureDiff, MovedRow
from embedkit.specs import canonical_json, differences
from embedkit.tables import FeatureTable
from embedkit.workflows.origins import origin_of

_BLOCK = 4096  # rows compared at a time


def diff(first: FeatureTable | str | os.PathLike[str], second: FeatureTable | str | os.PathLike[str]) -> FeatureDiff:
    """Compare two feature files: rows added, removed and changed, how features were made, and how far they drift.

    Rows are matched by key. Features are compared for rows of the same image (equal digests), under one key or moved to
    another, where both files have them of one backbone, layer and preprocessing; engine, precision, decoder and stored
    type may differ.

    Parameters
    ----------
    first, second : FeatureTable or path

    Returns
    -------
    FeatureDiff

    Raises
    ------
    FeatureFileError
        A file cannot be read.

    Examples
    --------
    >>> diff("monday.h5", "friday.h5").added  # doctest: +SKIP
    ['photos/new.jpg']
    """
    one, other = _opened(first), _opened(second)
    row_in_other = {key: row for row, key in enumerate(other.keys)}
    common = [(row, row_in_other[key]) for row, key in enumerate(one.keys) if key in row_in_other]
    rows = np.array(common, dtype=np.intp).reshape(-1, 2)
    same_image = (one.digests[rows[:, 0]] == other.digests[rows[:, 1]]).all(axis=1)
    same_backbone = one.spec.model_identity == other.spec.model_identity
    moved = _moved(one, other, rows)
    compared = np.concatenate([rows[same_image], moved]) if same_backbone else rows[:0]
    unequal, cosines = _drift(one, other, compared)
    worst = int(cosines.argmin()) if len(cosines) else None
    names = [_name(first), _name(second)]
    return FeatureDiff(
        origin=origin_of(
            "diff",
            {"first": names[0], "second": names[1]},
            sources=names,
            fingerprints={"first": one.spec.fingerprint, "second": other.spec.fingerprint},
        ),
        first=names[0],
        second=names[1],
        first_rows=len(one),
        second_rows=len(other),
        added=[key for key in other.keys if key not in set(one.keys)] if len(other) > len(common) else [],
        removed=[key for key in one.keys if key not in row_in_other],
        moved=[MovedRow(first=one.keys[int(pair[0])], second=other.keys[int(pair[1])]) for pair in moved],
        changed=_changed(one, other, rows, same_image),
        settings=[
            ChangedSetting(name=name, first=canonical_json(found), second=canonical_json(wanted))
            for name, found, wanted in differences(one.spec, other.spec)
        ],
        same_backbone=same_backbone,
        compared=len(compared),
        unequal=unequal,
        worst=None if worst is None else float(cosines[worst]),
        mean=None if worst is None else float(cosines.mean()),
        worst_key="" if worst is None else one.keys[int(compared[worst, 0])],
    )


def _moved(one: FeatureTable, other: FeatureTable, common: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Pair rows of one image whose keys only one table has, in their order; of shape (n, 2)."""
    there: dict[bytes, list[int]] = {}
    for row in np.setdiff1d(np.arange(len(other)), common[:, 1])[::-1].tolist():
        there.setdefault(other.digests[row].tobytes(), []).append(row)
    gone = np.setdiff1d(np.arange(len(one)), common[:, 0]).tolist()
    pairs = [(row, rows.pop()) for row in gone if (rows := there.get(one.digests[row].tobytes()))]
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def _opened(source: FeatureTable | str | os.PathLike[str]) -> FeatureTable:
    return source if isinstance(source, FeatureTable) else FeatureTable.open(source)


def _name(source: FeatureTable | str | os.PathLike[str]) -> str:
    return repr(source) if isinstance(source, FeatureTable) else os.fspath(source)


def _changed(
    one: FeatureTable, other: FeatureTable, rows: npt.NDArray[np.intp], same_image: npt.NDArray[np.bool_]
) -> list[ChangedRow]:
    fields: dict[int, list[str]] = {place: ["image"] for place in np.flatnonzero(~same_image).tolist()}
    for name in dict.fromkeys(["label", "split", "groups", *one.columns, *other.columns]):
        left, right = _column(one, name, rows[:, 0]), _column(other, name, rows[:, 1])
        for place, (before, after) in enumerate(zip(left, right, strict=True)):
            if before != after:
                fields.setdefault(place, []).append(name)
    return [ChangedRow(key=one.keys[int(rows[place, 0])], fields=fields[place]) for place in sorted(fields)]


def _column(table: FeatureTable, name: str, rows: npt.NDArray[np.intp]) -> list[Any]:
    """Return the values of rows, comparable with those of another table; None where they are not known."""
    own: dict[str, npt.NDArray[Any] | None] = {"label": table.y, "split": table.split, "groups": table.groups}
    column = own[name] if name in own else table.columns.get(name)
    if column is None:
        return [None] * len(rows)
    values = column[rows].tolist()
    if name == "label" and table.target_type == "multilabel":
        return [frozenset(table.classes[place] for place in np.flatnonzero(marks)) for marks in values]
    return [None if value != value or value == "" else value for value in values]


def _drift(one: FeatureTable, other: FeatureTable, rows: npt.NDArray[np.intp]) -> tuple[int, npt.NDArray[np.float64]]:
    """Count rows that are not equal, and give the centred cosine of each."""
    if not len(rows):
        return 0, np.empty(0)
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    total = np.zeros(one.spec.backbone.width)
    for block in blocks:
        total += one[block[:, 0]].X.sum(axis=0, dtype=np.float64)
    unequal, cosines = 0, list[npt.NDArray[np.float64]]()
    for block in blocks:
        left, right = one[block[:, 0]].X, other[block[:, 1]].X
        unequal += int((~((left == right) | (np.isnan(left) & np.isnan(right))).all(axis=1)).sum())
        cosines.append(centred_cosines(right, left, total / len(rows)))
    return unequal, np.concatenate(cosines)
