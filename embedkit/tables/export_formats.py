"""A table as the bytes of a NumPy archive or a CSV file, piece by piece.

Layer: above head and pipe; below export. numpy, errors and specs only.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.specs import canonical_json
from embedkit.tables.feature_layout import link_name
from embedkit.tables.head import Array, TableHead
from embedkit.tables.pipe import Pipe
from embedkit.text import harmless

Features = npt.NDArray[np.float32]

_ROWS = 65536  # rows of text in a piece
# A ZIP archive wants a time; this is the first that it can say.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def npz_chunks(head: TableHead, batches: Iterable[Features]) -> Generator[bytes]:
    """Yield the bytes of an ``.npz`` archive; `numpy.load` reads it without pickles.

    Arrays: ``X`` (float32), ``keys``, ``digests``, ``target_type``, ``classes``, ``spec`` and ``provenance`` (JSON),
    ``failures`` (key and reason), and where there are such ``y``, ``split``, ``groups`` and ``columns/NAME``.
    """
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        shape = (len(head), head.spec.backbone.width)
        with _member(archive, "X", zipfile.ZIP_STORED) as member:
            _write_header(member, shape, np.dtype("<f4"))
            for batch in batches:
                member.write(np.ascontiguousarray(batch, "<f4").tobytes())
                yield pipe.take()
        for name, column in _arrays(head).items():
            with _member(archive, name, zipfile.ZIP_DEFLATED) as member:
                width = max(map(len, column.reshape(-1).tolist()), default=1) if column.dtype.kind in "OU" else 0
                dtype = np.dtype(f"<U{max(width, 1)}") if width or column.dtype == object else column.dtype
                _write_header(member, column.shape, dtype)
                if column.ndim == 0:
                    member.write(column.astype(dtype).tobytes())
                for start in range(0, len(column) if column.ndim else 0, _rows_of(dtype)):
                    member.write(column[start : start + _rows_of(dtype)].astype(dtype).tobytes())
                    yield pipe.take()
    yield pipe.take()


def csv_chunks(head: TableHead, batches: Iterable[Features]) -> Generator[bytes]:
    """Yield the bytes of a CSV file (RFC 4180, UTF-8): one row an image, one column ``feature_<i>`` a feature.

    Several labels of a row are joined by ``|``; unknown labels are empty. Text that a spreadsheet would take for a
    formula gets an apostrophe in front.
    """
    columns = flat_columns(head)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    names = [*columns, "digest", *(f"feature_{i}" for i in range(head.spec.backbone.width))]
    writer.writerow([harmless(name) for name in names])
    cells = [[_cell(value) for value in column.tolist()] for column in columns.values()]
    row = 0
    for batch in batches:
        for features in batch.astype(np.str_).tolist():  # the shortest text that gives the same float32
            writer.writerow([*(column[row] for column in cells), head.digests[row].tobytes().hex(), *features])
            row += 1
        yield text.getvalue().encode("utf-8")
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode("utf-8")


def _member(archive: zipfile.ZipFile, name: str, compression: int) -> Any:
    entry = zipfile.ZipInfo(f"{name}.npy", _NO_TIME)
    entry.compress_type = compression
    return archive.open(entry, "w", force_zip64=True)


def _write_header(member: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, described)


def _rows_of(dtype: np.dtype[Any]) -> int:
    return max(1, (1 << 24) // max(1, dtype.itemsize))


def _arrays(head: TableHead) -> dict[str, Array]:
    """Return the arrays of an archive but X."""
    failures = [text for failure in head.failures for text in (failure.key, failure.reason)]
    arrays: dict[str, Array] = {
        "keys": np.array(head.keys, dtype=object),
        "digests": head.digests,
        "target_type": np.array(head.target_type, dtype=object),
        "classes": np.array(head.classes, dtype=object),
        "spec": np.array(head.spec.canonical, dtype=object),
        "provenance": np.array(canonical_json(head.provenance), dtype=object),
        "failures": np.array(failures, dtype=object).reshape(-1, 2),
    }
    optional = {"y": head.y, "split": head.split, "groups": head.groups}
    arrays |= {name: column for name, column in optional.items() if column is not None}
    return arrays | {f"columns/{link_name(name)}": column for name, column in head.columns.items()}


def flat_columns(head: TableHead) -> dict[str, Array]:
    """Return key, label, split, groups and the further columns; these as ``columns.NAME`` where the name is taken."""
    flat: dict[str, Array] = {"key": np.array(head.keys, dtype=object)}
    if head.y is not None and head.target_type == "multilabel":
        flat["label"] = np.array(["|".join(names) for names in named_labels(head)], dtype=object)
    elif head.y is not None:
        flat["label"] = head.y.astype(object) if head.target_type == "class" else head.y
    flat |= {name: column for name, column in (("split", head.split), ("groups", head.groups)) if column is not None}
    for name, column in head.columns.items():
        taken = name in ("key", "label", "split", "groups", "digest", "features") or name.startswith("feature_")
        flat[f"columns.{name}" if taken else name] = column
    return flat


def named_labels(head: TableHead) -> Array:
    """Return the names of each row's classes: object ndarray of lists."""
    names = np.empty(len(head), dtype=object)
    for row, marks in enumerate(head.y if head.y is not None else ()):
        names[row] = [head.classes[i] for i in np.flatnonzero(marks)]
    return names


def _cell(value: object) -> object:
    if isinstance(value, str):
        return harmless(value)
    return "" if isinstance(value, float) and value != value else value  # NaN: unknown
