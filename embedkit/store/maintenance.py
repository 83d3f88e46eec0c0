"""Keeping a store small: `pack` and `gc`.

Both work beside readers and writers. Whoever removes committed files holds the `maintenance` lock of the fingerprint;
readers whose parts vanish list the folder again; writers put back a folder that vanished.

Layer: above stored, merge and verification.
"""

from __future__ import annotations

import dataclasses
import logging
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from embedkit.errors import DamagedPartError, UsageError
from embedkit.files import TEMPORARY_PREFIX, Disk, Folder, file_system_time, is_abandoned
from embedkit.store.checked import CheckedFiles
from embedkit.store.layout import (
    ASIDE,
    CHECKED,
    FEATURES,
    LAST_USE,
    LEASES,
    LOCK,
    MARKER,
    MEMO,
    PART_INDEX,
    SPEC,
    CommittedName,
    committed_length,
    committed_names,
    features_folder,
    fingerprints,
    part_names,
    temporaries,
)
from embedkit.store.leases import TTL
from embedkit.store.merge import maintenance, merge_parts, remove_files
from embedkit.store.parts import rows_in
from embedkit.store.stored import FeatureSet
from embedkit.store.undecodable import merge_reasons, read_undecodable, write_undecodable
from embedkit.store.uses import read_uses
from embedkit.store.verification import committed_bytes, last_use, readable_spec, time_text

PACKED_BYTES = 256 << 20
"""Parts are packed to about this size: few files for millions of rows, and little to extract again after damage."""

GRACE = 3600.0
"""Seconds for which `gc` leaves a part alone whose rows other parts hold, too."""

# No commit takes so long: a temporary file of that age belongs to a process that died.
_STALE_SECONDS = 86_400.0

# What embedkit puts into the folder of a fingerprint, beside committed files.
_OURS = (SPEC, CHECKED, PART_INDEX, LAST_USE, LOCK, f"{LEASES}.lock")

_log = logging.getLogger(__name__)


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
class EvictedPart:
    """A part that `gc` removes so that the store fits into a size.

    Attributes
    ----------
    fingerprint, name : str
    model : str or None
        Architecture that made its features.
    rows : int
        Rows in it, by its length: forward passes that it takes to have them again.
    bytes : int
    last_use : str
        ISO 8601, UTC, by the clock of the store's file system.
    """

    fingerprint: str
    name: str
    model: str | None
    rows: int
    bytes: int
    last_use: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GcReport:
    """What `gc` removed, or would remove.

    Attributes
    ----------
    temporaries : int
        Files of processes that died.
    superseded : int
        Parts whose every row other parts hold, too.
    evicted_parts : tuple of EvictedPart
        Removed to stay within `max_size`, least recently used first.
    evicted : tuple of str
        Fingerprints of which nothing is left by that.
    unknown : tuple of str
        Files, folders and links that embedkit did not make, relative to the store. They are left alone.
    bytes_freed, bytes_left : int
        `bytes_left` counts committed files.
    dry_run : bool
        Nothing was removed.
    """

    temporaries: int
    superseded: int
    evicted_parts: tuple[EvictedPart, ...]
    evicted: tuple[str, ...]
    unknown: tuple[str, ...]
    bytes_freed: int
    bytes_left: int
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self)


def pack(store: Folder, target: int, disk: Disk) -> PackReport:
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


