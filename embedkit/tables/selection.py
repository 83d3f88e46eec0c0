"""Which rows of a table meet conditions.

Layer: tables; above head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.tables.head import TableHead


def selected_rows(
    head: TableHead,
    split: str | Sequence[str] | None,
    keys: str | Sequence[str] | None,
    mask: npt.NDArray[np.bool_] | Sequence[bool] | None,
    where: Mapping[str, object] | None,
) -> npt.NDArray[np.intp]:
    """Return the numbers of the rows that meet all conditions; see `FeatureTable.select`."""
    chosen = np.ones(len(head), dtype=np.bool_)
    if split is not None:
        chosen &= _in_splits(head, [split] if isinstance(split, str) else list(split))
    if mask is not None:
        chosen &= as_mask(np.asarray(mask), len(head))
    for name, wanted in (where or {}).items():
        chosen &= _has_value(head, name, wanted)
    asked = [keys] if isinstance(keys, str) else keys
    rows = np.flatnonzero(chosen) if asked is None else _rows_of(head, asked)
    return rows[chosen[rows]]


def as_mask(mask: npt.NDArray[Any], rows: int) -> npt.NDArray[np.bool_]:
    """Return a mask of rows, or raise UsageError where it is none."""
    if mask.dtype != np.bool_ or mask.shape != (rows,):
        raise UsageError(f"a mask is {mask.dtype} {mask.shape}; expected bool ({rows},)")
    return mask


def _in_splits(head: TableHead, wanted: Sequence[str]) -> npt.NDArray[np.bool_]:
    if head.split is None:
        raise UsageError(f"the table has no splits; split={list(wanted)!r} cannot be selected")
    known = sorted(set(head.split.tolist()) - {""})
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UsageError(f"there is no split {unknown[0]!r}; the splits are: {', '.join(map(repr, known))}")
    return np.isin(head.split, wanted)


def _has_value(head: TableHead, name: str, wanted: object) -> npt.NDArray[np.bool_]:
    if name not in head.columns:
        known = ", ".join(map(repr, head.columns)) or "none"
        raise UsageError(f"there is no column {name!r}; the columns are: {known}")
    several = isinstance(wanted, list | tuple | set | frozenset | np.ndarray)
    values = list(cast(Sequence[object], wanted)) if several else [wanted]
    column = head.columns[name]
    found = np.zeros(len(head), dtype=np.bool_)
    for value in values:
        found |= np.asarray(column == value, dtype=np.bool_)
    return found


def _rows_of(head: TableHead, keys: Sequence[str]) -> npt.NDArray[np.intp]:
    row_of = {key: row for row, key in enumerate(head.keys)}
    missing = [key for key in keys if key not in row_of]
    if missing:
        raise UsageError(f"{len(missing)} keys are not in the table, such as {missing[0]!r}")
    if len(set(keys)) < len(keys):
        raise UsageError("a key is asked for twice; a key names one row")
    return np.array([row_of[key] for key in keys], dtype=np.intp)
