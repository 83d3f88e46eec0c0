"""Disks that fail, fill up, stop half-way or change bytes, and what a store makes of them."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from benchmarks.fault_rows import DIGESTS, FAST, FEATURES, ROWS, SPEC, Counts, count_wrong, start, wait
from embedkit.errors import StoreWriteError
from embedkit.files.commit import Disk
from embedkit.store.feature_store import FeatureStore
from embedkit.store.stored import FeatureSet

Change = tuple[str, Path, Path | bytes | None]


def prefixes(folder: Path, step: int) -> Counts:
    """Replay every beginning of the low-level changes of a commit: each must leave the part whole or not there.

    A disk that lost power after a rename, without the flush before it, could also hold a beginning of the file under
    its final name: that must be refused.
    """
    disk = _RecordingDisk()
    features = FeatureStore(folder / "recorded", disk=disk).features(SPEC)
    with features.writer(**FAST) as writer:
        writer.add(DIGESTS[:8], FEATURES[:8])
        writer.commit()
        shutil.copytree(folder / "recorded", folder / "before")
        disk.changes.clear()
        writer.add(DIGESTS[8:24], FEATURES[8:24])
        writer.commit()
        changes = list(disk.changes)
    counts = {"beginnings_replayed": 0, "torn_files_tried": 0, "neither_whole_nor_absent": 0, "not_refused": 0}
    rename = changes[-1]
    for beginning in _beginnings(changes, step):
        committed = beginning == changes
        found = _replay(folder, beginning)
        present = found.contains(DIGESTS[:24])
        sound = present[:8].all() and (present[8:] == committed).all() and not found.snapshot().damaged
        counts["neither_whole_nor_absent"] += not sound or count_wrong(found) > 0
        counts["beginnings_replayed"] += 1
        if beginning and not committed and beginning[-1] != changes[-2]:
            found = _replay(folder, [*beginning, rename])
            counts["not_refused"] += bool(found.contains(DIGESTS[8:24]).any()) or len(found.snapshot().damaged) != 1
            counts["torn_files_tried"] += 1
    return counts


def _replay(folder: Path, changes: list[Change]) -> FeatureSet:
    """Do some of the recorded changes to a copy of the store; return what a reader makes of it."""
    copy = folder / "replayed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "before", copy)
    for change, path, content in changes:
        here = copy / path.relative_to(folder / "recorded")
        if change == "create":
            here.touch()
        elif change == "write":
            with here.open("ab") as file:
                file.write(cast(bytes, content))
        else:
            here.rename(copy / cast(Path, content).relative_to(folder / "recorded"))
    return FeatureStore(copy).features(SPEC)


def failures(folder: Path, errors: Sequence[int]) -> Counts:
    """Let each low-level call of a commit fail once, with several errors; then let the same writer commit again."""
    tried = surprising = lost = wrong = temporaries = 0
    for error in errors:
        for at in range(1000):
            store = folder / f"{errno.errorcode[error]}-{at}"
            with FeatureStore(store).features(SPEC).writer(**FAST) as writer:
                writer.add(DIGESTS[:8], FEATURES[:8])
            disk = _FailingDisk(at, error)
            features = FeatureStore(store, disk=disk).features(SPEC)
            with features.writer(**FAST) as writer:
                writer.add(DIGESTS[8:24], FEATURES[8:24])
                try:
                    writer.commit()
                except StoreWriteError as failure:
                    surprising += failure.errno != error
                    temporaries += len(list(store.rglob(".tmp-*")))
                    lost += int((~FeatureStore(store).features(SPEC).contains(DIGESTS[:8])).sum())
                if disk.calls <= at:
                    break
            features.refresh()
            lost += int((~features.contains(DIGESTS[:24])).sum())
            wrong += count_wrong(features)
            tried += 1
    return {
        "calls_failed": tried,
        "unexpected_errors": surprising,
        "temporaries_left": temporaries,
        "rows_lost": lost,
        "rows_wrong": wrong,
    }


def full_disks(folder: Path) -> Counts:
    """Write until there is no room: under RLIMIT_FSIZE, on a small file system, without inodes, read-only."""
    counts: Counts = {"rows_acknowledged": 0, "rows_lost": 0, "temporaries_left": 0, "unexpected_errors": 0}
    for name, options, expected in (
        ("file_size_limit", None, errno.EFBIG),
        ("full_file_system", "size=1m", errno.ENOSPC),
        ("no_inodes", "nr_inodes=40", errno.ENOSPC),
        ("read_only", "size=1m", errno.EROFS),
    ):
        place = folder / name
        place.mkdir()
        with _mounted(place, options) as available:
            if not available:
                counts[name] = "skipped: no right to mount a small tmpfs"
                continue
            if status := wait(start(_write_until_full, place, name, folder / f"{name}.json")):
                raise RuntimeError(f"writing with {name} ended with status {status}")
            outcome = json.loads((folder / f"{name}.json").read_text())
            counts[name] = errno.errorcode.get(outcome.pop("errno"), "no error")
            counts["unexpected_errors"] += counts[name] != errno.errorcode[expected]
            for key, value in outcome.items():
                counts[key] += value
    return counts


def flips(folder: Path, count: int) -> Counts:
    """Flip one bit of a part, `count` times: the part must be refused by name, and the others served."""
    chance = random.Random(0)
    store = FeatureStore(folder / "store")
    for first in range(0, 64, 16):
        with store.features(SPEC).writer(**FAST) as writer:
            writer.add(DIGESTS[first : first + 16], FEATURES[first : first + 16])
    held = {path: _rows_of(path) for path in store.features(SPEC).folder.glob("part-*")}
    counts = {"flips": count, "not_refused": 0, "not_named": 0, "rest_not_served": 0, "rows_wrong": 0}
    for number in range(count):
        path = chance.choice(sorted(held))
        size = path.stat().st_size
        # Every byte in turn, so that none of HDF5's own is left out, and others at random.
        offset, bit = (number // 2) % size if number % 2 else chance.randrange(size), chance.randrange(8)
        _flip(path, offset, bit)
        features = FeatureStore(folder / "store").features(SPEC)
        present = features.contains(DIGESTS[:64])
        rest = np.setdiff1d(np.arange(64), held[path])
        counts["not_refused"] += bool(present[held[path]].any())
        counts["not_named"] += [Path(str(error.filename)) for error in features.snapshot().damaged.values()] != [path]
        counts["rest_not_served"] += not present[rest].all() or bool(
            (features.get(DIGESTS[rest]) != FEATURES[rest]).any()
        )
        counts["rows_wrong"] += count_wrong(features)
        _flip(path, offset, bit)
    counts["rows_lost"] = int((~FeatureStore(folder / "store").features(SPEC).contains(DIGESTS[:64])).sum())
    return counts


class _FailingDisk(Disk):
    """Fails at one of its calls, by number, with one error."""

    def __init__(self, at: int, error: int) -> None:
        self._at = at
        self._error = error
        self.calls = 0

    def _count(self) -> None:
        self.calls += 1
        if self.calls - 1 == self._at:
            raise OSError(self._error, os.strerror(self._error))

    def create(self, path: Path, at: int | None = None) -> int:
        self._count()
        return super().create(path, at)

    def write(self, descriptor: int, data: memoryview) -> int:
        half = super().write(descriptor, data[: max(1, len(data) // 2)])
        self._count()
        return half

    def sync(self, descriptor: int) -> None:
        self._count()
        super().sync(descriptor)

    def rename(self, source: Path, target: Path, at: int | None = None, to: int | None = None) -> None:
        self._count()
        super().rename(source, target, at, to)

    def sync_folder(self, folder: Path, at: int | None = None) -> None:
        self._count()
        super().sync_folder(folder, at)


class _RecordingDisk(Disk):
    """Remembers every change of the disk, so that any beginning of them can be replayed."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._names: dict[int, Path] = {}

    def create(self, path: Path, at: int | None = None) -> int:
        descriptor = super().create(path, at)
        self._names[descriptor] = path
        self.changes.append(("create", path, None))
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        written = super().write(descriptor, data[:509])
        self.changes.append(("write", self._names[descriptor], bytes(data[:written])))
        return written

    def rename(self, source: Path, target: Path, at: int | None = None, to: int | None = None) -> None:
        super().rename(source, target, at, to)
        self.changes.append(("rename", source, target))


