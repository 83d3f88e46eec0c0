"""What the columns of a manifest mean: labels, split, groups, and the types of everything else.

A `Table` is what a manifest, the sidecars of an archive and the columns of a data set have in common: named columns of
text, and where each row was found, for messages.

Layer: images. NumPy only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import ManifestError, UsageError
from embedkit.images.reading import ImageRef
from embedkit.images.source import Column, ImageSource, Labels

TargetOption = Literal["auto", "class", "value", "multilabel"]

_INTEGER = re.compile(r"[+-]?[0-9]+")
# Leading zeros make a code (007), not a number.
_PLAIN_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_A_NUMBER = frozenset({"", "nan", "NaN", "NAN"})
_LABEL_SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of text of equal length; blank where a row has no value.

    Attributes
    ----------
    name : str
        Of the source: an absolute path, or a description.
    columns : dict of name to list of str
    place : callable
        Row number -> where it was found, such as ``"split.csv, line 7"``.
    """

    name: str
    columns: dict[str, list[str]]
    place: Callable[[int], str]


def source_of(
    table: Table,
    keys: list[str],
    images: Sequence[ImageRef],
    *,
    label_column: str | None,
    target_type: TargetOption,
    default_labels: Sequence[str] = ("label",),
    failures: Sequence[tuple[str, str]] = (),
) -> ImageSource:
    """Build a source whose labels, split, groups and further columns come from a table.

    Parameters
    ----------
    table : Table
        Without the column of paths.
    keys, images
        One a row.
    label_column : str or None
        Where the labels are; by default the first of `default_labels` that exists. The column named ``label`` is a
        further column when another one is chosen.
    target_type : {"auto", "class", "value", "multilabel"}
    default_labels : sequence of str
    failures : sequence of (key, reason)

    Raises
    ------
    ManifestError
        No such label column, or labels that are not of `target_type`.
    """
    columns = dict(table.columns)
    chosen = label_column or next((name for name in default_labels if name in columns), None)
    if chosen is not None and chosen not in columns:
        found = ", ".join(columns) or "none"
        raise ManifestError(f"{table.name}: no column {chosen!r} for the labels; further columns found: {found}")
    labels: Labels | None = None
    classes: list[str] = []
    if chosen is not None:
        # The label column may be one of the others as well: splits may be predicted from images.
        values = columns[chosen] if chosen in ("split", "group", "groups") else columns.pop(chosen)
        labels, classes = infer_labels(values, target_type, table.place)
    elif target_type != "auto":
        raise UsageError(f"{table.name}: target_type={target_type!r} without labels; name them by label_column")
    split = columns.pop("split", None)
    if split is not None:
        split = [name.strip() for name in split]
    groups = columns.pop("group", None) if "group" in columns else columns.pop("groups", None)
    return ImageSource(
        name=table.name,
        keys=keys,
        images=images,
        labels=labels,
        label_classes=classes,
        split=split,
        groups=groups,
        columns={name: infer_column(values) for name, values in columns.items()},
        failures=list(failures),
    )


def infer_column(values: Sequence[str]) -> Column:
    """Return a column of text as int64 if all are integers, float64 (blanks NaN) if all are numbers, else as it is."""
    filled = [value for value in values if value not in _NOT_A_NUMBER]
    if not filled:
        return list(values)
    if len(filled) == len(values) and all(_PLAIN_INTEGER.fullmatch(value) for value in values):
        integers = [int(value) for value in values]
        if all(-(1 << 63) <= integer < 1 << 63 for integer in integers):
            return np.array(integers, dtype=np.int64)
        return list(values)
    codes = any(_INTEGER.fullmatch(value) and not _PLAIN_INTEGER.fullmatch(value) for value in filled)
    if codes or not all(_NUMBER.fullmatch(value) for value in filled):
        return list(values)
    return _floats(values)


def infer_labels(
    values: Sequence[str], target_type: TargetOption, place: Callable[[int], str]
) -> tuple[Labels | None, list[str]]:
    """Return labels and the names of their classes; (None, []) when every one is blank.

    ``"auto"``: numbers with a fractional part among them are values; integers and everything else are classes. Classes
    written as ``1.0``, ``2.0`` are the integers they stand for. Where every label that is not blank is a JSON list of
    texts, such as ``["dog", "photo"]``, they are several classes an image.
    """
    values = [value.strip() for value in values]  # "red" and "red " would be two classes
    if not any(values):
        return None, []
    lists = _json_lists(values) if target_type in ("auto", "multilabel") else None
    if lists is not None and not any(lists):
        return None, []
    if lists is not None:
        return _multilabel(lists)
    if target_type == "multilabel":
        return _multilabel([value.split(_LABEL_SEPARATOR) for value in values])
    numbers = all(value in _NOT_A_NUMBER or _NUMBER.fullmatch(value) for value in values)
    if target_type == "value" or (target_type == "auto" and numbers and not _whole(values)):
        if not numbers:
            row = next(i for i, value in enumerate(values) if not (value in _NOT_A_NUMBER or _NUMBER.fullmatch(value)))
            raise ManifestError(f"{place(row)}: label {values[row]!r}, expected a number (target_type='value')")
        return _floats(values), []
    labels = list(values)
    if target_type == "auto" and numbers:
        labels = ["" if value in _NOT_A_NUMBER else _integer_name(value) for value in values]
    return labels, sorted(set(labels) - {""})


def _json_lists(values: Sequence[str]) -> list[list[str]] | None:
    """Return the lists that values are, blank an empty one; None unless each is blank or a JSON list of texts."""
    lists: list[list[str]] = []
    for value in values:
        if value and not value.startswith("["):
            return None
        try:
            found: object = json.loads(value) if value else []
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, list) or not all(isinstance(part, str) for part in cast("list[object]", found)):
            return None
        lists.append(cast("list[str]", found))
    return lists


def _multilabel(lists: Sequence[Sequence[str]]) -> tuple[npt.NDArray[np.bool_], list[str]]:
    sets = [{part.strip() for part in parts} - {""} for parts in lists]
    classes = sorted(set[str]().union(*sets))
    column = {name: index for index, name in enumerate(classes)}
    labels = np.zeros((len(lists), len(classes)), dtype=bool)
    for row, names in enumerate(sets):
        labels[row, [column[name] for name in names]] = True
    return labels, classes


def _whole(values: Sequence[str]) -> bool:
    return all(float(value).is_integer() for value in values if value not in _NOT_A_NUMBER)


def _integer_name(value: str) -> str:
    return value if _INTEGER.fullmatch(value) else str(int(float(value)))


def _floats(values: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.array([math.nan if value in _NOT_A_NUMBER else float(value) for value in values], dtype=np.float64)
