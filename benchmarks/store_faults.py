"""What happens to a feature store when processes are killed, disks fail and bytes change; prints the counts.

    python -m benchmarks.store_faults               every fault in its long form (`make faults`), a few minutes
    python -m benchmarks.store_faults --short       the form that the tests run
    python -m benchmarks.store_faults kills flips   some of them

Each fault prints its counts; the last line is JSON. The counts named in `MUST_BE_0` must be 0: the exit code is 1 if
one is not. Row i has the digest SHA-256(i) and features that follow from i, so every row read can be compared with
what was written.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import mmap
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_disks import failures, flips, full_disks, prefixes
from benchmarks.fault_mounts import clocks, links, mounts, signals
from benchmarks.fault_rows import BATCH, DIGESTS, FAST, FEATURES, ROWS, SPEC, Counts, count_wrong, start, wait
from embedkit.files.commit import Disk
from embedkit.store.feature_store import FeatureStore

MUST_BE_0 = (
    "rows_lost",
    "rows_wrong",
    "rows_unlike_an_uninterrupted_run",
    "neither_whole_nor_absent",
    "unexpected_errors",
    "temporaries_left",
    "not_refused",
    "not_named",
    "rest_not_served",
    "files_beneath_a_mount",
    "strangers_files_touched",
)


def kills(folder: Path, count: int) -> Counts:
    """Kill -9 two concurrent writers at random moments, `count` times; let the last ones finish; compare every row."""
    chance = random.Random(0)
    under_way = mmap.mmap(-1, 2)
    calm = FeatureStore(folder / "calm").features(SPEC)
    with calm.writer() as writer:
        writer.add(DIGESTS, FEATURES)
    killed = inside = acknowledged = lost = wrong = different = 0
    while killed < count:
        store, journal = folder / f"store-{killed}", folder / f"journal-{killed}"
        FeatureStore(store)
        journal.touch()
        while killed < count and not FeatureStore(store).features(SPEC).contains(DIGESTS).all():
            under_way[:] = b"\0\0"
            writers = [start(_write_rows, store, journal, under_way, slot, chance.getrandbits(32)) for slot in (0, 1)]
            for slot in chance.sample((0, 1), 2):
                time.sleep(0.05 + chance.random() * 0.2)
                if chance.random() < 0.8:  # most kills shall come between a first write and a commit's return
                    _wait_for_a_commit(under_way, slot)
                    time.sleep(chance.random() * 0.004)
                os.kill(writers[slot], signal.SIGKILL)
                if wait(writers[slot]) == signal.SIGKILL:
                    killed += 1
                    inside += under_way[slot]
        features = FeatureStore(store).features(SPEC)
        rows = np.unique(np.frombuffer(journal.read_bytes(), np.int32))
        present = features.contains(DIGESTS[rows])
        acknowledged += len(rows)
        lost += int((~present).sum())
        wrong += count_wrong(features)
        rest = ~features.contains(DIGESTS)
        with FeatureStore(store).features(SPEC).writer() as writer:
            writer.add(DIGESTS[rest], FEATURES[rest])
        features.refresh()
        different += int((features.get(DIGESTS) != calm.get(DIGESTS)).any(axis=1).sum())
    return {
        "kills": killed,
        "kills_inside_a_commit": inside,
        "rows_acknowledged": acknowledged,
        "rows_lost": lost,
        "rows_wrong": wrong,
        "rows_unlike_an_uninterrupted_run": different,
    }


def traffic(folder: Path, seconds: float) -> Counts:
    """Two writers, two readers, `pack` and `gc` at once: a row seen once is never missed and never wrong."""
    store, tallies = folder / "store", mmap.mmap(-1, 64)
    FeatureStore(store)
    until = time.monotonic() + seconds
    jobs = [
        (_traffic_writer, 0),
        (_traffic_writer, 1),
        (_traffic_reader, 2),
        (_traffic_reader, 3),
        (_traffic_keeper, 4),
    ]
    workers = [start(job, store, until, tallies, slot) for job, slot in jobs]
    statuses = [wait(worker) for worker in workers]
    written, more_written, read, more_read, kept, lost, wrong = np.frombuffer(tallies, np.int64)[:7]
    return {
        "rows_written": int(written + more_written),
        "rows_read": int(read + more_read),
        "packs_and_gcs": int(kept),
        "rows_lost": int(lost),
        "rows_wrong": int(wrong),
        "unexpected_errors": sum(status != 0 for status in statuses),
    }


def _traffic_writer(store: Path, until: float, tallies: mmap.mmap, slot: int) -> None:
    order = np.random.default_rng(slot).permutation(ROWS)
    while time.monotonic() < until:
        features = FeatureStore(store).features(SPEC)
        with features.writer(**FAST) as writer:
            for start in range(0, ROWS, 64):
                rows = order[start : start + 64]
                writer.add(DIGESTS[rows], FEATURES[rows])
                writer.commit()
                _tally(tallies, slot, len(rows))
                if not features.contains(DIGESTS[rows]).all():
                    _tally(tallies, 5, 1)
                if time.monotonic() > until:
                    break


def _traffic_reader(store: Path, until: float, tallies: mmap.mmap, slot: int) -> None:
    chance = np.random.default_rng(slot)
    features = FeatureStore(store).features(SPEC)
    seen = np.zeros(ROWS, dtype=np.bool_)
    while time.monotonic() < until:
        if chance.random() < 0.2:
            features = FeatureStore(store).features(SPEC)
        if chance.random() < 0.05:
            _tally(tallies, 6, len(FeatureStore(store).verify().damaged))
            _tally(tallies, 5, max(0, int(seen.sum()) - FeatureStore(store).info().rows))
        features.refresh()
        present = features.contains(DIGESTS)
        _tally(tallies, 5, int((seen & ~present).sum()))
        seen |= present
        rows = chance.choice(np.flatnonzero(present), 256) if present.any() else np.empty(0, np.int64)
        _tally(tallies, 6, int((features.get(DIGESTS[rows]) != FEATURES[rows]).any(axis=1).sum()))
        _tally(tallies, slot, len(rows))


def _traffic_keeper(store: Path, until: float, tallies: mmap.mmap, slot: int) -> None:
    while time.monotonic() < until:
        FeatureStore(store).pack(target=1 << 20)
        FeatureStore(store).gc(grace=0.0)
        _tally(tallies, slot, 2)


def _tally(tallies: mmap.mmap, slot: int, count: int) -> None:
    """Add to a number that only this process writes, or that is 0 as it should be."""
    np.frombuffer(tallies, np.int64)[slot] += count


class _SlowDisk(Disk):
    """Takes its time for every call, and tells through shared memory when a commit is under way."""

    def __init__(self, under_way: mmap.mmap, slot: int, seed: int) -> None:
        self._under_way = under_way
        self._slot = slot
        self._random = random.Random(seed)

    def write(self, descriptor: int, data: memoryview) -> int:
        written = super().write(descriptor, data[: max(512, len(data) // 2)])  # short writes, too
        self._under_way[self._slot] = 1
        self._pause()
        return written

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self._pause()

    def rename(self, source: Path, target: Path, at: int | None = None, to: int | None = None) -> None:
        super().rename(source, target, at, to)
        self._pause()

    def _pause(self) -> None:
        time.sleep(self._random.random() * 0.003)


def _wait_for_a_commit(under_way: mmap.mmap, slot: int) -> None:
    """Wait until a writer is inside a commit, or for a while."""
    until = time.monotonic() + 0.5
    while not under_way[slot] and time.monotonic() < until:
        time.sleep(0.0002)


def _write_rows(store: Path, journal: Path, under_way: mmap.mmap, slot: int, seed: int) -> None:
    """Write all rows that are missing, noting those that a commit has acknowledged."""
    features = FeatureStore(store, disk=_SlowDisk(under_way, slot, seed)).features(SPEC)
    order = np.random.default_rng(seed).permutation(ROWS)
    with journal.open("ab", buffering=0) as acknowledged, features.writer(**FAST) as writer:
        while len(order := order[~features.contains(DIGESTS[order])]):
            batch = order[:BATCH]
            granted = batch[writer.claim(DIGESTS[batch])]
            time.sleep(0.002)  # the forward pass
            under_way[slot] = 0
            if len(granted):
                writer.add(DIGESTS[granted], FEATURES[granted])
                writer.commit()
                under_way[slot] = 0
                acknowledged.write(granted.astype(np.int32).tobytes())
            else:
                order = np.roll(order, BATCH)


FAULTS: dict[str, tuple[Callable[..., Counts], tuple[Any, ...], tuple[Any, ...]]] = {
    "kills": (kills, (240,), (12,)),
    "prefixes": (prefixes, (8,), (101,)),
    "failures": (failures, ((errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT),), ((errno.EIO,),)),
    "full_disks": (full_disks, (), ()),
    "flips": (flips, (4200,), (150,)),
    "traffic": (traffic, (60.0,), (4.0,)),
    "mounts": (mounts, (40,), (3,)),
    "links": (links, (), ()),
    "clocks": (clocks, (20.0,), (2.0,)),
    "signals": (signals, (90,), (6,)),
}
"""What to do, with the arguments of the long and of the short form."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill, fill and flip: what a feature store makes of it.")
    parser.add_argument("faults", nargs="*", choices=[*FAULTS, []], help="which ones (default: all)")
    parser.add_argument("--short", action="store_true", help="the short form")
    parser.add_argument("--output", type=Path, help="write the counts into a JSON file")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # thousands of damaged parts are named
    outcome: dict[str, Counts] = {}
    for name in options.faults or FAULTS:
        fault, long, short = FAULTS[name]
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            outcome[name] = fault(Path(folder), *(short if options.short else long))
            outcome[name]["seconds"] = round(time.monotonic() - began, 1)
        print(f"{name}:", ", ".join(f"{key} {value}" for key, value in outcome[name].items()), flush=True)
    print(json.dumps(outcome))
    if options.output:
        before: dict[str, Counts] = json.loads(options.output.read_text()) if options.output.exists() else {}
        options.output.write_text(json.dumps({**before, **outcome}, indent=1) + "\n")
    return int(any(counts.get(key) for counts in outcome.values() for key in MUST_BE_0))


if __name__ == "__main__":
    sys.exit(main())
