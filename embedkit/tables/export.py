"""Tables for other tools: NumPy, Parquet, CSV, one feature file from several.

Several files are joined: rows behind each other, of one fingerprint, no key twice. Everything is streamed, so that a
table may be larger than memory, and committed whole or not at all.

Layer: above table and export_formats. numpy, pyarrow (optional), errors and specs only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from embedkit.errors import OutputExistsError, UsageError
from embedkit.files import Buffer, Verify, commit_to
from embedkit.tables.export_formats import csv_chunks, npz_chunks, parquet_chunks
from embedkit.tables.feature_output import check_output, write_feature_file
from embedkit.tables.head import TableHead, join_heads
from embedkit.tables.table import FeatureTable
from embedkit.tables.virtual import write_virtual

TableFormat = Literal["npz", "parquet", "csv", "h5", "virtual"]
Source = FeatureTable | str | os.PathLike[str]

_FORMATS: tuple[TableFormat, ...] = ("npz", "parquet", "csv", "h5", "virtual")
_ROWS = 1024  # rows in a piece


def export(
    sources: Source | Sequence[Source],
    out: str | os.PathLike[str],
    format: TableFormat | None = None,  # noqa: A002
    *,
    verify: Verify = "first",
    force: bool = False,
) -> None:
    """Write one or several tables in a format that other tools read.

    Parameters
    ----------
    sources : FeatureTable, path of a feature file, or several
        Several are joined.
    out : path
    format : {"npz", "parquet", "csv", "h5", "virtual"}, optional
        By default what the ending of `out` says. ``"h5"`` is a feature file; ``"virtual"`` a small HDF5 file that shows
        the features of several feature files (paths only) as one dataset, read with `open_virtual`.
    verify : {"first", "always", "size"}
        How feature files are checked.
    force : bool
        Replace an existing file.

    Raises
    ------
    SpecMismatchError
        The features of the sources were made in different ways.
    UsageError
        A key occurs twice, the sources say different things about their rows, or the format is not known.
    OutputExistsError
        There is something at `out`.
    MissingExtraError
        Parquet was asked for and pyarrow is not installed.
    FeatureFileError
        A source cannot be read.
    StoreWriteError
        `out` cannot be written.
    """
    chosen = format or _format_of(Path(out))
    if chosen not in _FORMATS:
        raise UsageError(f"format {chosen!r} is not known; expected one of {', '.join(_FORMATS)}")
    several = [sources] if isinstance(sources, FeatureTable | str | os.PathLike) else list(sources)
    if not several:
        raise UsageError("there is nothing to export; name at least one feature file")
    if chosen == "virtual":
        write_virtual([_path_of(source) for source in several], out, verify=verify, force=force)
        return
    tables = [
        source if isinstance(source, FeatureTable) else FeatureTable.open(source, verify=verify) for source in several
    ]
    head = join_heads([table.metadata for table in tables], [_name_of(source) for source in several])
    head = tables[0].metadata if len(tables) == 1 else head
    if chosen == "h5":
        write_feature_file(out, head, chain.from_iterable(table.stored_batches(_ROWS) for table in tables), force=force)
        return
    if os.path.lexists(out) and not force:
        raise OutputExistsError(f"{out} exists; name another output, or replace it with --force (force=True)")
    target = check_output(out, force=True)
    commit_to(target, _chunks(chosen, head, tables), sealed=False)


def join(sources: Sequence[Source], *, verify: Verify = "first") -> FeatureTable:
    """Return the rows of several tables as one table in memory.

    Parameters
    ----------
    sources : sequence of FeatureTable or path of a feature file
        At least one.
    verify : {"first", "always", "size"}
        How feature files are checked.

    Raises
    ------
    SpecMismatchError
        The features of the sources were made in different ways.
    UsageError
        A key occurs twice, or the sources say different things about their rows.
    FeatureFileError
        A source cannot be read.
    """
    if not sources:
        raise UsageError("there is nothing to join; name at least one feature file")
    tables = [
        source if isinstance(source, FeatureTable) else FeatureTable.open(source, verify=verify) for source in sources
    ]
    head = join_heads([table.metadata for table in tables], [_name_of(source) for source in sources])
    batches = [batch for table in tables for batch in table.stored_batches(max(1, len(table)))]
    empty = np.empty((0, head.spec.backbone.width), np.dtype(head.spec.dtype))
    return FeatureTable(head, np.concatenate([empty, *batches]))


def _chunks(chosen: TableFormat, head: TableHead, tables: Sequence[FeatureTable]) -> Iterable[Buffer]:
    batches = chain.from_iterable((X for X, _ in table.iter_batches(_ROWS)) for table in tables)
    match chosen:
        case "npz":
            return npz_chunks(head, batches)
        case "parquet":
            return parquet_chunks(head, batches)
        case _:
            return csv_chunks(head, batches)


def _format_of(out: Path) -> TableFormat:
    for name in _FORMATS:
        if out.suffix.lower() == f".{name}":
            return name
    raise UsageError(f"{out} does not end in .npz, .parquet, .csv or .h5; name the format")


def _path_of(source: Source) -> str:
    if isinstance(source, FeatureTable):
        raise UsageError("a virtual dataset shows feature files; name their paths")
    return os.fspath(source)


def _name_of(source: Source) -> str:
    return repr(source) if isinstance(source, FeatureTable) else os.fspath(source)
