"""Manifests: CSV and TSV files with a column ``path``, and whatever else is known about each image.

Layer: images. Standard library only; Parquet is next door.
"""

from __future__ import annotations

import csv
import io
import os
from array import array
from collections.abc import Callable, Iterator
from typing import BinaryIO

from embedkit.errors import EmptySourceError, ManifestError, SourceNotFoundError
from embedkit.images.access import is_url
from embedkit.images.archives import ArchiveIndex
from embedkit.images.columns import Table, TargetOption, source_of
from embedkit.images.reading import ImageRef
from embedkit.images.remote import locate, read_text_file
from embedkit.images.source import ImageSource, key_of

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def open_manifest(path: str, *, label_column: str | None, target_type: TargetOption, root: str | None) -> ImageSource:
    """Read a CSV or TSV manifest.

    Parameters
    ----------
    path : str
        Or a URL. The column ``path`` may hold URLs.
    label_column : str or None
        By default ``label``, if there is one.
    target_type : {"auto", "class", "value", "multilabel"}
    root : str or None
        The folder against which relative paths are resolved; by default the manifest's own.

    Raises
    ------
    ManifestError
        Not UTF-8, not CSV, no column ``path``, a row of another length, a path blank or listed twice, no such label
        column. Names the file and the line.
    EmptySourceError
        A header and no row.
    """
    return source_of_manifest(read_delimited(path), label_column=label_column, target_type=target_type, root=root)


def source_of_manifest(
    table: Table, *, label_column: str | None, target_type: TargetOption, root: str | None
) -> ImageSource:
    """Build the source of a table with a column ``path``, relative to the folder of the manifest or to `root`."""
    columns = dict(table.columns)
    if "path" not in columns:
        found = ", ".join(repr(name) for name in columns)
        raise ManifestError(f"{table.name}: no column 'path', expected one; columns found: {found or 'none'}")
    paths = columns.pop("path")
    if not paths:
        raise EmptySourceError(f"{table.name}: a header and no rows, expected one row an image")
    _check_paths(paths, table.place)
    locate = _locator(root if root is not None else os.path.dirname(table.name))
    return source_of(
        Table(table.name, columns, table.place),
        [key_of(path) for path in paths],
        [locate(path) for path in paths],
        label_column=label_column,
        target_type=target_type,
    )


def read_delimited(path: str) -> Table:
    """Read a CSV or TSV file (by its extension) as text; see `open_manifest` for what it raises."""
    name = path if is_url(path) else os.path.abspath(path)
    delimiter = DELIMITERS[os.path.splitext(path)[1].lower()]
    lines = array("Q")
    try:
        # A byte order mark is what spreadsheets put in front of UTF-8.
        with io.TextIOWrapper(_open(path), encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            try:
                header = _header(next(reader, list[str]()), path)
                columns: list[list[str]] = [[] for _ in header]
                for row in _rows(reader, len(header), path):
                    lines.append(reader.line_num)
                    for values, value in zip(columns, row, strict=True):
                        values.append(value)
            except csv.Error as error:
                raise ManifestError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}, line {_undecodable_line(path)}: not UTF-8; save the file as UTF-8") from error
    except SourceNotFoundError:
        raise
    except OSError as error:
        raise SourceNotFoundError(f"{path}: {error.strerror}, expected a manifest") from error
    return Table(name, dict(zip(header, columns, strict=True)), lambda row: f"{path}, line {lines[row]}")


def _header(names: list[str], path: str) -> list[str]:
    names = [name.strip() for name in names]
    if not any(names):
        raise ManifestError(f"{path}, line 1: empty, expected a header with a column 'path'")
    for name in names:
        if not name:
            raise ManifestError(f"{path}, line 1: a column without a name; columns found: {', '.join(names)}")
        if names.count(name) > 1:
            raise ManifestError(f"{path}, line 1: column {name!r} more than once, expected each name once")
    return names


def _rows(reader: Iterator[list[str]], width: int, path: str) -> Iterator[list[str]]:
    for row in reader:
        if not row:  # a blank line
            continue
        if len(row) != width:
            line = getattr(reader, "line_num", 0)
            raise ManifestError(f"{path}, line {line}: {len(row)} fields, expected {width} as in the header")
        yield row


def _check_paths(paths: list[str], place: Callable[[int], str]) -> None:
    first: dict[str, int] = {}
    for row, path in enumerate(paths):
        if not path.strip():
            raise ManifestError(f"{place(row)}: the path is blank; name a file, or remove the row")
        if "\x00" in path:
            raise ManifestError(f"{place(row)}: the path {path!r} holds a NUL")
        if first.setdefault(path, row) != row:
            raise ManifestError(f"{place(row)}: path {path!r} was listed before ({place(first[path])}); remove one")


def _locator(folder: str) -> Callable[[str], ImageRef]:
    """Return how a path in the manifest becomes an image: a file, or a member of a tar or zip archive."""
    archives = ArchiveIndex()

    def find(path: str) -> ImageRef:
        full = locate(path, folder)
        return archives.find(full) or full

    return find


def _open(path: str) -> BinaryIO:
    return io.BytesIO(read_text_file(path)) if is_url(path) else open(path, "rb")  # noqa: SIM115


def _undecodable_line(path: str) -> int:
    """Return the first line that is not UTF-8: the decoder reads in blocks and does not know."""
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
