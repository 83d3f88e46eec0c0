"""Manifests: CSV, TSV and JSON Lines with a column ``path``, and whatever else is known about each image.

Layer: images. Standard library only; Parquet is next door.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import posixpath
import re
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from embedkit.errors import EmptySourceError, ManifestError, SourceNotFoundError
from embedkit.files import open_regular
from embedkit.images.access import is_url
from embedkit.images.archives import ArchiveIndex
from embedkit.images.columns import Table, near_names, source_of
from embedkit.images.labels import TargetOption, kind_of, typed_text
from embedkit.images.layout import Layout
from embedkit.images.reading import ImageRef
from embedkit.images.remote import locate, read_text_file
from embedkit.images.source import ImageSource, key_of

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")

_DECIMAL_COMMA = re.compile(r"\s*[+-]?[0-9]+(,[0-9]+)?([eE][+-]?[0-9]+)?\s*")


def open_manifest(
    path: str,
    *,
    label_column: str | None,
    target_type: TargetOption,
    root: str | None,
    layout: Layout | None = None,
    image_column: str | None = None,
) -> ImageSource:
    """Read a CSV or TSV manifest, or one of JSON Lines.

    Parameters
    ----------
    path : str
        Or a URL. The column ``path`` may hold URLs.
    label_column : str or None
        By default ``label``, if there is one.
    target_type : {"auto", "class", "value", "multilabel"}
    root : str or None
        The folder against which relative paths are resolved; by default the manifest's own.
    layout : str, optional
        What the folders in the paths are; by default they mean nothing.
    image_column : str, optional
        The column of paths; by default ``path``, or else ``file_name``.

    Raises
    ------
    ManifestError
        Not UTF-8, not CSV, no column ``path``, a row of another length, a path blank or listed twice, no such label
        column. Names the file and the line.
    EmptySourceError
        A header and no row.
    """
    table = (
        read_json_lines(path)
        if path.lower().endswith(JSON_LINES)
        else read_delimited(path, points=target_type != "class")
    )
    return source_of_manifest(
        table,
        label_column=label_column,
        target_type=target_type,
        root=root,
        layout=layout,
        image_column=image_column,
    )


def source_of_manifest(
    table: Table,
    *,
    label_column: str | None,
    target_type: TargetOption,
    root: str | None,
    layout: Layout | None = None,
    image_column: str | None = None,
) -> ImageSource:
    """Build the source of a table with a column of paths, relative to the folder of the manifest or to `root`."""
    columns = dict(table.columns)
    paths = columns.pop(path_column(list(columns), table.name, image_column))
    if not paths:
        raise EmptySourceError(f"{table.name}: a header and no rows, expected one row an image")
    _check_paths(paths, table.place)
    locate = _locator(root if root is not None else os.path.dirname(table.name))
    images = [locate(path) for path in paths]
    notes = [*table.notes, *_twice(images, paths, table.place)]
    return source_of(
        Table(table.name, columns, table.place, table.kinds, notes),
        [key_of(path) for path in paths],
        images,
        label_column=label_column,
        target_type=target_type,
        layout=layout,
        paths=paths if layout is not None else None,
    )


def path_column(names: list[str], where: str, image_column: str | None = None) -> str:
    """Return the name of the column of paths: the one that is named, ``path``, or ``file_name`` as in imagefolder.

    Raises
    ------
    ManifestError
        There is none; names that look like it are offered.
    """
    for name in (image_column,) if image_column is not None else ("path", "file_name"):
        if name in names:
            return name
    found = ", ".join(repr(name) for name in names)
    near = near_names(names, "path")
    hint = f"; {near[0]!r} looks like it: rename it to 'path', or say --image-column {near[0]}" if near else ""
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|,"):
        hint = "; is another delimiter used? .csv is read with commas or semicolons, .tsv with tabs"
    elif not near and image_column is None:
        hint = "; rename the one that holds the paths to 'path', or name it by --image-column (image_column=...)"
    raise ManifestError(
        f"{where}: no column {image_column or 'path'!r}, expected one; columns found: {found or 'none'}{hint}"
    )


def read_delimited(path: str, data: bytes | None = None, *, points: bool = False) -> Table:
    """Read a CSV or TSV file (by its extension) as text; see `open_manifest` for what it raises.

    `data` are its bytes where `path` only names it. A ``.csv`` whose header holds semicolons and no comma is read with
    semicolons; with `points`, numbers that are written with decimal commas in it are given points.
    """
    name = path if is_url(path) else os.path.abspath(path)
    delimiter = DELIMITERS[os.path.splitext(path)[1].lower()]
    notes: list[str] = []
    lines = array("Q")
    try:
        # A byte order mark is what spreadsheets put in front of UTF-8.
        with io.TextIOWrapper(_open(path, data), encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            if delimiter == "," and "," not in first and ";" in first:
                delimiter = ";"
                notes.append("read with semicolons between its columns, since its header has no comma")
            reader = csv.reader(itertools.chain([first] if first else [], file), delimiter=delimiter, strict=True)
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
        raise ManifestError(
            f"{path}, line {_undecodable_line(path, data)}: not UTF-8; save the file as UTF-8 "
            "(spreadsheets call it 'CSV UTF-8')"
        ) from error
    except SourceNotFoundError:
        raise
    except OSError as error:
        raise SourceNotFoundError(f"{path}: {error.strerror}, expected a manifest") from error
    table = dict(zip(header, columns, strict=True))
    if delimiter == ";" and points:
        table = {name: _with_points(values, name, notes) for name, values in table.items()}
    return Table(name, table, lambda row: f"{path}, line {lines[row]}", notes=notes)


def read_json_lines(path: str, data: bytes | None = None) -> Table:
    """Read a file with one JSON object a line; texts in it stay texts. See `read_delimited` for `data`.

    Raises
    ------
    ManifestError
        A line that is no JSON object. Names the file and the line.
    SourceNotFoundError
    """
    records: list[dict[str, Any]] = []
    lines = array("Q")
    try:
        with _open(path, data) as file:
            for number, line in enumerate(file, start=1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not text.strip():
                    continue
                try:
                    record: object = json.loads(text)
                except (ValueError, RecursionError) as error:
                    raise ManifestError(f"{path}, line {number}: not JSON: {' '.join(str(error).split())}") from error
                if not isinstance(record, dict):
                    raise ManifestError(f"{path}, line {number}: not a JSON object, expected one a line")
                records.append(cast("dict[str, Any]", record))
                lines.append(number)
    except SourceNotFoundError:
        raise
    except OSError as error:
        raise SourceNotFoundError(f"{path}: {error.strerror}, expected a manifest") from error
    names = list(dict.fromkeys(name for record in records for name in record))
    values = {name: [record.get(name) for record in records] for name in names}
    columns = {name: [json_text(value) for value in column] for name, column in values.items()}
    for name, texts in columns.items():
        for row, text in enumerate(texts):
            if any("\ud800" <= letter <= "\udfff" for letter in name + text):
                raise ManifestError(f"{path}, line {lines[row]}: a lone surrogate, which is no text")
    return Table(
        path if is_url(path) else os.path.abspath(path),
        columns,
        lambda row: f"{path}, line {lines[row]}",
        {name: kind_of(column) for name, column in values.items()},
    )


def json_text(value: Any) -> str:
    """Return a value of JSON as the text of a column: blank for null, anything deeper as JSON."""
    return typed_text(value) if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


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


def _with_points(values: list[str], name: str, notes: list[str]) -> list[str]:
    """Return numbers that are all written with decimal commas, as spreadsheets do beside semicolons, with points."""
    written = [value for value in values if value.strip()]
    if not any("," in value for value in written) or not all(_DECIMAL_COMMA.fullmatch(value) for value in written):
        return values
    notes.append(f"the numbers of the column {name!r} have decimal commas")
    return [value.replace(",", ".") for value in values]


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


def _twice(images: list[ImageRef], paths: list[str], place: Callable[[int], str]) -> list[str]:
    """Say which rows name one file in two spellings, such as ``a.jpg`` and ``./a.jpg``."""
    files = [normal_path(ref) if isinstance(ref, str) else ref for ref in images]
    if len(set(files)) == len(files):  # pyright: ignore[reportArgumentType]
        return []
    first: dict[Any, int] = {}
    twice = [(first[file], row) for row, file in enumerate(files) if first.setdefault(file, row) != row]
    shown = f"{paths[twice[0][0]]!r} and {paths[twice[0][1]]!r}, {place(twice[0][1])}"
    return [f"{len(twice):,} rows name a file that another row names too ({shown}): they stay rows of their own"]


def normal_path(path: str) -> str:
    """Return a path or URL without the parts that lead nowhere."""
    if not is_url(path):
        return os.path.normpath(path)
    protocol, _, rest = path.partition("://")
    return f"{protocol}://{posixpath.normpath(rest)}"


def _open(path: str, data: bytes | None) -> BinaryIO:
    if data is not None:
        return io.BytesIO(data)
    return io.BytesIO(read_text_file(path)) if is_url(path) else io.BufferedReader(open_regular(Path(path)))


def _undecodable_line(path: str, data: bytes | None) -> int:
    """Return the first line that is not UTF-8: the decoder reads in blocks and does not know."""
    with _open(path, data) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
