"""What every record of a measurement knows: its kind, where it comes from, what it could not do, how it is kept.

A file of a result is one JSON object, whole in itself: ``{"embedkit": "result", "kind": ..., "schema": 1, ...fields}``,
arrays packed (docs/format.md). It holds no code, and nothing in it is executed.

Layer: results; above plain.
"""

from __future__ import annotations

import html
import importlib.metadata
import json
import os
import platform
import reprlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, cast

from embedkit.errors import OutputExistsError, ResultFileError
from embedkit.files import commit_to
from embedkit.results.plain import MOST_BYTES, as_lists, as_packed, from_plain, to_plain
from embedkit.text import printable

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Raised when a field changes its meaning; fields that are added leave it alone."""

_MOST_SHOWN = 20
"""Rows of a table in a `repr`."""

_MOST_IN_NOTEBOOK = 200

_WIDEST = 60
"""Characters of a cell in a `repr`."""

_LIBRARIES = ("torch", "timm", "scikit-learn", "numpy", "scipy", "h5py")


class Skipped(NamedTuple):
    """An image that is in no number, and why."""

    key: str
    reason: str


class Unavailable(NamedTuple):
    """Features that were wanted and cannot be had (mostly a floor), why, and of which data set."""

    model: str
    reason: str
    data: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a record comes from: enough to make it again.

    Attributes
    ----------
    request : dict
        The call: ``command``, and its arguments as plain values.
    data : list of str
        Names of the data sets.
    fingerprints : dict of str to str
        Of the features, by the name that the record gives them.
    split : dict of str to str
        Digest of the keys with the part that each belongs to, by data set.
    seeds : list of int
    created : str
        UTC, ISO 8601.
    machine : dict
        Name, processor architecture, operating system, cores, version of Python.
    versions : dict of str to str
        embedkit's and those of the libraries that computed.
    """

    request: dict[str, Any] = field(default_factory=dict[str, Any])
    data: list[str] = field(default_factory=list[str])
    fingerprints: dict[str, str] = field(default_factory=dict[str, str])
    split: dict[str, str] = field(default_factory=dict[str, str])
    seeds: list[int] = field(default_factory=list[int])
    created: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    machine: dict[str, Any] = field(default_factory=lambda: _machine())
    versions: dict[str, str] = field(default_factory=lambda: _versions())


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Base of every result.

    Attributes
    ----------
    origin : Origin
    skipped : list of (key, reason)
        Images that have no features and are in no number.
    notes : list of str
        What a reader should know before quoting a number.
    unavailable : list of (model, reason, data)
    read : list of str
        What was read, a line for each data set: labels, splits, what was passed over.
    """

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        """Keep `dataclass` from writing a `repr` of its own, which would hold every row."""
        cls.__repr__ = Record.__repr__

    origin: Origin = field(default_factory=Origin)
    skipped: list[Skipped] = field(default_factory=list[Skipped])
    notes: list[str] = field(default_factory=list[str])
    unavailable: list[Unavailable] = field(default_factory=list[Unavailable])
    read: list[str] = field(default_factory=list[str])

    def to_dict(self, *, rows: bool = True) -> dict[str, Any]:
        """Return plain JSON values.

        Parameters
        ----------
        rows : bool
            With the outcome of each row; without, what `--json` prints.
        """
        return {"kind": self.kind, "schema": SCHEMA, **to_plain(self, as_lists, rows=rows)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], *, most_bytes: int = MOST_BYTES) -> Self:
        """Build a record from `to_dict`'s values.

        Raises
        ------
        ResultFileError
            It is of another kind, of a newer schema, damaged, or its arrays take more than `most_bytes`.
        """
        if record.get("kind") != cls.kind:
            raise ResultFileError(
                f"the record is of the kind {reprlib.repr(record.get('kind'))}, expected {cls.kind!r}"
            )
        schema = record.get("schema")
        if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
            raise ResultFileError(
                f"the record has schema {reprlib.repr(schema)}, and this embedkit reads up to {SCHEMA}: "
                "install a newer embedkit"
            )
        return from_plain(cls, dict(record), cls.kind, most_bytes=most_bytes)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the record, with the outcome of each row, as one JSON file; whole, or not at all.

        Raises
        ------
        OutputExistsError
            The file is there, and `force` was not given.
        """
        target = Path(path)
        if os.path.lexists(target) and not force:
            raise OutputExistsError(f"{target} exists; name another file, or use --force (force=True) to replace it")
        record = {"embedkit": "result", "kind": self.kind, "schema": SCHEMA, **to_plain(self, as_packed)}
        commit_to(target, [json.dumps(record, allow_nan=False, indent=1).encode("utf-8")], sealed=False)
        return target

    def table(self) -> list[dict[str, Any]]:
        """Return the rows that a reader looks at first: the same columns in each."""
        return []

    def to_pandas(self) -> pd.DataFrame:
        """Return `table` as a data frame (needs pandas)."""
        import pandas as pd

        return pd.DataFrame(self.table())

    def __repr__(self) -> str:
        """Show the first rows of the table as text, with the notes below."""
        rows = self.table()
        lines = [printable(line) for line in _text_table(rows[:_MOST_SHOWN])]
        more = [f"and {len(rows) - _MOST_SHOWN:,} more"] if len(rows) > _MOST_SHOWN else []
        return "\n".join([printable(self._title()), *lines, *more, *map(printable, self._below())])

    def _repr_html_(self) -> str:
        """Show the first rows of the table in a notebook, with the notes below."""
        rows = self.table()
        more = [f"and {len(rows) - _MOST_IN_NOTEBOOK:,} more"] if len(rows) > _MOST_IN_NOTEBOOK else []
        return html_table(rows[:_MOST_IN_NOTEBOOK], [*more, *self._below()], caption=self._title())

    def _title(self) -> str:
        return type(self).__name__ + (f": {', '.join(self.origin.data)}" if self.origin.data else "")

    def _below(self) -> list[str]:
        return [*self.notes, *(f"{one.key}: {one.reason}" for one in self.skipped[:10])]


def html_table(rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = (), *, caption: str = "") -> str:
    """Write rows of equal columns, and lines below them, as HTML; every text in it is escaped.

    Columns that no row fills are left out.
    """
    names = _filled(rows)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(_cell(row[name]))}</td>' for name in names)}</tr>" for row in rows)
    below = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" + (
        f"<ul>{below}</ul>" if below else ""
    )


def _text_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = _filled(rows)
    cells = [names, *([_cell(row[name])[:_WIDEST] for name in names] for row in rows)] if names else []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _filled(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name in (rows[0] if rows else ()) if any(_cell(row[name]) for row in rows)]


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return ", ".join(f"{name}={_cell(part)}" for name, part in items)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list):
        return " - ".join(_cell(one) for one in value)  # pyright: ignore[reportUnknownVariableType]
    return "" if value is None else str(value)


def _machine() -> dict[str, Any]:
    return {
        "name": platform.node(),
        "processor": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _versions() -> dict[str, str]:
    found = {"embedkit": "embedkit", **{name: name for name in _LIBRARIES}}
    versions: dict[str, str] = {}
    for name, package in found.items():
        try:
            versions[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
