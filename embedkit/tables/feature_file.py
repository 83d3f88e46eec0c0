"""Reading a feature file: one table, complete by itself, which people keep, send and open with other tools.

    head (HDF5) | features | trailer

It is checked against its trailer before HDF5 sees it, and opened as if a stranger had made it (untrusted). It never
changes: a new one takes its place.

Layer: above feature_layout and commit, below table. numpy, errors and specs only.
"""

from __future__ import annotations

import io
import os
import stat
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import (
    DamagedFeatureFileError,
    FeatureFileError,
    FeatureFileFormatError,
    FeatureFileNotFoundError,
    UsageError,
)
from embedkit.files import MAGIC, TICK_NS, TRAILER, FileIdentity, Verify, check_trailer
from embedkit.hdf5 import UntrustedFile, open_untrusted
from embedkit.specs import FeatureSpec, Json
from embedkit.tables.feature_layout import (
    FORMAT,
    column_names,
    read_features,
    read_head,
    read_provenance,
    read_spec,
    read_target_type,
    read_version,
)
from embedkit.tables.head import TableHead

Batch = npt.NDArray[np.float32] | npt.NDArray[np.float16]

# Files that this process has found whole.
_whole: set[FileIdentity] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFileInfo:
    """What a feature file holds.

    Attributes
    ----------
    path : str
    model : str
        The name that was asked for where it is known, else the architecture.
    rows, width, failures, bytes : int
        Rows and columns of the features; images without features; size of the file.
    dtype, target_type, fingerprint, format : str
    classes : int
        How many there are.
    splits : dict of str to int
        Rows in each split, ``""`` for rows that have none; empty when the file has no splits.
    columns : list of str
    source, created, read : str or None
        From the provenance: where the images came from, when, and what was read there (labels, splits, passed over).
    spec : FeatureSpec
    """

    path: str
    model: str
    rows: int
    width: int
    dtype: str
    target_type: str
    classes: int
    splits: dict[str, int]
    columns: list[str]
    failures: int
    fingerprint: str
    bytes: int
    source: str | None
    created: str | None
    format: str
    spec: FeatureSpec
    read: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "spec": self.spec.to_dict()}


def read_feature_file(path: str | os.PathLike[str], verify: Verify = "first") -> tuple[TableHead, Batch]:
    """Open a feature file.

    Parameters
    ----------
    path : path
    verify : {"first", "always", "size"}
        How its bytes are checked before anything is read.

    Returns
    -------
    head : TableHead
    features : ndarray of shape (n_rows, width), float32 or float16, read-only
        Mapped, not read.

    Raises
    ------
    FeatureFileNotFoundError
        There is no such file.
    FeatureFileFormatError
        It is something else, or of a newer major version.
    DamagedFeatureFileError
        It was cut off, changed, or written to by another program.
    UnsafeFeatureFileError
        It uses what is refused from strangers (docs/format.md).
    """
    with _open(path, verify) as (raw, file, name):
        head = read_head(file, name)
        features = read_features(file, head.spec, name)
        if features.shape[0] != len(head):
            raise FeatureFileFormatError(f"{name} has {features.shape[0]} features and {len(head)} keys; make it again")
        if features.size == 0:
            return head, np.empty(features.shape, features.dtype)
        mapped = np.memmap(cast(Any, raw), features.dtype, "r", features.offset, features.shape)
        return head, mapped.view(np.ndarray)


