"""Parquet: manifests, and tables that hold the images themselves.

Layer: images. pyarrow (the extra ``parquet``) only, imported when a file is read.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, cast, overload

import numpy as np

from embedkit.errors import EmptySourceError, ManifestError, MissingExtraError, SourceError, SourceNotFoundError
from embedkit.files import inflated_limit
from embedkit.images.columns import Table, near_names, source_of
from embedkit.images.labels import CellKind, TargetOption, class_texts, kind_of
from embedkit.images.layout import Layout
from embedkit.images.manifest import source_of_manifest
from embedkit.images.parquet_pages import Chunk, RowGroup, page_sizes, read_footer
from embedkit.images.reading import ArchiveMember, ImageRef, as_ref
from embedkit.images.remote import RemoteReadError, is_url, locate
from embedkit.images.remote_file import open_file
from embedkit.images.source import ImageSource, key_of

_IMAGE_COLUMNS = ("image", "img", "image_bytes", "bytes", "jpg", "png")
_ARROW_ERRORS = (ValueError, OSError, NotImplementedError)  # what pyarrow's own errors derive from
_READ_ERRORS = (*_ARROW_ERRORS, RemoteReadError)


def open_parquet(
    path: str,
    *,
    label_column: str | None,
    target_type: TargetOption,
    root: str | None,
    layout: Layout | None = None,
    image_column: str | None = None,
) -> ImageSource:
    """Read a Parquet manifest, or a Parquet file with a column of images.

    A column ``path`` makes it a manifest, as in CSV. Otherwise the images are in a binary column named ``image``,
    ``img``, ``image_bytes``, ``bytes``, ``jpg`` or ``png``, or in a struct of ``bytes`` and ``path`` (the layout of
    ``datasets``, whose class names are understood too). Their keys are those paths where every row has one of its own,
    otherwise row numbers.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed; for a URL, fsspec.
    SourceError
        A URL that cannot be read.
    ManifestError
        Not Parquet; neither a path nor an image in it; a null path; no such label column.
    SourceNotFoundError, EmptySourceError
    """
    file = _open(path)
    schema = file.arrow.schema_arrow
    images = _image_column(schema, path, image_column)
    table = _read_text(file, [name for name in schema.names if name != images])
    if images is None:
        return source_of_manifest(
            table,
            label_column=label_column,
            target_type=target_type,
            root=root,
            layout=layout,
            image_column=image_column,
        )
    rows = sum(group.rows for group in file.groups)
    if not rows:
        raise EmptySourceError(f"{path}: no rows, expected one row an image")
    keys = _paths(file, images)
    return source_of(
        table,
        keys or [str(row) for row in range(rows)],
        ParquetImages(file, images),
        label_column=label_column,
        target_type=target_type,
        default_labels=("label", "labels"),
        layout=layout,
        paths=(keys or [str(row) for row in range(rows)]) if layout is not None else None,
    )


class ParquetImages(Sequence[ImageRef]):
    """The images in a column of a Parquet file, read a row group at a time.

    Rows come fast in order, and in any order within the last two row groups; threads may share it.
    """

    def __init__(self, file: _File, column: str) -> None:
        self._file = file
        self._path = file.path if is_url(file.path) else os.path.abspath(file.path)
        self._column = column
        self._kind = file.arrow.schema_arrow.field(column).type
        self._starts = np.cumsum([0, *(group.rows for group in file.groups)])
        self._recent: dict[int, Any] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> ImageRef: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageRef]: ...
    def __getitem__(self, index: int | slice) -> ImageRef | list[ImageRef]:
        """Return the image of a row; one that cannot be had is a member that says why."""
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        with self._lock:
            try:
                values = self._group(group)
            except _READ_ERRORS as error:
                return ArchiveMember(self._path, str(row), problem=f"row group {group} cannot be read: {_line(error)}")
            try:
                value = values[row - int(self._starts[group])].as_py()
            except (ValueError, IndexError) as error:  # text that is none, or fewer rows than the footer says
                return ArchiveMember(self._path, str(row), problem=f"cannot be read: {_line(error)}")
        return as_ref(value) or ArchiveMember(self._path, str(row), problem="no image in this row")

    def _group(self, group: int) -> Any:
        if group not in self._recent:
            import pyarrow

            while len(self._recent) >= 2:
                del self._recent[next(iter(self._recent))]
            stored = sum(chunk.stored for chunk in _chunks(self._file, self._column, [group]))
            pieces = [*_pieces(self._file, self._column, stored, [group])]
            self._recent[group] = cast(Any, pyarrow).chunked_array(pieces, self._kind)
        return self._recent[group]


@dataclass(frozen=True, slots=True)
class _File:
    """A Parquet file as Arrow has it open, and what its footer says."""

    path: str
    arrow: Any
    groups: list[RowGroup]


def _open(path: str) -> _File:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: reading Parquet needs pyarrow, which is not installed; run: pip install 'embedkit[parquet]'"
        ) from error
    locate(path, "")
    if not is_url(path) and not os.path.isfile(path):
        raise SourceNotFoundError(f"{path}: no such file, expected a Parquet file")
    try:
        file = cast(Any, pyarrow.parquet).ParquetFile(open_file(path, anew=True) if is_url(path) else path)
        with BufferedReader(open_file(path)) as again:
            groups = read_footer(again)
        columns = file.metadata.num_columns
        if any(len(group.chunks) != columns or group.rows < 0 for group in groups):  # Arrow believes the schema
            raise ValueError("its row groups have not the columns of its schema")
        if any(group.rows and not all(chunk.values and chunk.stored for chunk in group.chunks) for group in groups):
            raise ValueError("it has rows without values")
        return _File(path, file, groups)
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"{path}: no such file, expected a Parquet file") from error
    except RemoteReadError as error:
        raise SourceError(f"{path}: {error}; try again, or download it first") from error
    except _ARROW_ERRORS as error:
        raise ManifestError(f"{path}: not a Parquet file that can be read: {_line(error)}") from error


def _image_column(schema: Any, path: str, image_column: str | None) -> str | None:
    """Return the column of image bytes; None where the paths in a column name the images."""
    import pyarrow.types as types

    kinds = cast(Any, types)

    def holds_images(name: str) -> bool:
        kind = schema.field(name).type
        struct = kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0
        return bool(struct or kinds.is_binary(kind) or kinds.is_large_binary(kind))

    if image_column is not None:
        return image_column if image_column in schema.names and holds_images(image_column) else None
    if "path" in schema.names:
        return None
    for name in _IMAGE_COLUMNS:
        if name in schema.names and holds_images(name):
            return name
    if "file_name" in schema.names:
        return None
    likely = [name for name in schema.names if holds_images(name)] or near_names(schema.names, "path")
    hint = f"; {likely[0]!r} looks like it: say image_column={likely[0]!r}" if likely else ""
    raise ManifestError(
        f"{path}: no column 'path' and no column of image bytes ({', '.join(_IMAGE_COLUMNS)}); "
        f"columns found: {', '.join(schema.names)}{hint}"
    )


def _paths(file: _File, column: str) -> list[str] | None:
    """Return the paths beside the images as keys; None unless every row has one of its own."""
    kind = file.arrow.schema_arrow.field(column).type
    if not hasattr(kind, "get_field_index") or kind.get_field_index("path") < 0:
        return None
    try:
        values = _values(file, f"{column}.path")
    except _READ_ERRORS:
        return None  # the images of a row group that cannot be read say so themselves
    paths = [value and value["path"] for value in values]
    if not all(isinstance(path, str) and path.strip() and "\0" not in path for path in paths):
        return None
    return [key_of(path) for path in paths] if len(set(paths)) == len(paths) else None


def read_frame(path: str) -> Any:
    """Read a table of any columns, within the budget of its file, as pandas does.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ManifestError
        Not Parquet, damaged, or it becomes more than its file may.
    MissingExtraError, SourceNotFoundError
    """
    import pyarrow

    file = _open(path)
    groups = range(len(file.groups))
    try:
        batches = [*_batches(file, None, sum(chunk.stored for chunk in _chunks(file, "", groups)), groups)]
        return cast(Any, pyarrow).Table.from_batches(batches, file.arrow.schema_arrow).to_pandas()
    except _READ_ERRORS as error:
        raise ManifestError(f"{path} cannot be read as a table: {_line(error)}") from error


def _values(file: _File, column: str) -> list[Any]:
    """Return a column.

    Raises
    ------
    ValueError
        It becomes more than its file may, or is damaged.
    """
    groups = range(len(file.groups))
    stored = sum(chunk.stored for chunk in _chunks(file, "", groups))
    return [value for piece in _pieces(file, column, stored, groups) for value in piece.to_pylist()]


def _chunks(file: _File, column: str, groups: Sequence[int]) -> list[Chunk]:
    """Return what row groups hold of a column, and of the columns inside it; of all for an empty name."""
    chunks = [chunk for group in groups for chunk in file.groups[group].chunks]
    return [chunk for chunk in chunks if not column or f"{chunk.path}.".startswith(f"{column}.")]


def _pieces(file: _File, column: str, stored: int, groups: Sequence[int]) -> Iterator[Any]:
    """Yield a column in pieces; see `_batches`."""
    return (batch.column(0) for batch in _batches(file, column, stored, groups))


def _batches(file: _File, column: str | None, stored: int, groups: Sequence[int]) -> Iterator[Any]:
    """Yield a column, or all for None, in pieces that are small whatever its pages repeat, and cut off at the budget.

    Raises
    ------
    ValueError
        It becomes more than its file may, or its pages say that they do.
    """
    limit, taken, largest = inflated_limit(stored), 0, 1
    refusal = f"it becomes more than the {limit:,} bytes that its {stored:,} may"
    with BufferedReader(open_file(file.path), 1 << 12) as pages:
        for chunk in _chunks(file, column or "", groups):
            for size in page_sizes(pages, chunk):
                taken, largest = taken + size, max(largest, size)
                if taken > limit:
                    raise ValueError(refusal)
    taken = 0
    rows = max(1, min(1 << 16, limit // largest))  # no value is larger than its page
    for batch in file.arrow.iter_batches(rows, columns=column and [column], row_groups=list(groups)):
        taken += batch.nbytes + 8 * batch.num_rows
        if taken > limit:
            raise ValueError(refusal)
        yield batch


def _read_text(file: _File, names: list[str]) -> Table:
    """Read columns as text, nulls blank, integers that name a ``datasets`` class as that name."""
    path, classes = file.path, _class_names(file.arrow.schema_arrow)
    columns: dict[str, list[str]] = {}
    kinds: dict[str, CellKind] = {}
    for name in names:
        try:
            values = _values(file, name)
        except _READ_ERRORS as error:
            raise ManifestError(f"{path}: column {name!r} cannot be read: {_line(error)}") from error
        columns[name] = class_texts(values, classes.get(name), f"{path}, column {name!r}")
        kinds[name] = "text" if name in classes else kind_of(values)
        if name in ("path", "file_name") and None in values:
            raise ManifestError(f"{path}, row {values.index(None)}: the path is null; name a file, or remove the row")
    return Table(path if is_url(path) else os.path.abspath(path), columns, lambda row: f"{path}, row {row}", kinds)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Return the class names that ``datasets`` writes into a file's metadata, by column."""
    try:
        metadata = cast(dict[bytes, bytes], schema.metadata or {})
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("names")}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
