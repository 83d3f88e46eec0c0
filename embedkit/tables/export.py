"""Tables for other tools: NumPy, Parquet, Arrow, CSV, an index of FAISS, one feature file from several.

Several files are joined: rows behind each other, of one fingerprint, no key twice. Everything is streamed, so that a
table may be larger than memory, and committed whole or not at all.

Layer: above table and the formats. numpy, pyarrow and faiss (optional), errors and specs only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from embedkit.errors import OutputExistsError, UsageError
from embedkit.files import Buffer, Verify, commit_to
from embedkit.tables.arrow_formats import arrow_chunks, parquet_chunks
from embedkit.tables.export_formats import csv_chunks, flat_columns, npz_chunks
from embedkit.tables.faiss_index import faiss_chunks
from embedkit.tables.feature_output import check_output, write_feature_file
from embedkit.tables.head import TableHead, join_heads
from embedkit.tables.table import FeatureTable
from embedkit.tables.virtual import write_virtual
from embedkit.text import csv_text

TableFormat = Literal["npz", "parquet", "arrow", "csv", "h5", "faiss", "virtual"]
Source = FeatureTable | str | os.PathLike[str]

_FORMATS = get_args(TableFormat)
_ROWS = 1024  # rows in a piece


def export(
    sources: Source | Sequence[Source],
    out: str | os.PathLike[str],
    format: TableFormat | None = None,  # noqa: A002
    *,
    shard_rows: int | None = None,
    verify: Verify = "first",
    force: bool = False,
) -> None:
    """Write one or several tables in a format that other tools read.

    Parameters
    ----------
    sources : FeatureTable, path of a feature file, or several
        Several are joined.
    out : path
    format : {"npz", "parquet", "arrow", "csv", "h5", "faiss", "virtual"}, optional
        By default what the ending of `out` says. ``"h5"`` is a feature file; ``"faiss"`` an exact index by cosine whose
        numbers are rows, with ``OUT.csv`` beside it, which says their keys; ``"virtual"`` a small HDF5 file that shows
        the features of several feature files (paths only) as one dataset, read with `open_virtual`.
    shard_rows : int, optional
        Write Parquet files of so many rows each into the folder `out`: ``OUT-00000-of-00004.parquet`` and on.
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
        Parquet or Arrow were asked for and pyarrow is not installed, or FAISS and faiss is not.
    FeatureFileError
        A source cannot be read.
    StoreWriteError
        `out` cannot be written.
    """
    chosen = format or ("parquet" if shard_rows is not None else _format_of(Path(out)))
    if chosen not in _FORMATS:
        raise UsageError(f"format {chosen!r} is not known; expected one of {', '.join(_FORMATS)}")
    if shard_rows is not None and (chosen != "parquet" or shard_rows < 1):
        raise UsageError(f"shard_rows={shard_rows} for {chosen}; expected 1 or more rows, of Parquet")
    if shard_rows is not None and Path(out).suffix.lower().lstrip(".") in _FORMATS:
        raise UsageError(f"{out} names a file, and shards go into a folder; name a folder")
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
    if shard_rows is not None:
        _write_shards(Path(out), head, tables, shard_rows, force=force)
        return
    beside = Path(f"{os.fspath(out)}.csv")
    for path in (Path(out), *([beside] if chosen == "faiss" else [])):
        if os.path.lexists(path) and not force:
            raise OutputExistsError(f"{path} exists; name another output, or replace it with --force (force=True)")
    target = check_output(out, force=True)
    if chosen == "faiss":
        columns = flat_columns(head)
        lines = zip(range(len(head)), *(column.tolist() for column in columns.values()), strict=True)
        commit_to(check_output(beside, force=True), [csv_text([["row", *columns], *lines]).encode()], sealed=False)
    commit_to(target, _chunks(chosen, head, tables), sealed=False)


def _write_shards(folder: Path, head: TableHead, tables: Sequence[FeatureTable], rows: int, *, force: bool) -> None:
    """Write each shard whole; with `force` those of an earlier export go when all new ones are there."""
    count = max(1, -(-len(head) // rows))
    names = [f"{folder.name}-{place:05}-of-{count:05}.parquet" for place in range(count)]
    folder.mkdir(exist_ok=True)
    there = sorted(os.listdir(folder))
    earlier = [name for name in there if re.fullmatch(re.escape(folder.name) + r"-\d{5}-of-\d{5}\.parquet", name)]
    if strangers := sorted(set(there) - set(earlier)):
        raise OutputExistsError(f"{folder} holds {strangers[0]}, which is no shard of it; name another folder")
    if earlier and not force:
        raise OutputExistsError(
            f"{folder} holds shards; name another folder, or replace them with --force (force=True)"
        )
    batches = chain.from_iterable((X for X, _ in table.iter_batches(_ROWS)) for table in tables)
    written = 0
    for place, pieces in groupby(_cut(batches, rows), key=lambda piece: piece[0]):
        commit_to(folder / names[place], parquet_chunks(head, (X for _, X in pieces), place * rows), sealed=False)
        written += 1
    if not written:
        commit_to(folder / names[0], parquet_chunks(head, []), sealed=False)
    for name in set(earlier) - set(names):
        (folder / name).unlink()


def _cut(batches: Iterable[npt.NDArray[np.float32]], rows: int) -> Generator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield batches with the number of the shard they belong to, cut where one ends."""
    position = 0
    for batch in batches:
        while len(batch):
            piece = batch[: rows - position % rows]
            yield position // rows, piece
            position += len(piece)
            batch = batch[len(piece) :]


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
        case "arrow":
            return arrow_chunks(head, batches)
        case "faiss":
            return faiss_chunks(head, batches)
        case _:
            return csv_chunks(head, batches)


def _format_of(out: Path) -> TableFormat:
    for name in _FORMATS:
        if out.suffix.lower() == f".{name}":
            return name
    raise UsageError(
        f"{out} does not end in .npz, .parquet, .arrow, .csv, .faiss or .h5; name the format by --format (format=...)"
    )


def _path_of(source: Source) -> str:
    if isinstance(source, FeatureTable):
        raise UsageError("a virtual dataset shows feature files; name their paths")
    return os.fspath(source)


def _name_of(source: Source) -> str:
    return repr(source) if isinstance(source, FeatureTable) else os.fspath(source)
