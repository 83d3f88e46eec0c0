"""What is in a store and whether it is whole: `info`, `verify` and `repair`.

Layer: above stored and merge.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embedkit.errors import DamagedPartError, StoreError, StoreFormatError, StoreWriteError
from embedkit.files import Disk, Folder, Verify
from embedkit.specs import FeatureSpec
from embedkit.store.checked import CheckedFiles
from embedkit.store.layout import (
    ASIDE,
    LAST_USE,
    committed_length,
    committed_names,
    ensure_features_folder,
    features_folder,
    fingerprints,
    part_names,
    read_spec,
)
from embedkit.store.merge import maintenance
from embedkit.store.parts import read_part, read_part_spec, rows_in
from embedkit.store.stored import FeatureSet
from embedkit.store.undecodable import read_undecodable


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedFile:
    """A committed file whose bytes are not what was committed.

    Attributes
    ----------
    fingerprint : str
    model : str or None
        Architecture that made the features; None when the spec cannot be read.
    path : str
    reason : str
    rows : int
        Rows that it held, by its length: what computing them again costs, in forward passes, unless other parts hold
        some of them.
    """

    fingerprint: str
    model: str | None
    path: str
    reason: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` found.

    Attributes
    ----------
    parts, rows, bytes : int
        Sound parts, the rows in them, and the bytes of all committed files that were read.
    damaged : tuple of DamagedFile
    """

    parts: int
    rows: int
    bytes: int
    damaged: tuple[DamagedFile, ...]

    @property
    def rows_to_extract(self) -> int:
        """Forward passes that it takes to have again what the damaged parts held."""
        return sum(file.rows for file in self.damaged)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**dataclasses.asdict(self), "rows_to_extract": self.rows_to_extract}


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What `repair` did.

    Attributes
    ----------
    set_aside : tuple of DamagedFile
        Their paths are where they lie now.
    specs_restored : tuple of str
        Fingerprints whose ``spec.json`` was written again from a part.
    """

    set_aside: tuple[DamagedFile, ...]
    specs_restored: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintInfo:
    """What a store holds of one spec.

    Attributes
    ----------
    fingerprint : str
    model : str or None
        Architecture; None when the spec cannot be read by this version.
    rows : int
        Rows served.
    duplicates : int
        Stored rows that are not served, since a part before theirs by name holds the same digest.
    undecodable : int
        Digests remembered as undecodable.
    parts, bytes : int
        Committed parts, and the bytes of all committed files.
    damaged : int
        Files that are not served; `verify` names them.
    last_use : str or None
        ISO 8601, UTC, by the clock of the store's file system.
    """

    fingerprint: str
    model: str | None
    rows: int
    duplicates: int
    undecodable: int
    parts: int
    bytes: int
    damaged: int
    last_use: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """What a store holds.

    Attributes
    ----------
    path : str
    fingerprints : tuple of FingerprintInfo
    """

    path: str
    fingerprints: tuple[FingerprintInfo, ...]

    @property
    def rows(self) -> int:
        """Rows served, of all fingerprints."""
        return sum(one.rows for one in self.fingerprints)

    @property
    def bytes(self) -> int:
        """Bytes of all committed files."""
        return sum(one.bytes for one in self.fingerprints)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**dataclasses.asdict(self), "rows": self.rows, "bytes": self.bytes}


def info(store: Folder, verify: Verify) -> StoreInfo:
    """Describe a store; see `FeatureStore.info`."""
    return StoreInfo(
        path=str(store.path),
        fingerprints=tuple(_describe(features_folder(store, name), verify) for name in fingerprints(store)),
    )


def verify(store: Folder) -> VerifyReport:
    """Read every committed file and compare it with its name; see `FeatureStore.verify`."""
    parts, rows, size = 0, 0, 0
    damaged: list[DamagedFile] = []
    for fingerprint in fingerprints(store):
        folder = features_folder(store, fingerprint)
        found = _examine(folder)
        parts, rows, size = parts + found.parts, rows + found.rows, size + found.bytes
        damaged += found.damaged
    return VerifyReport(parts=parts, rows=rows, bytes=size, damaged=tuple(damaged))


def repair(store: Folder, disk: Disk) -> RepairReport:
    """Set damaged files aside; see `FeatureStore.repair`."""
    aside: list[DamagedFile] = []
    restored: list[str] = []
    for fingerprint in fingerprints(store):
        folder = features_folder(store, fingerprint)
        with maintenance(folder):
            for file in _examine(folder).damaged:
                path = _set_aside(folder, Path(file.path).name, store.child(ASIDE, fingerprint), disk)
                aside.append(dataclasses.replace(file, path=str(path)))
            spec = find_spec(folder)
            if spec is not None and _sound_spec(folder) is None:
                ensure_features_folder(folder, spec, disk)
                restored.append(fingerprint)
    return RepairReport(set_aside=tuple(aside), specs_restored=tuple(restored))


def find_spec(folder: Folder) -> FeatureSpec | None:
    """Return the spec of a fingerprint's folder: of ``spec.json``, or else of a sound part; None if this fails.

    Raises
    ------
    StoreFormatError
        The spec was written by another version of embedkit.
    """
    spec = _sound_spec(folder)
    checked = CheckedFiles(folder, "first")
    for name in part_names(folder) if spec is None else []:
        try:
            checked.check(name)
            return read_part_spec(folder / name, folder.name)
        except (DamagedPartError, FileNotFoundError):
            continue
    return spec


def committed_bytes(folder: Folder) -> int:
    """Return the bytes of all committed files of a folder, by their names."""
    return sum(committed_length(name) for name in committed_names(folder))


def last_use(folder: Folder) -> float | None:
    """Return when the features of a folder were last used, in seconds of the file system's clock."""
    try:
        return folder.stat(LAST_USE).st_mtime
    except OSError:
        return None


