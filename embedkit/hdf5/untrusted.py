"""HDF5 files of strangers, read so that they can do no harm.

HDF5 is trusted with the metadata alone: which objects there are, their types, shapes and where their bytes lie. The
bytes themselves are read here, from inside the file, within bounds known beforehand. So nothing that HDF5 does when it
reads data can be used against us: it never runs a filter, follows a link, opens another file or believes a size.

    what a file can hold                                  what happens to it
    what `inspection` refuses, in any place               refused before anything is read
    an extent outside the file, storage never written     refused
    deflated text beyond 1032 times the file              refused
    a chunk that inflates to more than it should          refused; it is inflated here, no further than that
    a filter that a plugin could bring                    refused; no plugin is searched for

Layer: above inspection and hdf5. h5py, numpy, errors and specs only.
"""

from __future__ import annotations

import functools
import io
import math
import os
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import h5py as _h5py
import numpy as np
import numpy.typing as npt

from embedkit.errors import EmbedkitError, FeatureFileFormatError
from embedkit.files import parse_json
from embedkit.hdf5.building import CHUNK_BYTES, ArrayType, stored_type
from embedkit.hdf5.inspection import check_header, checked_datasets, filters_of, is_plain, refused
from embedkit.hdf5.text import MAX_TEXT
from embedkit.specs import Json

# h5py has no types.
h5py: Any = _h5py
_lock: Any = h5py._objects.phil  # what h5py holds around every call of HDF5

_MAX_JSON = 1 << 24
_DEFLATE_RATIO = 1032  # zlib's own limit (zlib.net, "Maximum Compression Factor")
# Padding inflates fast and takes no memory; this much of it takes a minute.
_MAX_PADDED = 1 << 37
# What text takes in memory, as a multiple of the file and beside it: real keys and captions deflate to a tenth at best,
# and a row of features is larger than either.
_TEXT_RATIO, _TEXT_FREE = 16, 1 << 28

BudgetName = Literal["arrays", "padded text", "text"]


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the bytes of a contiguous array lie.

    Attributes
    ----------
    offset : int
        Bytes before it in the file.
    shape : tuple of int
    type : str
    """

    offset: int
    shape: tuple[int, ...]
    type: ArrayType

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy type, little-endian."""
        return np.dtype(self.type).newbyteorder("<")

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.dtype.itemsize * math.prod(self.shape)


