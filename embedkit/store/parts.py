"""A part: an immutable HDF5 file that maps digests to features, and nothing else.

    spec       uint8 (k,)      canonical JSON of the FeatureSpec; its SHA-256 is the fingerprint of the folder
    digest     uint8 (n, 32)   of the images, in the order in which they were extracted
    features   (n, d)          float32 or float16, little-endian, contiguous, at a multiple of 64 bytes, last

Rows keep the order of extraction, which is the order of the source: reading a table goes through the disk forwards.
All that is read through HDF5 is where the arrays lie. The rows themselves are mapped into memory, so that many threads
read them at the speed of the disk, without HDF5's global lock.

Layer: above checked, hdf5 and untrusted.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None

from embedkit.errors import DamagedPartError, EmbedkitError, FeatureFileError, StoreError
from embedkit.files import DISK, TRAILER, Buffer, Disk, Folder, commit_bytes, open_regular
from embedkit.hdf5 import Extent, Head, build_head, open_untrusted, put_array
from embedkit.specs import FeatureSpec
from embedkit.store.checked import CheckedFiles, damaged, reading_error
from embedkit.store.digests import Digests, Features
from embedkit.store.layout import committed_name, parse_spec

BLOCK_BYTES = 4 << 20
"""Features are copied in blocks of about this size, which stay in the processor's cache."""

# A mapped part holds a file descriptor, of which a process often has 1,024.
_MAPPED_PARTS = 256
_SHARE_OF_DESCRIPTORS = 4

# What is smaller is read: that takes no descriptor, and less time than mapping.
_READ_BYTES = 1 << 17


