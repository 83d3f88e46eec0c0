"""HDF5 files of strangers, opened so that they can do no harm.

HDF5 is trusted with the metadata alone: which objects there are, their types, shapes and where their bytes lie. The
bytes themselves are read here, from inside the file, within bounds known beforehand. So nothing that HDF5 does when it
reads data can be used against us: it never runs a filter, follows a link, opens another file or believes a size.

    what a file can hold                                  what happens to it
    soft, external and user-defined links                 refused, not followed
    virtual datasets, external storage                    refused
    filters other than deflate, shuffle, fletcher32       refused; no filter plugin is searched for
    variable-length, reference, opaque, compound types    refused
    an extent outside the file, storage never written     refused
    deflated text beyond 1032 times the file              refused; inflated here, a chunk at a time, to its known size

The walk covers every object of the file, also those that this version does not know, since the user's next tool will
open the same file without such care.

Layer: above hdf5. h5py, numpy, errors and specs only.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import h5py as _h5py
import numpy as np
import numpy.typing as npt

from embedkit.errors import EmbedkitError, FeatureFileFormatError, UnsafeFeatureFileError
from embedkit.specs import Json
from embedkit.store.hdf5 import CHUNK_BYTES, ArrayType, stored_type
from embedkit.store.text import MAX_TEXT

# h5py has no types.
h5py: Any = _h5py
_lock: Any = h5py._objects.phil  # what h5py holds around every call of HDF5

_TEXT_BUDGET = 1 << 32  # bytes of text, without padding, that one dataset may put into memory
_PADDED_BUDGET = 1 << 37  # the same with padding, which costs time but no memory
_MAX_JSON = 1 << 24
_MAX_OBJECTS = 20_000
_MAX_DEPTH = 4
_DEFLATE_RATIO = 1032  # zlib's own limit (zlib.net, "Maximum Compression Factor")

_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_CLASSES = {h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.ENUM}


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

    @functools.cached_property
    def _datasets(self) -> dict[str, Any]:
        """All datasets by their paths; nothing in the file is read before every object was checked."""
        found: dict[str, Any] = {}
        objects = 0
        pending = [(self._root, "", 0)]
        while pending:
            group, prefix, depth = pending.pop()
            objects += group.get_num_objs()
            if objects > _MAX_OBJECTS:
                raise self._unsafe(f"it has more than {_MAX_OBJECTS} objects")
            if depth > _MAX_DEPTH:
                raise self._unsafe(f"groups are nested deeper than {_MAX_DEPTH}, at {prefix!r}")
            for name in self._hard_links(group, prefix):
                path = prefix + name.decode("utf-8", errors="replace")
                kind = h5py.h5o.get_info(group, name).type
                if kind == h5py.h5o.TYPE_GROUP:
                    pending.append((h5py.h5g.open(group, name), f"{path}/", depth + 1))
                elif kind != h5py.h5o.TYPE_DATASET:
                    raise self._unsafe(f"{path!r} is neither a group nor a dataset")
                elif self._may_be_read(dataset := h5py.h5d.open(group, name), path):
                    found[path] = dataset
        return found

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
            raise self._unsafe(f"{path} claims {extent.size} bytes that the file does not hold")
        return extent

    def array(self, path: str, *types: ArrayType) -> npt.NDArray[Any]:
        """Return a contiguous array; `extent` says what it raises."""
        extent = self.extent(path, *types)
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
            raise self._unsafe(f"{path} claims more than {_MAX_JSON} bytes of JSON")
        text = self.array(path, "uint8").tobytes()
        try:
            return cast(Json, json.loads(text))
        except (ValueError, RecursionError) as error:
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
        if properties.get_layout() != h5py.h5d.CHUNKED or _filters(properties) != [h5py.h5z.FILTER_DEFLATE]:
            raise self._malformed(f"{path} is not chunked and deflated")
        step = int(properties.get_chunk()[0])
        if width > MAX_TEXT or step * width > CHUNK_BYTES + MAX_TEXT:
            raise self._unsafe(f"{path} has strings of {width} bytes in chunks of {step * width}")
        if rows * width > min(_DEFLATE_RATIO * self._length, _PADDED_BUDGET):
            raise self._unsafe(f"{path} claims {rows * width} bytes in a file of {self._length}")

        texts: list[str] = []
        budget = _TEXT_BUDGET
        for start in range(0, rows, step):
            block = np.frombuffer(self._inflated_chunk(dataset, start, step * width, path), dtype=f"S{width}")
            try:
                found = [value.decode("utf-8") for value in block[: rows - start].tolist()]
            except UnicodeDecodeError as error:
                raise self._malformed(f"{path} is not UTF-8 in rows {start} to {start + step}") from error
            budget -= sum(map(len, found))
            if budget < 0:
                raise self._unsafe(f"{path} holds more than {_TEXT_BUDGET} characters")
            texts += found
        return texts

    def attribute(self, name: str) -> str | int | None:
        """Return a short string or integer on the root, None when it is not there."""
        key = name.encode()
        if not h5py.h5a.exists(self._root, key):
            return None
        attribute = h5py.h5a.open(self._root, key)
        stored = attribute.get_type()
        if attribute.shape != () or stored.get_size() > 1024 or not _is_plain(stored):
            raise self._malformed(f"attribute {name} is no short string or integer")
        value = np.empty((), dtype=attribute.dtype)
        attribute.read(value)
        if value.dtype.kind == "S":
            return cast(bytes, value[()]).decode("utf-8", errors="replace")
        if value.dtype.kind in "iu":
            return int(value)
        raise self._malformed(f"attribute {name} is no short string or integer")

    def _dataset(self, path: str) -> Any:
        if path not in self._datasets:
            raise self._malformed(f"it has no {path}")
        return self._datasets[path]

    def _hard_links(self, group: Any, prefix: str) -> list[bytes]:
        """Return the names in a group, all of them names of objects in this file."""
        links: list[tuple[bytes, int]] = []

        def note(name: Any, link: Any) -> None:
            links.append((bytes(name), int(link.type)))

        group.links.iterate(note, info=True)
        for name, kind in links:
            if kind != h5py.h5l.TYPE_HARD:
                path = prefix + name.decode("utf-8", errors="replace")
                raise self._unsafe(f"{path!r} is a soft, external or user-defined link")
        return [name for name, _ in links]

    def _may_be_read(self, dataset: Any, path: str) -> bool:
        properties = dataset.get_create_plist()
        if properties.get_layout() == h5py.h5d.VIRTUAL:
            if self._skip_virtual:
                return False
            raise self._unsafe(f"{path!r} is a virtual dataset, which reads other files")
        if properties.get_external_count() > 0:
            raise self._unsafe(f"{path!r} has external storage, which reads other files")
        if not _is_plain(dataset.get_type()):
            raise self._unsafe(f"{path!r} has a variable-length, reference, compound or opaque type")
        filters = _filters(properties)
        if not set(filters) <= _FILTERS or len(set(filters)) < len(filters):
            raise self._unsafe(
                f"{path!r} has the filters {filters}; deflate, shuffle and fletcher32 once each are allowed"
            )
        return True

    def _inflated_chunk(self, dataset: Any, row: int, size: int, path: str) -> bytes:
        """Return a chunk of known size; HDF5 would inflate a hostile one to whatever it becomes."""
        chunk = dataset.get_chunk_info_by_coord((row,))
        if chunk.byte_offset is None or chunk.byte_offset + chunk.size > self._length or chunk.filter_mask != 0:
            raise self._unsafe(f"{path} has no stored chunk at row {row}")
        packed = bytearray(chunk.size)
        self._read(memoryview(packed), chunk.byte_offset, path)
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(packed, size)
            more = inflater.decompress(inflater.unconsumed_tail, 1)
        except zlib.error as error:
            raise self._malformed(f"{path} does not inflate at row {row}: {error}") from error
        if len(data) != size or more:
            raise self._unsafe(f"{path} inflates to another size than {size} bytes at row {row}")
        return data

    def _read(self, target: memoryview, offset: int, path: str) -> None:
        self._file.seek(offset)
        while target:
            count = self._file.readinto(target)
            if not count:
                raise self._unsafe(f"{path} ends behind the end of the file")
            target = target[count:]

    def _unsafe(self, reason: str) -> UnsafeFeatureFileError:
        return UnsafeFeatureFileError(f"{self._name} is refused: {reason}; get it again from where it was made")

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
        It uses what is refused (the list at the top of this module).
    """
    try:
        with _no_filter_plugins(), h5py.File(_Window(file, length), "r", driver="fileobj") as opened:
            if opened.userblock_size:
                raise UnsafeFeatureFileError(f"{name} is refused: it hides bytes in a user block; get it again")
            yield UntrustedFile(h5py.h5g.open(opened.id, b"/"), file, length, name, skip_virtual)
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


def _filters(properties: Any) -> list[int]:
    return [int(properties.get_filter(i)[0]) for i in range(properties.get_nfilters())]


def _is_plain(stored: Any) -> bool:
    return stored.get_class() in _CLASSES and not (stored.get_class() == h5py.h5t.STRING and stored.is_variable_str())
