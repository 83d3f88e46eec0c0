"""HDF5 files made in memory, so that no HDF5 library ever writes to a disk.

HDF5 has no journal, and a full disk kills the process inside its close(). So a file is laid out with `features` as its
last object: everything before, the **head**, is built in memory; the features follow as plain bytes, however many.

    head (HDF5's metadata, keys, labels, ...) | features, contiguous, at a multiple of 64 bytes | (trailer, see commit)

Text is of fixed length, UTF-8, padded with zeros and deflated: any HDF5 tool reads it, and the padding costs nothing.
No object carries a time: equal content gives equal bytes.

Layer: above text. h5py, numpy and specs only.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import h5py as _h5py
import numpy as np
import numpy.typing as npt

from embedkit.hdf5.text import check_text
from embedkit.specs import Dtype, canonical_json

h5py: Any = _h5py  # it has no types

ArrayType = Literal["float32", "float16", "float64", "int64", "uint8", "bool"]
"""The types of arrays; in the file little-endian, `bool` as h5py's enumeration FALSE, TRUE of 8 bits."""

CHUNK_BYTES = 1 << 20
"""Most bytes in a chunk of text before it is deflated; a wider text is a chunk of its own."""

ALIGNMENT = 64
"""`features` begin at a multiple of this many bytes: a cache line, and what SIMD loads ask for."""

# Level 1 takes half the time of level 4 and leaves 9 instead of 8 bytes of a key.
_DEFLATE_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Head:
    """The bytes of an HDF5 file before its features.

    Attributes
    ----------
    data : memoryview
        Their number is the offset of the features.
    features : int
        Number of bytes of the features, which follow.
    """

    data: memoryview
    features: int

    @property
    def length(self) -> int:
        """Bytes of the whole HDF5 file."""
        return len(self.data) + self.features


def build_head(shape: tuple[int, int], dtype: Dtype, fill: Callable[[Any], None]) -> Head:
    """Lay out an HDF5 file that ends with its features.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the features; rows may be 0.
    dtype : {"float32", "float16"}
        Of the features; little-endian.
    fill : callable
        Gets the root group and puts everything else into it.
    """
    size = int(np.dtype(dtype).itemsize) * shape[0] * shape[1]
    with _new_file() as (sink, file):
        fill(file)
        features = _declare_features(file, shape, dtype)
        # Everything that HDF5 still holds back goes into the file now, ...
        file.flush()
        if size > 0:
            # ... so that the features, whose place is only reserved by the first write, come last.
            features.write(h5py.h5s.create_simple((1,)), _first_element(features), np.zeros(1, dtype))
        offset = cast("int | None", features.get_offset())
    if size == 0:
        return Head(memoryview(sink.data)[: sink.size], 0)
    if offset is None or offset + size != sink.size or offset % ALIGNMENT:
        raise RuntimeError(
            f"HDF5 {h5py.version.hdf5_version} put {size} bytes of features at {offset} of {sink.size}, "
            "not at the end; report this as a bug of embedkit"
        )
    return Head(memoryview(sink.data)[:offset], size)


def build_image(fill: Callable[[Any], None]) -> memoryview:
    """Return the bytes of a whole HDF5 file, for what has no features of its own.

    Parameters
    ----------
    fill : callable
        Gets the root group and puts everything into it.
    """
    with _new_file() as (sink, file):
        fill(file)
    return memoryview(sink.data)


def put_array(group: Any, name: str, array: npt.NDArray[Any]) -> None:
    """Store an array contiguously, in one of `ArrayType`'s types.

    Parameters
    ----------
    group : h5py.Group
    name : str
        Without ``/``.
    array : ndarray
    """
    kind = array.dtype.newbyteorder("<") if array.dtype != np.bool_ else array.dtype
    group.create_dataset(name, data=array.astype(kind, copy=False), track_times=False)


def put_text(group: Any, name: str, values: Sequence[str]) -> None:
    """Store strings as fixed-length UTF-8, chunked and deflated.

    Parameters
    ----------
    group : h5py.Group
    name : str
        Without ``/``.
    values : sequence of str
        Such as `check_text` accepts.

    Raises
    ------
    UsageError
        A text cannot be stored.
    """
    check_text(values, name)
    encoded = [value.encode("utf-8") for value in values]
    width = max(map(len, encoded), default=1) or 1
    rows = max(1, min(len(encoded), CHUNK_BYTES // width))
    dtype = h5py.string_dtype("utf-8", width)
    if not encoded:
        group.create_dataset(name, shape=(0,), dtype=dtype, track_times=False)
        return
    dataset = group.create_dataset(
        name,
        shape=(len(encoded),),
        dtype=dtype,
        chunks=(rows,),
        compression="gzip",
        compression_opts=_DEFLATE_LEVEL,
        track_times=False,
    )
    for start in range(0, len(encoded), rows):
        dataset[start : start + rows] = np.array(encoded[start : start + rows], dtype=dtype)


def put_json(group: Any, name: str, value: object) -> None:
    """Store a value as the bytes of its canonical JSON."""
    put_array(group, name, np.frombuffer(canonical_json(value).encode("ascii"), dtype=np.uint8))


def stored_type(name: ArrayType) -> Any:
    """Return HDF5's type for an array type."""
    return h5py.h5t.py_create(np.dtype(name).newbyteorder("<"), logical=True)


class _Sink(io.RawIOBase):
    """A file that keeps what is written to it and knows how long it would be.

    HDF5 reserves space by making the file longer; only bytes that were written take memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()
        self.size = 0
        self._position = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        found = self.data[self._position : self._position + len(target)]
        target[:] = found + bytes(len(target) - len(found))
        self._position += len(target)
        return len(target)

    def write(self, data: Any) -> int:
        source = memoryview(data).cast("B")
        end = self._position + len(source)
        if end > len(self.data):
            self.data.extend(bytes(end - len(self.data)))
        self.data[self._position : end] = source
        self._position = end
        self.size = max(self.size, end)
        return len(source)

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        del self.data[self.size :]
        return self.size


@contextmanager
def _new_file() -> Generator[tuple[_Sink, Any]]:
    sink = _Sink()
    with h5py.File(
        sink,
        "w",
        driver="fileobj",
        # The oldest format: every reader knows it, and its groups keep no times.
        libver=("earliest", "v110"),
        alignment_threshold=1,
        alignment_interval=ALIGNMENT,
    ) as file:
        yield sink, file


def _declare_features(file: Any, shape: tuple[int, int], dtype: Dtype) -> Any:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    return h5py.h5d.create(file.id, b"features", stored_type(dtype), space, dcpl=properties)


def _first_element(features: Any) -> Any:
    space = features.get_space()
    space.select_elements(np.zeros((1, 2), dtype=np.uint64))
    return space