def _write_until_full(place: Path, name: str, result: Path) -> None:
    features = FeatureStore(place / "store").features(SPEC)
    acknowledged, number = 0, 0
    try:
        with features.writer(commit_bytes=1 << 40) as writer:
            for first in range(0, ROWS, 16):
                writer.add(DIGESTS[first : first + 16], FEATURES[first : first + 16])
                if first == 512 and name == "file_size_limit":
                    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
                if first == 512 and name == "read_only":
                    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
                writer.commit()
                acknowledged = first + 16
    except StoreWriteError as error:
        number = error.errno or 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    again = FeatureStore(place / "store").features(SPEC)
    present = again.contains(DIGESTS[:acknowledged])
    outcome = {
        "errno": number,
        "rows_acknowledged": acknowledged,
        "rows_lost": int((~present).sum()) + count_wrong(again),
        "temporaries_left": len(list(place.rglob(".tmp-*"))),
    }
    result.write_text(json.dumps(outcome))


def _rows_of(part: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    with h5py.File(part) as file:
        held = {row.tobytes() for row in cast(Any, file)["digest"][:]}
    return np.array([number for number, digest in enumerate(DIGESTS) if digest.tobytes() in held])


def _flip(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def _beginnings(changes: list[Change], step: int) -> Iterator[list[Change]]:
    """Yield every beginning of some changes; a write also begins in the middle, every `step` bytes."""
    for number, (change, path, content) in enumerate(changes):
        yield changes[:number]
        if isinstance(content, bytes):
            for length in range(step, len(content), step):
                yield [*changes[:number], (change, path, content[:length])]
    yield changes


@contextmanager
def _mounted(place: Path, options: str | None) -> Generator[bool]:
    """Mount a small tmpfs, if one is asked for and allowed."""
    if options is None:
        yield True
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(place)], check=True)