def time_text(seconds: float) -> str:
    """Return a time of the file system's clock in ISO 8601, UTC; times that no calendar has count as 1970."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC).isoformat(timespec="seconds")


def _describe(folder: Folder, verify: Verify) -> FingerprintInfo:
    used = last_use(folder)
    shared: dict[str, Any] = {
        "fingerprint": folder.name,
        "parts": len(part_names(folder)),
        "bytes": committed_bytes(folder),
        "last_use": None if used is None else time_text(used),
    }
    spec = readable_spec(folder)
    if spec is None:
        return FingerprintInfo(model=None, rows=0, duplicates=0, undecodable=0, damaged=0, **shared)
    features = FeatureSet(folder, spec, verify)
    snapshot = features.snapshot()
    stored, duplicates = features.counts()
    return FingerprintInfo(
        model=spec.backbone.architecture,
        rows=stored - duplicates,
        duplicates=duplicates,
        undecodable=len({digest for reasons in snapshot.reasons.values() for digest in reasons}),
        damaged=len(snapshot.damaged),
        **shared,
    )


def _examine(folder: Folder) -> VerifyReport:
    """Verify the files of one fingerprint."""
    spec = readable_spec(folder)
    names = committed_names(folder)
    checked = CheckedFiles(folder, "always")
    wrong = checked.check_all(names)
    damaged: list[DamagedFile] = []
    parts, rows, size = 0, 0, 0

    def note(path: Path, error: DamagedPartError, rows: int) -> None:
        model = spec.backbone.architecture if spec else None
        damaged.append(
            DamagedFile(
                fingerprint=folder.name, model=model, path=str(path), reason=error.strerror or str(error), rows=rows
            )
        )

    for name in names:
        path = folder / name
        is_part = name.startswith("part")
        try:
            if name in wrong:
                raise wrong[name]
            if spec is not None and is_part:
                rows += read_part(path, spec).rows
            elif not is_part:
                read_undecodable(path, folder.name)
        except FileNotFoundError:  # merged meanwhile
            continue
        except DamagedPartError as error:
            note(path, error, rows_in(committed_length(name), spec) if spec is not None and is_part else 0)
        else:
            parts, size = parts + is_part, size + committed_length(name)
    return VerifyReport(parts=parts, rows=rows, bytes=size, damaged=tuple(damaged))


def _set_aside(folder: Folder, name: str, target: Folder, disk: Disk) -> Path:
    """Move a file, never onto another."""
    try:
        for above in target.way():
            above.make()
        taken = set(target.names())
        names = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(2)))
        free = target / next(one for one in names if one not in taken)
        with folder.opened() as at, target.opened() as to:
            disk.rename(folder / name, free, at, to)
            disk.sync_folder(target.path, to)
            disk.sync_folder(folder.path, at)
    except StoreError:
        raise
    except OSError as error:
        raise StoreWriteError(
            f"cannot move {folder / name} to {target.path}: {error.strerror}; move it by hand"
        ) from error
    return free


def _sound_spec(folder: Folder) -> FeatureSpec | None:
    try:
        return read_spec(folder)
    except DamagedPartError:
        return None


def readable_spec(folder: Folder) -> FeatureSpec | None:
    """Return the spec, None also when it was written by another version."""
    try:
        return find_spec(folder)
    except StoreFormatError:
        return None