def gc(store: Folder, grace: float, max_size: int | None, dry_run: bool, disk: Disk) -> GcReport:
    """Remove what nobody needs; see `FeatureStore.gc`."""
    if grace < 0 or (max_size is not None and max_size < 0):
        raise UsageError(f"grace is {grace} seconds and max_size {max_size} bytes; expected nothing below 0")
    now = (file_system_time(store) or 0) / 1e9
    folders = [features_folder(store, name) for name in fingerprints(store)]
    before = sum(committed_bytes(folder) for folder in folders)
    unknown = tuple(sorted(_unknown(store, folders)))
    stale = list(_stale(store, folders, now))
    freed = sum(_remove(folder, name, disk, dry_run) for folder, name in stale)
    superseded: dict[str, list[str]] = {}
    for folder in folders:
        with maintenance(folder):
            names = superseded[folder.name] = _superseded(folder, now - grace)
            if names and not dry_run:
                remove_files(folder, names, disk)
    gone = sum(committed_length(name) for names in superseded.values() for name in names)
    evicted: list[EvictedPart] = []
    emptied: list[str] = []
    if max_size is not None:
        evicted = _least_recently_used(folders, superseded, before - gone - max_size, now)
        for fingerprint in dict.fromkeys(part.fingerprint for part in evicted):
            folder = features_folder(store, fingerprint)
            parts = [part for part in evicted if part.fingerprint == fingerprint]
            rest = set(committed_names(folder)) - {part.name for part in parts} - set(superseded[fingerprint])
            is_last = not any(name.startswith("part") for name in rest)
            emptied += [fingerprint] * is_last
            gone += sum(part.bytes for part in parts) + (sum(map(committed_length, rest)) if is_last else 0)
            if not dry_run:
                _announce(folder, parts)
                _evict(folder, parts, is_last, disk)
    left = before - gone if dry_run else sum(committed_bytes(folder) for folder in folders)
    return GcReport(
        temporaries=len(stale),
        superseded=sum(map(len, superseded.values())),
        evicted_parts=tuple(evicted),
        evicted=tuple(emptied),
        unknown=unknown,
        bytes_freed=freed + gone,
        bytes_left=left,
        dry_run=dry_run,
    )


