"""What the columns of a manifest mean: labels, split, groups, and the types of everything else.

A `Table` is what a manifest, the sidecars of an archive and the columns of a data set have in common: named columns of
text, and where each row was found, for messages.

Layer: images. NumPy only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from embedkit.errors import ManifestError, UsageError
from embedkit.images.labels import INTEGER, NOT_A_NUMBER, NUMBER, CellKind, TargetOption, floats, infer_labels
from embedkit.images.layout import Layout, read_layout
from embedkit.images.reading import ImageRef
from embedkit.images.source import Column, ImageSource, Labels

# Leading zeros make a code (007), not a number.
_PLAIN_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")

# Names under which others keep what is looked for; they are offered, not taken.
_NEAR: dict[str, tuple[str, ...]] = {
    "path": (
        *("file_name", "filename", "file", "filepath", "file_path"),
        *("image", "image_path", "img", "img_path", "image_name", "name"),
    ),
    "label": ("labels", "class", "classes", "class_name", "category", "target", "targets", "y", "species"),
    "split": ("splits", "subset", "partition"),
}


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
    kinds : mapping of name to kind
        Of the columns that are typed where they come from.
    notes : list of str
    """

    name: str
    columns: dict[str, list[str]]
    place: Callable[[int], str]
    kinds: Mapping[str, CellKind] = field(default_factory=dict[str, CellKind])
    notes: list[str] = field(default_factory=list[str])


def source_of(
    table: Table,
    keys: list[str],
    images: Sequence[ImageRef],
    *,
    label_column: str | None,
    target_type: TargetOption,
    default_labels: Sequence[str] = ("label",),
    layout: Layout | None = None,
    paths: Sequence[str] | None = None,
    failures: Sequence[tuple[str, str]] = (),
    passed_over: Mapping[str, int] | None = None,
) -> ImageSource:
    """Build a source whose labels, split, groups and further columns come from a table, or from folders.

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
    layout : str, optional
        What the folders in `paths` are, for what no column says.
    paths : sequence of str, optional
        Of the images, where their folders count.
    failures : sequence of (key, reason)
    passed_over : mapping of str to int, optional

    Raises
    ------
    ManifestError
        No such label column, or labels that are not of `target_type`; what `read_layout` raises.
    UsageError
        `layout` where a column holds the labels.
    """
    notes = list(table.notes)
    columns = dict(table.columns)
    kinds = dict(table.kinds)
    chosen = label_column or next((name for name in default_labels if name in columns), None)
    if chosen is not None and chosen not in columns:
        found = ", ".join(columns) or "none"
        raise ManifestError(f"{table.name}: no column {chosen!r} for the labels; further columns found: {found}")
    if paths is not None:
        chosen = _add_folders(table.name, columns, kinds, chosen, layout, paths, notes)
    labels: Labels | None = None
    classes: list[str] = []
    if chosen is not None:
        # The label column may be one of the others as well: splits may be predicted from images.
        values = columns[chosen] if chosen in ("split", "group", "groups") else columns.pop(chosen)
        labels, classes = infer_labels(values, target_type, table.place, kinds.get(chosen, "written"), notes)
    elif target_type != "auto":
        raise UsageError(
            f"{table.name}: target_type={target_type!r} without labels; name them by --label-column (label_column=...)"
        )
    else:
        _note_near(columns, "label", "label_column", notes)
    split = columns.pop("split", None)
    if split is not None:
        split = [name.strip() for name in split]
    else:
        _note_near(columns, "split", "", notes)
    groups = columns.pop("group", None) if "group" in columns else columns.pop("groups", None)
    return ImageSource(
        name=table.name,
        keys=keys,
        images=images,
        labels=labels,
        label_classes=classes,
        split=split,
        groups=groups,
        columns={name: infer_column(values, kinds.get(name, "written")) for name, values in columns.items()},
        failures=list(failures),
        passed_over=dict(sorted((passed_over or {}).items())),
        notes=notes,
    )


def infer_column(values: Sequence[str], kind: CellKind = "written") -> Column:
    """Return a column of text as int64 if all are integers, float64 (blanks NaN) if all are numbers, else as it is.

    What was typed as text stays text.
    """
    filled = [value for value in values if value not in NOT_A_NUMBER]
    if not filled or kind == "text":
        return list(values)
    if len(filled) == len(values) and all(_PLAIN_INTEGER.fullmatch(value) for value in values):
        integers = [int(value) for value in values]
        if all(-(1 << 63) <= integer < 1 << 63 for integer in integers):
            return np.array(integers, dtype=np.int64)
        return list(values)
    codes = any(INTEGER.fullmatch(value) and not _PLAIN_INTEGER.fullmatch(value) for value in filled)
    if codes or not all(NUMBER.fullmatch(value) for value in filled):
        return list(values)
    return floats(values)


def near_names(names: Sequence[str], wanted: str) -> list[str]:
    """Return the names of columns that look like the one that is wanted: in another case, or a usual synonym."""
    near = [wanted, *_NEAR[wanted]]
    return [name for name in names if name != wanted and name.strip().lower() in near]


def _add_folders(
    where: str,
    columns: dict[str, list[str]],
    kinds: dict[str, CellKind],
    chosen: str | None,
    layout: Layout | None,
    paths: Sequence[str],
    notes: list[str],
) -> str | None:
    """Add what folders say and no column does; return the column of labels."""
    if chosen is not None and layout not in (None, "flat"):
        raise UsageError(
            f"{where}: layout={layout!r} reads labels from folders, but the column {chosen!r} holds them; "
            "leave one of the two out"
        )
    try:
        reading = read_layout(paths, where, layout)
    except ManifestError:
        if chosen is None:
            raise
        return chosen  # the folders need mean nothing where a column says it
    split, labels = reading.split, reading.labels
    if chosen is None:
        notes.extend(reading.notes)
        if labels is not None:
            columns["label"], kinds["label"], chosen = labels, "text", "label"
    elif labels is not None and len(set(labels)) > 1 and not _same_partition(columns[chosen], labels):
        notes.append(f"the column {chosen!r} holds the labels; the folders say something else and are not read")
    if split is not None and "split" not in columns:
        columns["split"] = split
    return chosen


def _same_partition(left: Sequence[str], right: Sequence[str]) -> bool:
    pairs = {(a, b) for a, b in zip(left, right, strict=True) if a and b}
    return max([*Counter(a for a, _ in pairs).values(), *Counter(b for _, b in pairs).values()], default=1) == 1


def _note_near(columns: Mapping[str, object], wanted: str, option: str, notes: list[str]) -> None:
    near = near_names(list(columns), wanted)
    if near:
        by_option = f"name it by --{option.replace('_', '-')} {near[0]} ({option}={near[0]!r})"
        way = by_option if option else f"rename it to {wanted!r}"
        notes.append(f"no column {wanted!r}; {', '.join(map(repr, near))} looks like it: if it is, {way}")
