"""Writing a feature file: checked before any work begins, streamed, and committed whole or not at all.

Layer: above feature_file, below table. numpy, errors and specs only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedkit.errors import FeatureFileError, OutputExistsError, StoreWriteError, UsageError
from embedkit.files import DISK, TRAILER, Disk, commit_to, temporary_name
from embedkit.hdf5 import Head
from embedkit.specs import FeatureSpec, describe_differences, differences
from embedkit.tables.feature_file import Batch, read_feature_file
from embedkit.tables.feature_layout import lay_out
from embedkit.tables.head import TableHead

_SHOWN = 5  # keys that a message names


def write_feature_file(
    path: str | os.PathLike[str],
    head: TableHead,
    batches: Iterable[Batch],
    *,
    force: bool = False,
    disk: Disk = DISK,
) -> None:
    """Write a feature file, of any size, in the memory of its head and one batch.

    Parameters
    ----------
    path : path
        An existing file is replaced only by one of the same fingerprint that has all its keys, with equal digests.
    head : TableHead
    batches : iterable of ndarray of shape (rows, width), float32 or float16
        The features, in the order of the head's keys; of the type and width that the head's spec says.
    force : bool
        Replace whatever is there.
    disk : Disk
        The calls that change the disk.

    Raises
    ------
    OutputExistsError
        Something is there that the new file does not contain.
    StoreWriteError
        The folder is missing or read-only, or the disk is full. Nothing was changed.
    UsageError
        The batches are not what the head says. Nothing was changed.
    """
    target = check_output(path, head.spec, head.keys, force=force, digests=head.digests, disk=disk)
    front = lay_out(head)
    needed, free = front.length + TRAILER.size, shutil.disk_usage(target.parent).free
    if needed > free:
        raise StoreWriteError(f"{path} needs {needed} bytes and the disk has {free}; free some space, or name another")
    replaces = os.path.lexists(target)
    try:
        commit_to(target, _content(front, head, batches), overwrite=force or replaces, disk=disk)
    except FileExistsError as error:
        if isinstance(error, OutputExistsError):
            raise
        raise OutputExistsError(f"{path} appeared while it was being written; name another output") from error


def check_output(
    path: str | os.PathLike[str],
    spec: FeatureSpec | None = None,
    keys: Sequence[str] | None = None,
    *,
    force: bool = False,
    digests: npt.NDArray[np.uint8] | None = None,
    disk: Disk = DISK,
) -> Path:
    """Make sure that an output can be written, before the work that leads to it.

    Parameters
    ----------
    path : path
    spec : FeatureSpec, optional
        Of the features to be written, when it is known already.
    keys : sequence of str, optional
        Of the table to be written, when they are known already.
    force : bool
        Whatever is at the path may be replaced.
    digests : ndarray of shape (n_keys, 32), uint8, optional
        Of `keys`, when they are known already.
    disk : Disk
        The calls that change the disk.

    Returns
    -------
    Path
        Where the file will be: `path` with links followed.

    Raises
    ------
    StoreWriteError
        The folder is missing, or cannot be written to.
    OutputExistsError
        Something is there that the new file would not contain, or a folder.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OutputExistsError(f"{path} is a folder or a device; name a file")
    if os.path.lexists(target) and not force:
        _check_superset(path, spec, keys, digests)
    _check_folder(path, target.parent, disk)
    return target


def _check_superset(
    path: str | os.PathLike[str],
    spec: FeatureSpec | None,
    keys: Sequence[str] | None,
    digests: npt.NDArray[np.uint8] | None,
) -> None:
    """Raise OutputExistsError unless a new table contains the existing one."""
    choices = "name another output, or replace it with --force (force=True)"
    try:
        existing, _ = read_feature_file(path)
    except FeatureFileError as error:
        raise OutputExistsError(f"{path} exists and cannot be compared ({error}); {choices}") from error
    if spec is not None and (found := differences(spec, existing.spec)):
        raise OutputExistsError(f"{path} holds other features: {describe_differences(found)}; {choices}")
    if keys is None:
        return
    row_of = {key: row for row, key in enumerate(keys)}
    missing = [key for key in existing.keys if key not in row_of]
    if missing:
        raise OutputExistsError(
            f"{path} holds {_count(missing)} that the new table lacks; bring it up to date with --update "
            f"(update=True), {choices}"
        )
    if digests is None:
        return
    rows = np.array([row_of[key] for key in existing.keys], dtype=np.intp)
    changed = np.flatnonzero((digests[rows] != existing.digests).any(axis=1))
    if len(changed):
        names = [existing.keys[row] for row in changed.tolist()]
        raise OutputExistsError(
            f"{path} holds {_count(names)} made from other images than the new table's; bring it up to date with "
            f"--update (update=True), {choices}"
        )


def _check_folder(path: str | os.PathLike[str], folder: Path, disk: Disk) -> None:
    if not folder.is_dir():
        raise StoreWriteError(f"cannot write {path}: there is no folder {folder}; create it, or name another output")
    probe = folder / temporary_name()
    try:  # permissions, quotas and read-only mounts are told apart by trying only
        os.close(disk.create(probe))
        disk.remove(probe)
    except OSError as error:
        raise StoreWriteError(
            f"cannot write {path}: {error.strerror} in {folder}; make the folder writable, or name another output"
        ) from error


def _content(front: Head, head: TableHead, batches: Iterable[Batch]) -> Generator[memoryview]:
    """Yield the bytes of the file; the rows are counted and compared with the head on the way."""
    yield front.data
    spec, rows = head.spec, 0
    expected = np.dtype(spec.dtype)
    for batch in batches:
        if batch.ndim != 2 or batch.shape[1] != spec.backbone.width or batch.dtype != expected:
            raise UsageError(
                f"a batch of features is {batch.dtype} {batch.shape}; the spec says {expected} "
                f"(rows, {spec.backbone.width})"
            )
        rows += len(batch)
        if rows > len(head):
            break
        yield np.ascontiguousarray(batch, expected.newbyteorder("<")).reshape(-1).view(np.uint8).data
    if rows != len(head):
        raise UsageError(
            f"the batches hold {'more' if rows > len(head) else rows} rows, and there are {len(head)} keys"
        )


def _count(keys: Sequence[str]) -> str:
    shown = ", ".join(map(repr, keys[:_SHOWN])) + (", ..." if len(keys) > _SHOWN else "")
    return f"{len(keys)} {'row' if len(keys) == 1 else 'rows'} ({shown})"