def _groups(folder: Folder, target: int) -> list[list[str]]:
    """Group the small parts, in the order in which they were committed, into what makes parts of the target size."""
    small = [name for name in part_names(folder) if committed_length(name) < target // 2]
    groups: list[list[str]] = [[]]
    size = 0
    for name in sorted(small, key=lambda name: (_modified(folder, name), name)):
        groups[-1].append(name)
        size += committed_length(name)
        if size >= target:
            groups.append([])
            size = 0
    return [group for group in groups if len(group) > 1]


def _merge_undecodable(folder: Folder, disk: Disk) -> None:
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


def _stale(store: Folder, folders: Iterable[Folder], now: float) -> Iterator[tuple[Folder, str]]:
    """Find what dead processes left."""
    for folder in (store, store.child(MEMO), *folders, *(folder.child(LEASES) for folder in folders)):
        for name in temporaries(folder):
            if is_abandoned(name) or now - _modified(folder, name) > _STALE_SECONDS:
                yield folder, name
    for folder in folders:
        for name in _leases(folder):
            if now - _modified(folder.child(LEASES), name) > _STALE_SECONDS:
                yield folder.child(LEASES), name


def _unknown(store: Folder, folders: Iterable[Folder]) -> Iterator[str]:
    """Find what embedkit did not make, links among it."""
    yield from _strangers(store, "", lambda name: name == MARKER, {FEATURES, ASIDE, MEMO})
    yield from _strangers(store.child(FEATURES), FEATURES, lambda name: False, {folder.name for folder in folders})
    for folder in folders:
        way = f"{FEATURES}/{folder.name}"
        yield from _strangers(folder, way, lambda name: name in _OURS or bool(CommittedName.parse(name)), {LEASES})
        yield from _strangers(folder.child(LEASES), f"{way}/{LEASES}", lambda name: name.endswith(".lease"), set())


def _strangers(folder: Folder, way: str, is_ours: Callable[[str], bool], folders: set[str]) -> Iterator[str]:
    for name, status in folder.stats(folder.names()).items():
        if stat.S_ISDIR(status.st_mode):
            known = name in folders
        else:
            known = stat.S_ISREG(status.st_mode) and (is_ours(name) or name.startswith(TEMPORARY_PREFIX))
        if not known:
            yield f"{way}/{name}".lstrip("/")


def _superseded(folder: Folder, before: float) -> list[str]:
    """Find the parts, committed before some time, whose every row is in another part that stays."""
    spec = readable_spec(folder)
    if spec is None:
        return []
    features = FeatureSet(folder, spec, "first")
    idle, serving = features.redundant(lambda name: _modified(folder, name) <= before)
    # What serves instead must be whole on the disk now, not only when it was last looked at.
    return idle if idle and not CheckedFiles(folder, "always").check_all(serving) else []


def _least_recently_used(
    folders: Iterable[Folder], superseded: dict[str, list[str]], excess: int, now: float
) -> list[EvictedPart]:
    """Choose the parts that must go for the others to fit, sparing fingerprints that are being written to."""
    parts: list[tuple[float, EvictedPart]] = []
    for folder in folders:
        if _has_writer(folder, now):
            continue
        spec, known = readable_spec(folder), read_uses(folder)
        # Before there were notes on parts, the fingerprint as a whole had one.
        whole = None if known else last_use(folder)
        for name in part_names(folder):
            if name not in superseded[folder.name]:
                used = known.get(name, _modified(folder, name) if whole is None else whole)
                length = committed_length(name)
                part = EvictedPart(
                    fingerprint=folder.name,
                    name=name,
                    model=spec.backbone.architecture if spec else None,
                    rows=rows_in(length, spec) if spec else 0,
                    bytes=length,
                    last_use=time_text(used),
                )
                parts.append((used, part))
    chosen: list[EvictedPart] = []
    for _, part in sorted(parts, key=lambda item: (item[0], item[1].fingerprint, item[1].name)):
        if excess <= 0:
            break
        chosen.append(part)
        excess -= part.bytes
    return chosen


def _announce(folder: Folder, parts: Sequence[EvictedPart]) -> None:
    """Say what goes before it goes."""
    _log.warning(
        "gc removes %d part%s of %s (fingerprint %s...): %d bytes, %d rows, last used up to %s",
        len(parts),
        "" if len(parts) == 1 else "s",
        parts[0].model or "an unknown model",
        folder.name[:12],
        sum(part.bytes for part in parts),
        sum(part.rows for part in parts),
        max(part.last_use for part in parts),
    )


def _has_writer(folder: Folder, now: float) -> bool:
    """Say whether a lease has had a heartbeat lately, by the clock of the file system."""
    return any(now - _modified(folder.child(LEASES), name) < 2 * TTL for name in _leases(folder))


def _leases(folder: Folder) -> list[str]:
    return [name for name in folder.child(LEASES).names() if name.endswith(".lease")]


def _evict(folder: Folder, parts: Sequence[EvictedPart], is_last: bool, disk: Disk) -> None:
    """Remove parts, and with the last of them what else embedkit has put there; what a writer commits stays."""
    with maintenance(folder):
        names = [part.name for part in parts]
        if is_last:
            names += [name for name in committed_names(folder) if name.startswith("undecodable")]
        remove_files(folder, names, disk)
        if not is_last or part_names(folder):
            return
        for name in _leases(folder):
            _remove(folder.child(LEASES), name, disk)
        for name in _OURS:
            _remove(folder, name, disk)
    for empty in (folder.child(LEASES), folder):
        with suppress(OSError):  # a writer came back, or a stranger's file is there
            empty.remove()


def _add(total: list[int], folder: Folder) -> None:
    total[0] += len(part_names(folder))
    total[1] += committed_bytes(folder)


def _modified(folder: Folder, name: str) -> float:
    """Return when a file was last written, in seconds of the file system's clock; a file that is gone counts as new."""
    try:
        return folder.stat(name).st_mtime
    except FileNotFoundError:
        return float("inf")


def _remove(folder: Folder, name: str, disk: Disk, dry_run: bool = False) -> int:
    """Remove a file that is no committed one; return its bytes."""
    with suppress(OSError), folder.opened() as at:
        size = folder.stat(name).st_size
        if not dry_run:
            disk.remove(folder / name, at)
        return size
    return 0