def most_mapped() -> int:
    """Return how many parts may be mapped at once: a quarter of the files that this process may have open."""
    if resource is None:
        return _MAPPED_PARTS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAPPED_PARTS if soft < 0 else min(_MAPPED_PARTS, max(4, soft // _SHARE_OF_DESCRIPTORS))


@dataclass(frozen=True, slots=True)
class Part:
    """Where the arrays of a part lie.

    Attributes
    ----------
    name : str
        Of the file.
    digests, features : Extent
    held : ndarray of shape (n, 32), uint8, optional
        The digests, where an index holds them.
    """

    name: str
    digests: Extent
    features: Extent
    held: Digests | None = field(default=None, compare=False, repr=False)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.digests.shape[0]


@dataclass(frozen=True, slots=True)
class MappedPart:
    """The arrays of a part, mapped into memory, read-only.

    Attributes
    ----------
    digests : ndarray of shape (n, 32), uint8
    features : ndarray of shape (n, d), float32 or float16
    """

    digests: Digests
    features: Features


class FalseIndexError(Exception):
    """An index that names other digests than the part holds; never leaves the store."""


def write_part(
    folder: Folder | Path, spec: FeatureSpec, digests: Digests, blocks: Iterable[Features], disk: Disk = DISK
) -> str:
    """Commit a part; when this returns its rows are there for ever.

    Parameters
    ----------
    folder : Folder or Path
        Of the fingerprint; must exist.
    spec : FeatureSpec
    digests : ndarray of shape (n, 32), uint8
    blocks : iterable of ndarrays of shape (?, d)
        The features of the digests, in order, of the spec's dtype.
    disk : Disk
        The calls that change the disk.

    Returns
    -------
    str
        The name of the part.

    Raises
    ------
    StoreWriteError
        It could not be written; nothing is left of it.
    """
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    head = _head(spec, digests)

    def chunks() -> Iterator[Buffer]:
        yield head.data
        size = 0
        for block in blocks:
            data = np.ascontiguousarray(block, dtype=dtype).reshape(-1).view(np.uint8).data
            size += data.nbytes
            yield data
        if size != head.features:
            raise StoreError(f"got {size} bytes of features for {len(digests)} rows, expected {head.features}")

    return commit_bytes(folder, lambda length, sha256: committed_name("part", length, sha256), chunks(), disk=disk).name


def read_part(path: Path, spec: FeatureSpec) -> Part:
    """Find the arrays of a part that was checked against its name.

    Raises
    ------
    FileNotFoundError
        It is gone.
    DamagedPartError
        It is no part, or holds features of another spec than its folder.
    """
    try:
        with open_regular(path, follow=False) as file:
            length = os.fstat(file.fileno()).st_size - TRAILER.size
            with open_untrusted(file, length, str(path)) as content:
                parse_spec(content.array("spec", "uint8").tobytes(), spec.fingerprint, path)
                part = Part(path.name, content.extent("digest", "uint8"), content.extent("features", spec.dtype))
    except (FileNotFoundError, DamagedPartError):
        raise
    except FeatureFileError as error:
        raise damaged(path, str(error)) from error
    except EmbedkitError:
        raise
    except OSError as error:
        raise reading_error(path, error) from error
    rows = part.digests.shape[0]
    if part.digests.shape != (rows, 32) or part.features.shape != (rows, spec.backbone.width):
        raise damaged(path, f"digest is {part.digests.shape} and features are {part.features.shape}")
    return part


def read_part_spec(path: Path, fingerprint: str) -> FeatureSpec:
    """Read the spec inside a part that was checked against its name; `read_part` says what it raises."""
    try:
        with open_regular(path, follow=False) as file:
            length = os.fstat(file.fileno()).st_size - TRAILER.size
            with open_untrusted(file, length, str(path)) as content:
                return parse_spec(content.array("spec", "uint8").tobytes(), fingerprint, path)
    except FeatureFileError as error:
        raise damaged(path, str(error)) from error


def rows_in(length: int, spec: FeatureSpec) -> int:
    """Return how many rows a part of so many bytes has, unseen; exact for rows of 128 bytes and more."""
    one_row = _head(spec, np.zeros((1, 32), np.uint8)).length + TRAILER.size
    return max(1, 1 + round((length - one_row) / row_bytes(spec)))  # the features' alignment takes 0 to 63 bytes


def row_bytes(spec: FeatureSpec) -> int:
    """Return how many bytes a row takes in a part: its features and its digest."""
    return np.dtype(spec.dtype).itemsize * spec.backbone.width + 32


class PartMaps:
    """The parts of a folder, mapped into memory: those last used, so many at most.

    Parameters
    ----------
    folder : Folder or Path
    checked : CheckedFiles
        A part is checked whenever it is mapped, so that one replaced meanwhile is noticed.
    """

    def __init__(self, folder: Folder | Path, checked: CheckedFiles) -> None:
        self._folder = folder
        self._checked = checked
        self._maps: OrderedDict[str, MappedPart] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, part: Part) -> MappedPart:
        """Return the arrays of a part.

        Raises
        ------
        FileNotFoundError
            It is gone.
        DamagedPartError
            It no longer matches its name.
        """
        with self._lock:
            found = self._maps.get(part.name)
            if found is None:
                self._checked.check(part.name)
                found = map_part(self._folder / part.name, part)
                if part.held is not None and not np.array_equal(found.digests, part.held):
                    raise FalseIndexError(f"{self._folder / part.name} does not hold the digests that its index names")
                self._maps[part.name] = found
                if len(self._maps) > most_mapped():
                    self._maps.popitem(last=False)
            else:
                self._maps.move_to_end(part.name)
            return found


def map_part(path: Path, part: Part) -> MappedPart:
    """Map the arrays of a checked part."""
    if part.rows == 0:
        return MappedPart(np.empty((0, 32), np.uint8), np.empty(part.features.shape, part.features.dtype))
    try:
        with open_regular(path, follow=False) as file:
            size = os.fstat(file.fileno()).st_size
            # The arrays keep the map alive, and it goes with the last of them.
            memory = file.readall() if size <= _READ_BYTES else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise reading_error(path, error) from error
    return MappedPart(_array(memory, part.digests), _array(memory, part.features))


def _head(spec: FeatureSpec, digests: Digests) -> Head:
    def fill(root: Any) -> None:
        put_array(root, "spec", np.frombuffer(spec.canonical.encode("ascii"), dtype=np.uint8))
        put_array(root, "digest", digests)

    return build_head((len(digests), spec.backbone.width), spec.dtype, fill)


def _array(memory: bytes | mmap.mmap, extent: Extent) -> npt.NDArray[Any]:
    count = extent.size // extent.dtype.itemsize
    return np.frombuffer(memory, extent.dtype, count=count, offset=extent.offset).reshape(extent.shape)
