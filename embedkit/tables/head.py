"""Everything of a feature table but its features: which row is which image, and what is known about it.

Layer: above text; knows no file format. numpy, errors and specs only.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.hdf5 import check_text
from embedkit.specs import FeatureSpec, Json, TargetType, canonical_json, require_equal

Labels = Sequence[str] | npt.NDArray[Any]
Column = Sequence[str] | npt.NDArray[Any]
Array = npt.NDArray[Any]

MAX_LABEL = 1024
"""Longest name of a class or column, in characters: `y` is an array as wide as its longest class."""

_MAX_REASON = 2000  # characters of a failure's reason that are kept
_SHOWN = 5  # keys that a message names


@dataclass(frozen=True, slots=True)
class Failure:
    """An image without features.

    Attributes
    ----------
    key : str
    reason : str
        One line.
    digest : bytes or None
        Its identity (32 bytes); None when its bytes could not be had.
    """

    key: str
    reason: str
    digest: bytes | None = None


class TableHead:
    """What a feature table says about its rows.

    Parameters
    ----------
    spec : FeatureSpec
    keys : sequence of str, n_rows
        Unique; valid Unicode without NUL.
    digests : ndarray of shape (n_rows, 32), uint8
        The identity of each row's image.
    labels : sequence of str, float ndarray of shape (n_rows,), bool ndarray of shape (n_rows, n_classes), optional
        Classes (``""`` where unknown), values (NaN where unknown) or a mark for each class.
    classes : sequence of str, optional
        All classes there are. Needed for several labels a row; by default the labels that occur, sorted.
    split, groups : sequence of str, optional
        ``""`` where a row has none.
    columns : mapping of str to sequence of str, or to float, int or bool ndarray of shape (n_rows,), optional
    failures : sequence of Failure
        Images that have no row. What cannot be stored of their text is escaped.
    provenance : mapping of str to JSON value, optional
        How the features came to be: ``model``, ``source``, ``created``, ... (docs/format.md).

    Attributes
    ----------
    keys : list of str
    y : ndarray or None
        Text of shape (n_rows,), float64 of shape (n_rows,), or bool of shape (n_rows, n_classes).
    target_type : {"class", "value", "multilabel", "none"}
    classes : list of str
        Empty for values and without labels.
    split, groups : object ndarray of shape (n_rows,), or None
    columns : dict of str to object, float64, int64 or bool ndarray of shape (n_rows,)

    Raises
    ------
    UsageError
        Lengths differ, keys repeat, a text cannot be stored, or a type is none of these.
    """

    y: Array | None
    target_type: TargetType
    classes: list[str]

    def __init__(
        self,
        *,
        spec: FeatureSpec,
        keys: Sequence[str],
        digests: npt.NDArray[np.uint8],
        labels: Labels | None = None,
        classes: Sequence[str] | None = None,
        split: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
        columns: Mapping[str, Column] | None = None,
        failures: Sequence[Failure] = (),
        provenance: Mapping[str, Json] | None = None,
    ) -> None:
        self.spec = spec
        self.keys: list[str] = list(keys)
        check_text(self.keys, "key")
        self.digests: npt.NDArray[np.uint8] = np.ascontiguousarray(digests)
        if self.digests.dtype != np.uint8 or self.digests.shape != (len(self.keys), 32):
            raise UsageError(
                f"digests are {self.digests.dtype} {self.digests.shape}, expected uint8 ({len(self.keys)}, 32)"
            )
        self.failures: list[Failure] = [_printable(failure) for failure in failures]
        _check_unique(self.keys)
        self.y, self.target_type, self.classes = _decode_labels(labels, classes, len(self.keys))
        self.split = None if split is None else _text_array(split, "split", len(self.keys))
        self.groups = None if groups is None else _text_array(groups, "groups", len(self.keys))
        self.columns: dict[str, Array] = {}
        for name, column in (columns or {}).items():
            check_text([name], "column name")
            if not 0 < len(name) <= MAX_LABEL:
                raise UsageError(f"a column's name has {len(name)} characters; expected 1 to {MAX_LABEL}")
            self.columns[name] = _column_array(column, f"column {name!r}", len(self.keys))
        self.provenance: dict[str, Json] = dict(provenance or {})
        try:
            canonical_json(self.provenance)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"provenance is not JSON: {error}; use text, finite numbers, lists and mappings"
            ) from error

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: npt.NDArray[np.intp]) -> Self:
        """Return the head of some rows, in the order given; failures stay."""
        taken = copy.copy(self)
        taken.keys = [self.keys[row] for row in rows.tolist()]
        taken.digests = self.digests[rows]
        taken.y = None if self.y is None else self.y[rows]
        taken.split = None if self.split is None else self.split[rows]
        taken.groups = None if self.groups is None else self.groups[rows]
        taken.columns = {name: column[rows] for name, column in self.columns.items()}
        return taken

    def with_label(self, column: str, target_type: Literal["class", "value"] | None = None) -> Self:
        """Return the head with another column as its labels; the first ones stay as the column ``label``.

        Parameters
        ----------
        column : str
            One of `columns`, ``"split"`` or ``"groups"``.
        target_type : {"class", "value"}, optional
            By default floats are values unless all are whole; whole numbers, text and truth values are classes.

        Raises
        ------
        UsageError
            There is no such column, or it does not hold what is asked for.
        """
        if column == "label" and "label" not in self.columns and target_type in (None, self.target_type):
            return self
        values = self.columns.get(column, {"split": self.split, "groups": self.groups}.get(column))
        if values is None:
            known = ", ".join(map(repr, self.columns)) or "none"
            raise UsageError(f"there is no column {column!r} to take labels from; the columns are: {known}")
        relabelled = copy.copy(self)
        if self.y is not None and self.y.ndim == 1 and "label" not in self.columns:
            before = self.y.astype(object) if self.target_type == "class" else self.y
            relabelled.columns = {**self.columns, "label": before}
        labels = _labels_of(values, target_type, column)
        relabelled.y, relabelled.target_type, relabelled.classes = _decode_labels(labels, None, len(self))
        return relabelled


def join_heads(heads: Sequence[TableHead], names: Sequence[str]) -> TableHead:
    """Put the rows of several heads behind each other.

    Parameters
    ----------
    heads : sequence of TableHead
        At least one.
    names : sequence of str
        What messages call them.

    Raises
    ------
    SpecMismatchError
        Their features were made in different ways.
    UsageError
        A key occurs twice, or they do not say the same kinds of things about their rows.
    """
    first = heads[0]
    for head, name in zip(heads, names, strict=True):
        require_equal(head.spec, first.spec, f"{name} holds other features than {names[0]}")
        kinds, expected = _column_kinds(head), _column_kinds(first)
        unlike = [
            f"{what} {found or 'none'} in {name}, {wanted or 'none'} in {names[0]}"
            for what, found, wanted in (
                ("labels of the kind", head.target_type, first.target_type),
                *((f"{column}:", kinds.get(column), expected.get(column)) for column in sorted({*kinds, *expected})),
            )
            if found != wanted
        ]
        if unlike:
            raise UsageError(
                f"only tables alike can be joined: {'; '.join(unlike)}; extract their images together, "
                "`embedkit extract FIRST SECOND -o both.h5`, which computes nothing again"
            )
    if first.target_type == "multilabel" and any(head.classes != first.classes for head in heads):
        raise UsageError("the tables mark different classes; only tables with the same classes can be joined")
    keys = [key for head in heads for key in head.keys]
    _check_unique(keys)
    joined = copy.copy(first)
    joined.keys = keys
    joined.digests = np.concatenate([head.digests for head in heads])
    joined.y = None if first.y is None else np.concatenate([cast(Array, head.y) for head in heads])
    if any(head.classes != first.classes for head in heads):
        joined.classes = sorted({name for head in heads for name in head.classes})
    joined.split = None if first.split is None else np.concatenate([cast(Array, head.split) for head in heads])
    joined.groups = None if first.groups is None else np.concatenate([cast(Array, head.groups) for head in heads])
    joined.columns = {name: np.concatenate([head.columns[name] for head in heads]) for name in first.columns}
    found = set(keys)
    joined.failures = [failure for head in heads for failure in head.failures if failure.key not in found]
    joined.provenance = {"joined": [cast(Json, head.provenance) for head in heads]}
    return joined


def _decode_labels(
    labels: Labels | None, classes: Sequence[str] | None, rows: int
) -> tuple[Array | None, TargetType, list[str]]:
    """Return (y, target_type, classes) for labels in any of the accepted forms."""
    if labels is None:
        return None, "none", []
    if len(labels) != rows:
        raise UsageError(f"there are {len(labels)} labels for {rows} rows; expected one a row")
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "f" and labels.ndim == 1:
        return labels.astype(np.float64), "value", []
    if isinstance(labels, np.ndarray) and labels.dtype == np.bool_ and labels.ndim == 2:
        names = _check_classes(list(classes or ()))
        if len(names) != labels.shape[1]:
            raise UsageError(f"labels mark {labels.shape[1]} classes, and {len(names)} classes are named")
        return np.ascontiguousarray(labels), "multilabel", names
    texts = cast(list[str], labels.tolist() if isinstance(labels, np.ndarray) else list(labels))
    check_text(texts, "label")
    occurring = {text for text in texts if text}
    names = _check_classes(sorted(occurring) if classes is None else list(classes))
    if not occurring <= set(names):
        unknown = sorted(occurring - set(names))[:_SHOWN]
        raise UsageError(f"the labels {unknown} are not among the {len(names)} classes; name all classes or none")
    return np.array(texts, dtype=np.str_), "class", names


def _labels_of(values: Array, target_type: Literal["class", "value"] | None, column: str) -> Labels:
    """Return a column as labels, by the rule for columns of manifests."""
    if values.dtype == object:
        if target_type == "value":
            raise UsageError(f"column {column!r} holds text, not values; take its labels as classes")
        return cast(list[str], values.tolist())
    if values.dtype == np.float64:
        whole = all(value.is_integer() for value in values.tolist() if not math.isnan(value))
        if target_type == "value" or (target_type is None and not whole):
            return values
        return [
            "" if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
            for value in values.tolist()
        ]
    return values.astype(np.float64) if target_type == "value" else [str(value) for value in values.tolist()]


def _check_classes(names: list[str]) -> list[str]:
    check_text(names, "class")
    if len(set(names)) != len(names) or "" in names:
        raise UsageError("a class is named twice, or has no name; name each class once")
    if max(map(len, names), default=0) > MAX_LABEL:
        raise UsageError(f"a class has more than {MAX_LABEL} characters; long text belongs into a column")
    return names


def _check_unique(keys: Sequence[str]) -> None:
    if len(set(keys)) == len(keys):
        return
    twice = [key for key, count in Counter(keys).items() if count > 1]
    shown = ", ".join(map(repr, twice[:_SHOWN])) + (", ..." if len(twice) > _SHOWN else "")
    raise UsageError(f"{len(twice)} keys occur more than once ({shown}); a key names one row")


def _text_array(values: Sequence[str], what: str, rows: int) -> Array:
    texts = cast(list[str], values.tolist() if isinstance(values, np.ndarray) else list(values))
    if len(texts) != rows:
        raise UsageError(f"{what} has {len(texts)} entries for {rows} rows; expected one a row")
    check_text(texts, what)
    array = np.empty(rows, dtype=object)
    array[:] = texts
    return array


def _column_array(values: Column, what: str, rows: int) -> Array:
    listed = not isinstance(values, np.ndarray)
    if listed and (not values or any(isinstance(cast(object, value), str) for value in values)):
        return _text_array(values, what, rows)
    array = np.asarray(values)
    match array.dtype.kind:
        case "U" | "O":
            return _text_array(cast(Sequence[str], values), what, rows)
        case "f":
            array = array.astype(np.float64)
        case "i" | "u" if array.size == 0 or int(array.max()) <= np.iinfo(np.int64).max:
            array = array.astype(np.int64)
        case "b":
            pass
        case _:
            raise UsageError(
                f"{what} is {array.dtype}; expected text, floats, whole numbers of 64 bits or truth values"
            )
    if array.shape != (rows,):
        raise UsageError(f"{what} has the shape {array.shape}, expected ({rows},)")
    return array


def _column_kinds(head: TableHead) -> dict[str, str]:
    kinds = {name: str(column.dtype).replace("object", "text") for name, column in sorted(head.columns.items())}
    return kinds | {name: "text" for name in ("split", "groups") if getattr(head, name) is not None}


def _printable(failure: Failure) -> Failure:
    """Return a failure that can be stored, whatever an exception or a file system put into it."""
    if failure.digest is not None and len(failure.digest) != 32:
        raise UsageError(f"the digest of the failure {failure.key!r} has {len(failure.digest)} bytes, expected 32")
    reason = " ".join(_storable(failure.reason).split())
    return Failure(_storable(failure.key), reason[:_MAX_REASON], failure.digest)


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