class UntrustedFile:
    """A checked HDF5 file; made by `open_untrusted`, valid inside its `with`.

    Parameters
    ----------
    root : h5py.h5g.GroupID
    file : io.FileIO
        Open for reading.
    length : int
        Bytes of the HDF5 file proper, without a trailer.
    name : str
        What messages call the file.
    skip_virtual : bool
        Leave virtual datasets out instead of refusing them.
    """

    def __init__(self, root: Any, file: io.FileIO, length: int, name: str, skip_virtual: bool) -> None:
        self._root = root
        self._file = file
        self._length = length
        self._name = name
        self._skip_virtual = skip_virtual
        # What all reads together may come to: several datasets of a hostile file may share their bytes.
        self._budgets: dict[BudgetName, int] = {
            "arrays": length,
            "padded text": min(_DEFLATE_RATIO * length, _MAX_PADDED),
            "text": _TEXT_FREE + _TEXT_RATIO * length,
        }

    @functools.cached_property
    def _datasets(self) -> dict[str, Any]:
        """All datasets by their paths; nothing in the file is read before every object was checked."""
        return checked_datasets(self._root, self._name, skip_virtual=self._skip_virtual)

    def __contains__(self, path: str) -> bool:
        return path in self._datasets

    def members(self, group: str) -> list[str]:
        """Return the link names of the datasets in a group, sorted; empty when there is no such group."""
        return sorted(path.removeprefix(f"{group}/") for path in self._datasets if path.rpartition("/")[0] == group)

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of a dataset."""
        return tuple(int(side) for side in self._dataset(path).shape)

    def is_text(self, path: str) -> bool:
        """Return whether a dataset holds text."""
        return self._dataset(path).get_type().get_class() == h5py.h5t.STRING

    def extent(self, path: str, *types: ArrayType) -> Extent:
        """Return where a contiguous array lies, all of it inside the file.

        Raises
        ------
        FeatureFileFormatError
            It is not there, or of another type, or not contiguous.
        UnsafeFeatureFileError
            It claims bytes that the file does not hold.
        """
        dataset = self._dataset(path)
        stored = dataset.get_type()
        found: ArrayType | None = next((name for name in types if stored.equal(stored_type(name))), None)
        if found is None:
            raise self._malformed(f"{path} is not {' or '.join(types)}")
        if dataset.get_create_plist().get_layout() != h5py.h5d.CONTIGUOUS:
            raise self._malformed(f"{path} is not contiguous")
        shape = self.shape(path)
        extent = Extent(offset=dataset.get_offset() or 0, shape=shape, type=found)
        if extent.size > 0 and (dataset.get_offset() is None or extent.offset + extent.size > self._length):
            raise refused(self._name, f"{path} claims {extent.size} bytes that the file does not hold")
        return extent

    def array(self, path: str, *types: ArrayType) -> npt.NDArray[Any]:
        """Return a contiguous array; `extent` says what it raises."""
        extent = self.extent(path, *types)
        self._spend("arrays", extent.size, path)
        data = bytearray(extent.size)
        self._read(memoryview(data), extent.offset, path)
        return np.frombuffer(data, dtype=extent.dtype).reshape(extent.shape)

    def json(self, path: str) -> Json:
        """Return the value of a JSON text stored as bytes.

        Raises
        ------
        FeatureFileFormatError
            It is not there, or no JSON.
        """
        if math.prod(self.shape(path)) > _MAX_JSON:
            raise refused(self._name, f"{path} claims more than {_MAX_JSON} bytes of JSON")
        text = self.array(path, "uint8").tobytes()
        try:
            return cast(Json, parse_json(text))
        except ValueError as error:
            raise self._malformed(f"{path} is no JSON: {error}") from error

    def text(self, path: str) -> list[str]:
        """Return a one-dimensional dataset of fixed-length UTF-8.

        Raises
        ------
        FeatureFileFormatError
            It is not there, not stored as docs/format.md says, or not UTF-8.
        UnsafeFeatureFileError
            It claims more than the file can hold, or more than a memory should.
        """
        dataset = self._dataset(path)
        stored, properties = dataset.get_type(), dataset.get_create_plist()
        if stored.get_class() != h5py.h5t.STRING or len(dataset.shape) != 1:
            raise self._malformed(f"{path} is not a list of strings")
        rows, width = int(dataset.shape[0]), int(stored.get_size())
        if rows == 0:
            return []
        if properties.get_layout() != h5py.h5d.CHUNKED or filters_of(properties) != [h5py.h5z.FILTER_DEFLATE]:
            raise self._malformed(f"{path} is not chunked and deflated")
        step = int(properties.get_chunk()[0])
        if width > MAX_TEXT or step * width > CHUNK_BYTES + MAX_TEXT:
            raise refused(self._name, f"{path} has strings of {width} bytes in chunks of {step * width}")
        self._spend("padded text", rows * width, path)
        texts: list[str] = []
        for start in range(0, rows, step):
            block = np.frombuffer(self._inflated_chunk(dataset, start, step * width, path), dtype=f"S{width}")
            values: list[bytes] = block[: rows - start].tolist()
            distinct = set(values)  # classes and splits repeat: one str each, and a pointer a row
            self._spend("text", sum(map(len, distinct)) + 8 * len(values), path)
            try:
                if 2 * len(distinct) > len(values):
                    texts += [value.decode("utf-8") for value in values]
                else:
                    decoded = {value: value.decode("utf-8") for value in distinct}
                    texts += map(decoded.__getitem__, values)
            except UnicodeDecodeError as error:
                raise self._malformed(f"{path} is not UTF-8 in rows {start} to {start + step}") from error
        return texts

    def attribute(self, name: str) -> str | int | None:
        """Return a short string or integer on the root, None when it is not there."""
        key = name.encode()
        if not h5py.h5a.exists(self._root, key):
            return None
        attribute = h5py.h5a.open(self._root, key)
        stored = attribute.get_type()
        if attribute.shape != () or stored.get_size() > 1024 or not is_plain(stored):
            raise self._malformed(f"attribute {name} is no short string or integer")
        value = np.empty((), dtype=attribute.dtype)
        attribute.read(value)
        if value.dtype.kind == "S":
            return cast(bytes, value[()]).decode("utf-8", errors="replace")
        if value.dtype.kind in "iu":
            return int(value)
        raise self._malformed(f"attribute {name} is no short string or integer")

    def _spend(self, budget: BudgetName, size: int, path: str) -> None:
        self._budgets[budget] -= size
        if self._budgets[budget] < 0:
            raise refused(
                self._name, f"{path} claims {size} bytes of {budget}, too many for a file of {self._length} bytes"
            )

    def _dataset(self, path: str) -> Any:
        if path not in self._datasets:
            raise self._malformed(f"it has no {path}")
        return self._datasets[path]

    def _inflated_chunk(self, dataset: Any, row: int, size: int, path: str) -> bytes:
        """Return a chunk of known size; HDF5 would inflate a hostile one to whatever it becomes."""
        chunk = dataset.get_chunk_info_by_coord((row,))
        if chunk.byte_offset is None or chunk.byte_offset + chunk.size > self._length or chunk.filter_mask != 0:
            raise refused(self._name, f"{path} has no stored chunk at row {row}")
        packed = bytearray(chunk.size)
        self._read(memoryview(packed), chunk.byte_offset, path)
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(packed, size)
            more = inflater.decompress(inflater.unconsumed_tail, 1)
        except zlib.error as error:
            raise self._malformed(f"{path} does not inflate at row {row}: {error}") from error
        if len(data) != size or more:
            raise refused(self._name, f"{path} inflates to another size than {size} bytes at row {row}")
        return data

    def _read(self, target: memoryview, offset: int, path: str) -> None:
        self._file.seek(offset)
        while target:
            count = self._file.readinto(target)
            if not count:
                raise refused(self._name, f"{path} ends behind the end of the file")
            target = target[count:]

    def _malformed(self, reason: str) -> FeatureFileFormatError:
        return FeatureFileFormatError(f"{self._name} is not as docs/format.md says: {reason}; make it again")


@contextmanager
def open_untrusted(file: io.FileIO, length: int, name: str, *, skip_virtual: bool = False) -> Generator[UntrustedFile]:
    """Open an HDF5 file, checked, for reading.

    Other threads that use HDF5 wait until it is closed.

    Parameters
    ----------
    file : io.FileIO
        Open for reading. Whatever takes its path meanwhile makes no difference.
    length : int
        Bytes of the HDF5 file proper, without a trailer.
    name : str
        What messages call the file.
    skip_virtual : bool
        Leave virtual datasets out instead of refusing them.

    Raises
    ------
    FeatureFileFormatError
        It is no HDF5 file, or lacks what is read from it.
    UnsafeFeatureFileError
        It uses what is refused (the lists at the top of this module and of `inspection`).
    """
    try:
        with _no_filter_plugins(), h5py.File(_Window(file, length), "r", driver="fileobj") as opened:
            if opened.userblock_size:
                raise refused(name, "it hides bytes in a user block")
            root = h5py.h5g.open(opened.id, b"/")
            check_header(root, name, "/")
            yield UntrustedFile(root, file, length, name, skip_virtual)
    except EmbedkitError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # what h5py makes of HDF5's errors
        raise FeatureFileFormatError(
            f"{name} cannot be read as HDF5: {error}; get it again, or make it again"
        ) from error


@contextmanager
def _no_filter_plugins() -> Generator[None]:
    """Let HDF5 find no plugin to load, whatever filter a file names, and then as before.

    HDF5_PLUGIN_PRELOAD would have to be set before anybody in the process imports h5py, and would stay set for all. The
    list of folders that HDF5 searches can be emptied meanwhile; h5py's lock keeps other threads from noticing.
    """
    with _lock:
        folders: list[bytes] = [h5py.h5pl.get(i) for i in range(h5py.h5pl.size())]
        for _ in folders:
            h5py.h5pl.remove(0)
        try:
            yield
        finally:
            for folder in folders:
                h5py.h5pl.append(folder)


class _Window(io.RawIOBase):
    """The first bytes of a file, as the file-like object that h5py asks for."""

    def __init__(self, file: io.FileIO, length: int) -> None:
        super().__init__()
        self._file = file
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        # HDF5 does not look at the count, so what cannot be filled is an error: a hostile size must not cost memory.
        target = memoryview(buffer).cast("B")
        if self._position + len(target) > self._length:
            raise OSError(f"{len(target)} bytes at {self._position} are wanted, and there are {self._length}")
        self._file.seek(self._position)
        self._position += len(target)
        rest = target
        while rest:
            count = self._file.readinto(rest)
            if not count:
                raise OSError("the file became shorter while it was read")
            rest = rest[count:]
        return len(target)
