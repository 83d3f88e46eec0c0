"""Keeping a store small: `pack` and `gc`.

Both work beside readers and writers. Whoever removes committed files holds the `maintenance` lock of the fingerprint;
readers whose parts vanish list the folder again; writers put back a folder that vanished.

Layer: above stored, merge and verification.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedkit.errors import DamagedPartError, UsageError
from embedkit.files import Disk
from embedkit.store.checked import CheckedFiles
from embedkit.store.layout import (
    LEASES,
    CommittedName,
    committed_length,
    committed_names,
    features_folder,
    file_system_time,
    fingerprints,
    part_names,
    temporaries,
)
from embedkit.store.leases import TTL
from embedkit.store.merge import maintenance, merge_parts, remove_files
from embedkit.store.stored import StoredFeatureSet
from embedkit.store.undecodable import merge_reasons, read_undecodable, write_undecodable
from embedkit.store.verification import committed_bytes, last_use, readable_spec

PACKED_BYTES = 256 << 20
"""Parts are packed to about this size: few files for millions of rows, and little to extract again after damage."""

GRACE = 3600.0
"""Seconds for which `gc` leaves a part alone whose rows other parts hold, too."""

# No commit takes so long: a temporary file of that age belongs to a process that died.
_STALE_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """What `pack` did, over all fingerprints.

    Attributes
    ----------
    parts_before, parts_after : int
    bytes_before, bytes_after : int
        Of all committed files.
    """

    parts_before: int
    parts_after: int
    bytes_before: int
    bytes_after: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GcReport:
    """What `gc` removed.

    Attributes
    ----------
    temporaries : int
        Files of processes that died, older than a day.
    superseded : int
        Parts whose every row other parts hold, too.
    evicted : tuple of str
        Fingerprints removed to stay within `max_size`, least recently used first.
    bytes_freed, bytes_left : int
        `bytes_left` counts committed files.
    """

    temporaries: int
    superseded: int
    evicted: tuple[str, ...]
    bytes_freed: int
    bytes_left: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self)


def pack(store: Path, target: int, disk: Disk) -> PackReport:
    """Merge small parts into large ones; see `FeatureStore.pack`."""
    before, after = [0, 0], [0, 0]
    for name in fingerprints(store):
        folder = features_folder(store, name)
        spec = readable_spec(folder)
        with maintenance(folder):
            _add(before, folder)
            if spec is not None:  # what another version wrote is left as it is
                for group in _groups(folder, target):
                    merge_parts(folder, spec, group, disk)
                _merge_undecodable(folder, disk)
            _add(after, folder)
    return PackReport(parts_before=before[0], parts_after=after[0], bytes_before=before[1], bytes_after=after[1])


def gc(store: Path, grace: float, max_size: int | None, disk: Disk) -> GcReport:
    """Remove what nobody needs; see `FeatureStore.gc`."""
    if grace < 0 or (max_size is not None and max_size < 0):
        raise UsageError(f"grace is {grace} seconds and max_size {max_size} bytes; expected nothing below 0")
    now = (file_system_time(store) or 0) / 1e9
    folders = [features_folder(store, name) for name in fingerprints(store)]
    stale = list(_stale(store, folders, now))
    freed = sum(_remove(path, disk) for path in stale)
    superseded = 0
    for folder in folders:
        with maintenance(folder):
            names = _superseded(folder, now - grace)
            freed += sum(committed_length(name) for name in names)
            superseded += len(names)
            if names:
                remove_files(folder, names, disk)
    evicted: list[str] = []
    if max_size is not None:
        for folder in _least_recently_used(folders, max_size, now):
            freed += _evict(folder, disk)
            evicted.append(folder.name)
    return GcReport(
        temporaries=len(stale),
        superseded=superseded,
        evicted=tuple(evicted),
        bytes_freed=freed,
        bytes_left=sum(committed_bytes(folder) for folder in folders),
    )


def _groups(folder: Path, target: int) -> list[list[str]]:
    """Group the small parts, in the order in which they were committed, into what makes parts of the target size."""
    small = [name for name in part_names(folder) if committed_length(name) < target // 2]
    groups: list[list[str]] = [[]]
    size = 0
    for name in sorted(small, key=lambda name: (_modified(folder / name), name)):
        groups[-1].append(name)
        size += committed_length(name)
        if size >= target:
            groups.append([])
            size = 0
    return [group for group in groups if len(group) > 1]


def _merge_undecodable(folder: Path, disk: Disk) -> None:
    names = [name for name in committed_names(folder) if name.startswith("undecodable")]
    wrong = CheckedFiles(folder, "always").check_all(names)
    files: dict[str, dict[bytes, str]] = {}
    for name in names:
        with suppress(DamagedPartError, FileNotFoundError):
            if name not in wrong:
                files[name] = read_undecodable(folder / name, folder.name)
    if len(files) > 1:
        write_undecodable(folder, folder.name, merge_reasons(files.values()), disk)
        remove_files(folder, list(files), disk)


def _stale(store: Path, folders: Iterable[Path], now: float) -> Iterator[Path]:
    """Find what dead processes left."""
    for folder in (store, store / "memo", *folders, *(folder / LEASES for folder in folders)):
        for path in temporaries(folder):
            if now - _modified(path) > _STALE_SECONDS:
                yield path
    for folder in folders:
        for path in (folder / LEASES).glob("*.lease"):
            if now - _modified(path) > _STALE_SECONDS:
                yield path


def _superseded(folder: Path, before: float) -> list[str]:
    """Find the parts, committed before some time, whose every row is in another part that stays."""
    spec = readable_spec(folder)
    if spec is None:
        return []
    features = StoredFeatureSet(folder, spec, "first")
    idle, serving = features.redundant(lambda name: _modified(folder / name) <= before)
    # What serves instead must be whole on the disk now, not only when it was last looked at.
    return idle if idle and not CheckedFiles(folder, "always").check_all(serving) else []


def _least_recently_used(folders: Iterable[Path], max_size: int, now: float) -> list[Path]:
    """Choose the fingerprints that must go for the others to fit, sparing those that are being written to."""
    sizes = {folder: committed_bytes(folder) for folder in folders}
    used = {folder: last_use(folder) or 0.0 for folder in sizes}
    chosen: list[Path] = []
    excess = sum(sizes.values()) - max_size
    for folder in sorted(sizes, key=lambda folder: (used[folder], folder.name)):
        if excess > 0 and not _has_writer(folder, now):
            chosen.append(folder)
            excess -= sizes[folder]
    return chosen


def _has_writer(folder: Path, now: float) -> bool:
    """Say whether a lease has had a heartbeat lately, by the clock of the file system."""
    return any(now - _modified(lease) < 2 * TTL for lease in (folder / LEASES).glob("*.lease"))


def _evict(folder: Path, disk: Disk) -> int:
    """Remove all the features of a fingerprint; what a writer commits meanwhile stays."""
    with maintenance(folder):
        freed = committed_bytes(folder)
        remove_files(folder, committed_names(folder), disk)
        for path in (*(folder / LEASES).glob("*"), *folder.glob("*")):
            if not path.is_dir() and CommittedName.parse(path.name) is None and path not in temporaries(folder):
                _remove(path, disk)
    for empty in (folder / LEASES, folder):
        with suppress(OSError):  # a writer came back
            empty.rmdir()
    return freed


def _add(total: list[int], folder: Path) -> None:
    total[0] += len(part_names(folder))
    total[1] += committed_bytes(folder)


def _modified(path: Path) -> float:
    """Return when a file was last written, in seconds of the file system's clock; a file that is gone counts as new."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _remove(path: Path, disk: Disk) -> int:
    """Remove a file that is no committed one; return its bytes."""
    with suppress(OSError):
        size = os.stat(path).st_size
        disk.remove(path)
        return size
    return 0
