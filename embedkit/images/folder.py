"""A folder of images: its sub-folders are classes, or splits of classes, or it is flat.

Files ``metadata.csv`` or ``metadata.jsonl`` with a column ``file_name`` say more about the images that lie beside and
below them, as in the imagefolder convention of ``datasets``.

Layer: images. Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from embedkit.errors import EmptySourceError, ManifestError, SourceNotFoundError
from embedkit.images.columns import Table, source_of
from embedkit.images.kinds import HEAD_BYTES, IMAGE_EXTENSIONS, is_image_name, is_known_name
from embedkit.images.labels import CellKind, TargetOption
from embedkit.images.layout import Layout
from embedkit.images.manifest import read_delimited, read_json_lines
from embedkit.images.reading import read_head
from embedkit.images.remote import is_url, locate
from embedkit.images.source import ImageSource, key_of
from embedkit.images.walk import clutter, find_images, reason_of

METADATA = ("metadata.csv", "metadata.jsonl")

# Files at a URL into which is looked at once, where their names do not say whether they are images.
_LOOKS_AT_ONCE = 16


def open_folder(
    folder: str,
    *,
    label_column: str | None = None,
    target_type: TargetOption = "auto",
    layout: Layout | None = None,
) -> ImageSource:
    """List the images in a folder.

    Every file with an image's extension is a row, in any depth, whether or not it turns out to be an image; so is a
    file whose name says nothing, and whose first bytes are an image's. Hidden files and folders are left out. Links to
    folders are followed, except back to a folder that the link lies in.

    Parameters
    ----------
    folder : str
    label_column : str, optional
        Of the metadata in the folder.
    target_type : {"auto", "class", "value", "multilabel"}
    layout : str, optional
        What the sub-folders are; see `read_layout`.

    Returns
    -------
    ImageSource
        Rows sorted by key, the POSIX path relative to the folder.

    Raises
    ------
    SourceNotFoundError
        No such folder, or it may not be listed.
    EmptySourceError
        No image in it.
    ManifestError
        Metadata that cannot be understood; folders that can be read in two ways.
    """
    failures: list[tuple[str, str]] = []
    return folder_of(
        folder,
        _walk(folder, failures),
        failures,
        label_column=label_column,
        target_type=target_type,
        layout=layout,
    )


def folder_of(
    folder: str,
    paths: Iterable[str],
    failures: Sequence[tuple[str, str]] = (),
    *,
    label_column: str | None = None,
    target_type: TargetOption = "auto",
    layout: Layout | None = None,
) -> ImageSource:
    """Return the source of a folder, or of the URL of one, in which these files lie; see `open_folder`.

    Parameters
    ----------
    folder : str
    paths : iterable of str
        Relative to it. A folder that is left out as a whole ends in ``/``.
    failures : sequence of (key, reason)
    label_column, target_type, layout
    """
    listed = sorted(paths, key=key_of)
    found = find_images(listed, _heads(folder, listed))
    images = [listed[number] for number in found.images]
    if not images:
        seen = f"; {failures[0][0]}: {failures[0][1]}" if failures else ""
        passed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(found.passed_over.items()))
        raise EmptySourceError(
            f"{folder}: no image in it, expected files ending in {', '.join(IMAGE_EXTENSIONS[:5])}, ..."
            f"{f'; passed over: {passed}' if passed else ''}{seen}"
        )
    keys = [key_of(path) for path in images]
    name = folder if is_url(folder) else os.path.abspath(folder)
    others = [listed[number] for number in found.others if listed[number].rpartition("/")[2].lower() in METADATA]
    tables = [(key_of(path), read_metadata(locate(path, folder))) for path in others]
    table, used, missing = join_metadata(name, keys, tables)
    for path in used:
        found.passed_over[reason_of(path)] -= 1
    if label_column is not None and not tables:
        raise ManifestError(
            f"{folder}: a folder has no column {label_column!r}; its sub-folders are the labels, or use a manifest"
        )
    table.notes.extend(found.notes)
    return source_of(
        table,
        keys,
        [locate(path, folder) for path in images],
        label_column=label_column,
        target_type=target_type,
        layout=layout,
        paths=keys,
        failures=sorted([*failures, *missing]),
        passed_over=+found.passed_over,
    )


def join_metadata(
    name: str, keys: Sequence[str], tables: Sequence[tuple[str, Table]]
) -> tuple[Table, list[str], list[tuple[str, str]]]:
    """Join what files of metadata say to the images of a folder.

    Parameters
    ----------
    name : str
        Of the source.
    keys : sequence of str
        Of the images, relative to the folder.
    tables : sequence of (path, Table)
        The files, with their paths relative to the folder.

    Returns
    -------
    Table
        Blank where nothing is said about an image.
    used : list of str
        The paths of the files that have a column ``file_name``.
    missing : list of (key, reason)
        What they name and is not there.

    Raises
    ------
    ManifestError
        A file is named twice.
    """
    rows = {key: row for row, key in enumerate(keys)}
    columns: dict[str, list[str]] = {}
    kinds: dict[str, CellKind] = {}
    used: list[str] = []
    missing: list[tuple[str, str]] = []
    said = [False] * len(keys)
    for path, table in sorted(tables, key=lambda item: item[0]):
        if "file_name" not in table.columns:
            continue
        used.append(path)
        base = path.rpartition("/")[0]
        for at, file in enumerate(table.columns["file_name"]):
            key = "/".join(part for part in f"{base}/{file}".split("/") if part not in ("", "."))
            row = rows.get(key)
            if row is None:
                missing.append((key or file, f"named in {path}, but there is no such image"))
            elif said[row]:
                raise ManifestError(f"{table.place(at)}: {file!r} was named before, expected one row an image")
            else:
                said[row] = True
                for column, values in table.columns.items():
                    if column != "file_name":
                        columns.setdefault(column, [""] * len(keys))[row] = values[at]
        for column in table.columns:
            kind = table.kinds.get(column, "written")
            both = {kind, kinds.get(column, kind)}
            kinds[column] = kind if len(both) == 1 else "text" if "text" in both else "written"
    notes: list[str] = []
    if used and not all(said):
        notes.append(f"{said.count(False):,} of {len(keys):,} images are not named in {', '.join(used)}")
    kinds = {column: kind for column, kind in kinds.items() if column in columns}
    return Table(name, columns, lambda row: keys[row], kinds, notes), used, missing


def read_metadata(path: str, data: bytes | None = None) -> Table:
    """Read a file of metadata, or its bytes where the path only names it."""
    return read_json_lines(path, data) if path.lower().endswith(".jsonl") else read_delimited(path, data)


def _heads(folder: str, paths: Sequence[str]) -> Callable[[str], bytes]:
    """Return how to look into a file; those at a URL are looked into now, many at once."""
    if not is_url(folder):
        return lambda path: read_head(os.path.join(folder, path), HEAD_BYTES)
    unsure = [path for path in paths if not is_image_name(name := path.rpartition("/")[2]) and not is_known_name(name)]
    with ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="embedkit-look") as executor:
        heads = executor.map(read_head, [locate(path, folder) for path in unsure], repeat(HEAD_BYTES))
        return dict(zip(unsure, heads, strict=True)).__getitem__


def _walk(root: str, failures: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the relative paths of files in no particular order; note the folders that cannot be listed."""
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        relative, ancestors = waiting.pop()
        here = os.path.join(root, relative)
        try:
            status = os.stat(here)
            identity = (status.st_dev, status.st_ino)
            if identity in ancestors:  # a link to a folder that it lies in
                continue
            with os.scandir(here) as listing:
                entries = list(listing)
        except OSError as error:
            if not relative:
                raise SourceNotFoundError(f"{root}: {error.strerror}, expected a folder of images") from error
            failures.append((key_of(relative), f"folder cannot be listed: {error.strerror}"))
            continue
        for entry in entries:
            path = os.path.join(relative, entry.name)
            if not _is_folder(entry):
                yield path
            elif clutter(entry.name, folder=True):
                yield f"{path}/"
            else:
                waiting.append((path, ancestors | {identity}))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False