def info(path: str | os.PathLike[str], verify: Verify = "size") -> FeatureFileInfo:
    """Say what a feature file holds, without reading its features.

    Raises
    ------
    FeatureFileError
        As `read_feature_file`.
    """
    with _open(path, verify) as (_, file, name):
        spec = read_spec(file, name)
        features = read_features(file, spec, name)
        provenance = read_provenance(file, name)
        target_type = read_target_type(file, name)
        splits = Counter(file.text("split") if "split" in file else [])
        return FeatureFileInfo(
            path=name,
            model=str(provenance.get("model") or spec.backbone.architecture),
            rows=features.shape[0],
            width=features.shape[1],
            dtype=features.type,
            target_type=target_type,
            classes=len(file.text("label_classes")) if "label_classes" in file else 0,
            splits=dict(sorted(splits.items())),
            columns=column_names(file),
            failures=len(file.text("failures/key")) if "failures/key" in file else 0,
            fingerprint=spec.fingerprint,
            bytes=os.stat(path).st_size,
            source=_text_or_none(provenance.get("source")),
            created=_text_or_none(provenance.get("created")),
            format=read_version(file, name),
            spec=spec,
            read=_text_or_none(provenance.get("read")),
        )


@contextmanager
def open_sealed(path: str | os.PathLike[str], verify: Verify) -> Generator[tuple[io.FileIO, int]]:
    """Open a file whose bytes are those of its trailer; give it and the number of bytes before the trailer.

    Raises
    ------
    FeatureFileError
        As `read_feature_file`.
    """
    if verify not in ("first", "always", "size"):
        raise UsageError(f"verify is {verify!r}; expected 'first', 'always' or 'size'")
    name = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
            raise FeatureFileFormatError(f"{name} is not a file; name a feature file (.h5)")
        raw = io.FileIO(path)
    except FileNotFoundError as error:
        raise FeatureFileNotFoundError(f"no feature file at {name}; check the path, or extract features") from error
    except OSError as error:
        raise FeatureFileError(f"cannot open {name}: {error.strerror}; check its permissions") from error
    with raw:
        try:
            length = _checked_length(raw, verify, name)
        except DamagedFeatureFileError:
            raise
        except OSError as error:
            raise DamagedFeatureFileError(f"cannot read {name}: {error.strerror}; check the disk") from error
        yield raw, length


@contextmanager
def _open(path: str | os.PathLike[str], verify: Verify) -> Generator[tuple[io.FileIO, UntrustedFile, str]]:
    name = os.fspath(path)
    with open_sealed(path, verify) as (raw, length), open_untrusted(raw, length, name) as file:
        read_version(file, name)
        yield raw, file, name


def _checked_length(raw: io.FileIO, verify: Verify, name: str) -> int:
    """Return the number of bytes of the HDF5 file proper, after the whole file was checked as asked."""
    started = time.time_ns()
    identity = FileIdentity.of(os.fstat(raw.fileno()))
    length = identity.size - TRAILER.size
    raw.seek(max(0, length))
    if raw.read(len(MAGIC)) != MAGIC:
        raise _no_trailer(raw, name)
    if verify == "size":
        raw.seek(length)
        claimed = TRAILER.unpack(raw.read(TRAILER.size))[1]
        reason = None if claimed == length else f"it has {length} bytes before its trailer, which says {claimed}"
    elif verify == "first" and identity in _whole:
        reason = None
    else:
        reason = check_trailer(cast(BinaryIO, raw))
    if reason:
        raise DamagedFeatureFileError(f"{name} is damaged: {reason}; get it again, or extract it again")
    if verify != "size" and identity.older_than(started - TICK_NS):
        _whole.add(identity)
    return length


def _no_trailer(raw: io.FileIO, name: str) -> FeatureFileError:
    """Tell a feature file that has lost its trailer from a file that never was one."""
    raw.seek(0)
    if FORMAT.encode() in raw.read(4096):
        return DamagedFeatureFileError(
            f"{name} has no trailer: it was cut off, or another program opened it for writing; get it again, or "
            "extract it again (features that are in the store are not computed again)"
        )
    return FeatureFileFormatError(
        f"{name} is not a feature file of embedkit; name one that `embedkit extract IMAGES -o FILE.h5` wrote"
    )


def _text_or_none(value: Json) -> str | None:
    return value if isinstance(value, str) else None
