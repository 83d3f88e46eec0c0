"""A table as Parquet or Arrow, piece by piece: one row an image, the same columns in both.

Layer: above export_formats; below export. numpy, pyarrow (optional), errors and specs only.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.errors import MissingExtraError
from embedkit.specs import canonical_json
from embedkit.tables.export_formats import flat_columns, named_labels
from embedkit.tables.head import Array, TableHead
from embedkit.tables.pipe import Pipe


def parquet_chunks(head: TableHead, batches: Iterable[npt.NDArray[np.float32]], start: int = 0) -> Generator[bytes]:
    """Yield the bytes of a Parquet file of the rows from `start` on, as many as the batches hold.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    """
    pyarrow, _, parquet = _import_pyarrow()
    schema, columns = _schema(pyarrow, head)
    pipe = Pipe()
    # A dictionary of features would be larger than the features.
    writer = parquet.ParquetWriter(
        pyarrow.PythonFile(pipe, mode="w"), schema, use_dictionary=[name for name in columns if name != "features"]
    )
    yield from _written(pyarrow, pipe, writer, schema, columns, head, batches, start)


def arrow_chunks(head: TableHead, batches: Iterable[npt.NDArray[np.float32]]) -> Generator[bytes]:
    """Yield the bytes of an Arrow file (the IPC format, also called Feather), which readers map into memory.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    """
    pyarrow, ipc, _ = _import_pyarrow()
    schema, columns = _schema(pyarrow, head)
    pipe = Pipe()
    writer = ipc.new_file(pyarrow.PythonFile(pipe, mode="w"), schema)
    yield from _written(pyarrow, pipe, writer, schema, columns, head, batches, 0)


def _schema(pyarrow: Any, head: TableHead) -> tuple[Any, dict[str, Array]]:
    """Describe the columns: those of `flat_columns`, ``digest``, and ``features``, a fixed-size list of float32.

    Several labels of a row are a list of text. The metadata ``embedkit`` is JSON with spec, fingerprint, provenance,
    target type and classes.
    """
    columns = flat_columns(head)
    described = canonical_json(
        {
            "classes": head.classes,
            "fingerprint": head.spec.fingerprint,
            "provenance": head.provenance,
            "spec": head.spec.to_dict(),
            "target_type": head.target_type,
        }
    )
    types = {"O": pyarrow.string(), "f": pyarrow.float64(), "i": pyarrow.int64(), "b": pyarrow.bool_()}
    fields = [pyarrow.field(name, types[column.dtype.kind]) for name, column in columns.items()]
    if head.target_type == "multilabel":
        fields = [
            field.with_type(pyarrow.list_(pyarrow.string())) if field.name == "label" else field for field in fields
        ]
        columns["label"] = named_labels(head)
    fields.append(pyarrow.field("digest", pyarrow.binary(32)))
    fields.append(pyarrow.field("features", pyarrow.list_(pyarrow.float32(), head.spec.backbone.width)))
    return pyarrow.schema(fields, metadata={"embedkit": described}), columns


def _written(
    pyarrow: Any,
    pipe: Pipe,
    writer: Any,
    schema: Any,
    columns: dict[str, Array],
    head: TableHead,
    batches: Iterable[npt.NDArray[np.float32]],
    row: int,
) -> Generator[bytes]:
    with writer:
        for batch in batches:
            rows = slice(row, row + len(batch))
            arrays = [pyarrow.array(column[rows].tolist(), schema.field(name).type) for name, column in columns.items()]
            digests = [digest.tobytes() for digest in head.digests[rows]]
            flat = pyarrow.array(np.ascontiguousarray(batch, np.float32).reshape(-1))
            arrays.append(pyarrow.array(digests, pyarrow.binary(32)))
            arrays.append(pyarrow.FixedSizeListArray.from_arrays(flat, head.spec.backbone.width))
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
            row += len(batch)
            yield pipe.take()
    yield pipe.take()


def _import_pyarrow() -> tuple[Any, Any, Any]:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("writing Parquet and Arrow needs pyarrow: pip install 'embedkit[parquet]'") from error
    return pyarrow, pyarrow.ipc, pyarrow.parquet
