"""A virtual table: a small HDF5 file that shows the features of several feature files as one dataset.

HDF5 reads the rows of a file that is missing, moved or unreadable as fill values, without an error. They are NaN here,
so that the loss shows; and `open_virtual`, which is how embedkit reads it back, opens each source itself and compares
its rows and digest with what was recorded: nothing is ever read through HDF5's virtual dataset. For other tools, which
have no such check, prefer a joined feature file.

Layer: above table. h5py, numpy, errors and specs only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import h5py as _h5py
import numpy as np

from embedkit.errors import DamagedFeatureFileError, FeatureFileError, FeatureFileFormatError, OutputExistsError
from embedkit.files import TRAILER, Verify, commit_to
from embedkit.hdf5 import build_image, open_untrusted, put_json
from embedkit.tables.feature_file import open_sealed
from embedkit.tables.feature_layout import put_head
from embedkit.tables.feature_output import check_output
from embedkit.tables.head import join_heads
from embedkit.tables.table import FeatureTable

h5py: Any = _h5py  # it has no types

FORMAT = "embedkit virtual table"
"""The attribute ``format`` of the root."""


class _Source(NamedTuple):
    """A file that is shown: its path from the folder of the virtual table, its rows, the digest in its trailer."""

    path: str
    rows: int
    sha256: str


def write_virtual(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    verify: Verify = "first",
    force: bool = False,
) -> None:
    """Write a virtual table of several feature files.

    It holds keys, labels and everything else of them, and shows their features where they are: they must stay there,
    or move together with it.

    Parameters
    ----------
    sources : sequence of paths
        Feature files that can be joined.
    out : path
    verify : {"first", "always", "size"}
        How they are checked.
    force : bool
        Replace an existing file.

    Raises
    ------
    SpecMismatchError, UsageError
        They cannot be joined.
    FeatureFileError
        A source cannot be read.
    OutputExistsError
        There is something at `out`.
    StoreWriteError
        `out` cannot be written.
    """
    if os.path.lexists(out) and not force:
        raise OutputExistsError(f"{out} exists; name another output, or replace it with --force (force=True)")
    target = check_output(out, force=True)
    tables = [FeatureTable.open(source, verify=verify) for source in sources]
    head = join_heads([table.metadata for table in tables], [os.fspath(source) for source in sources])
    paths = [_relative(Path(os.path.realpath(source)), target.parent) for source in sources]
    width, dtype = head.spec.backbone.width, np.dtype(head.spec.dtype).newbyteorder("<")

    def fill(root: Any) -> None:
        put_head(root, head, FORMAT)
        put_json(
            root,
            "sources",
            [
                _Source(path, len(table), _digest(source))._asdict()
                for path, table, source in zip(paths, tables, sources, strict=True)
            ],
        )
        layout = h5py.VirtualLayout((len(head), width), dtype)
        row = 0
        for path, table in zip(paths, tables, strict=True):
            if len(table):
                layout[row : row + len(table)] = h5py.VirtualSource(path, "features", (len(table), width), dtype)
            row += len(table)
        root.create_virtual_dataset("features", layout, fillvalue=np.nan)

    commit_to(target, [build_image(fill)])


def open_virtual(path: str | os.PathLike[str], *, verify: Verify = "first") -> list[FeatureTable]:
    """Open the feature files that a virtual table shows, in its order.

    Parameters
    ----------
    path : path
    verify : {"first", "always", "size"}
        How all files are checked.

    Raises
    ------
    DamagedFeatureFileError
        A source is missing, or is not the file that it was.
    FeatureFileError
        The file, or one that it shows, cannot be read.
    """
    name = os.fspath(path)
    with open_sealed(path, verify) as (raw, length), open_untrusted(raw, length, name, skip_virtual=True) as file:
        if file.attribute("format") != FORMAT:
            raise FeatureFileFormatError(f"{name} is not a virtual table; name one that `embedkit export` wrote")
        record, rows = file.json("sources"), file.shape("key")
    try:
        sources = [
            _Source(str(source["path"]), int(source["rows"]), str(source["sha256"]))
            for source in cast(Sequence[Mapping[str, Any]], record)
        ]
    except (TypeError, KeyError, ValueError) as error:
        raise FeatureFileFormatError(f"{name} has a list of sources that cannot be understood: {error}") from error
    tables = [_open_source(name, source, verify) for source in sources]
    if sum(map(len, tables)) != rows[0]:
        raise DamagedFeatureFileError(
            f"{name} has {rows[0]} keys, and its sources {sum(map(len, tables))} rows; export it again"
        )
    return tables


def _open_source(name: str, source: _Source, verify: Verify) -> FeatureTable:
    path = Path(name).parent / source.path
    try:
        table = FeatureTable.open(path, verify=verify)
    except FeatureFileError as error:
        raise DamagedFeatureFileError(f"{name} cannot be read whole: {error}") from error
    if len(table) != source.rows or _digest(path) != source.sha256:
        raise DamagedFeatureFileError(f"{name} shows {source.rows} rows of {path}, which has changed; export it again")
    return table


def _digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 in the trailer of a file."""
    with open(path, "rb") as file:
        file.seek(-TRAILER.size, os.SEEK_END)
        return cast(bytes, TRAILER.unpack(file.read())[2]).hex()


def _relative(source: Path, folder: Path) -> str:
    try:
        return os.path.relpath(source, os.path.realpath(folder))
    except ValueError:  # another drive
        return str(source)
