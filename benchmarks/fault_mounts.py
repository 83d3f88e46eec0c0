"""File systems that vanish, links that lead elsewhere, clocks apart, and signals: what a store makes of them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from benchmarks.fault_rows import DIGESTS, FAST, FEATURES, ROWS, SPEC, Counts, count_wrong, start, wait
from embedkit.errors import StoreError, StoreLostError
from embedkit.store.feature_store import FeatureStore


def mounts(folder: Path, count: int) -> Counts:
    """Take the file system away under a writer, `count` times; what was acknowledged is on it, nothing beneath it.

    A small tmpfs is unmounted where that is allowed; else the folder above the store is renamed.
    """
    chance = random.Random(0)
    acknowledged = lost = wrong = beneath = surprising = 0
    mounted = False
    for number in range(count):
        place, kept, journal = (folder / f"{name}-{number}" for name in ("mount", "kept", "journal"))
        place.mkdir()
        journal.touch()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True).returncode == 0
        if mounted:
            kept.mkdir()
            subprocess.run(["mount", "--bind", str(place), str(kept)], check=True)
        FeatureStore(place / "store")
        worker = start(_write_until_lost, place / "store", journal)
        while not journal.stat().st_size:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.05)
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
        else:
            place.rename(kept)
        surprising += wait(worker) != 0
        beneath += len(list(place.rglob("*"))) if place.exists() else 0
        rows = np.unique(np.frombuffer(journal.read_bytes(), np.int32))
        features = FeatureStore(kept / "store", create=False).features(SPEC)
        acknowledged += len(rows)
        lost += int((~features.contains(DIGESTS[rows])).sum())
        wrong += count_wrong(features)
        if mounted:
            subprocess.run(["umount", str(kept)], check=True)
    return {
        "mounts_lost": count,
        "by": "umount" if mounted else "rename",
        "rows_acknowledged": acknowledged,
        "rows_lost": lost,
        "rows_wrong": wrong,
        "files_beneath_a_mount": beneath,
        "unexpected_errors": surprising,
    }


def _write_until_lost(store: Path, journal: Path) -> None:
    """Write rows until the store is lost, noting those that were acknowledged."""
    try:
        with journal.open("ab", buffering=0) as note, FeatureStore(store).features(SPEC).writer(**FAST) as writer:
            for first in range(0, ROWS, 4):
                rows = np.arange(first, first + 4, dtype=np.int32)
                writer.claim(DIGESTS[rows])
                writer.add(DIGESTS[rows], FEATURES[rows])
                writer.commit()
                note.write(rows.tobytes())
    except StoreLostError:
        return
    raise RuntimeError("the store was not found to be lost")


def links(folder: Path) -> Counts:
    """Put a link in place of each folder and file of a store, and do everything to it: its target stays as it was."""
    tried = touched = 0
    names = ("features", "features/X", "features/X/leases", "aside", "memo")
    names += tuple(f"features/X/{name}" for name in ("last-use", "checked.json", "maintenance.lock", "leases.lock"))
    for number, name in enumerate(names):
        store, victim = folder / f"store-{number}", folder / f"victim-{number}"
        with FeatureStore(store).features(SPEC).writer() as writer:
            writer.add(DIGESTS[:8], FEATURES[:8])
        place = store / name.replace("X", SPEC.fingerprint)
        is_folder = "." not in place.name and place.name != "last-use"
        (victim if is_folder else victim.parent).mkdir(exist_ok=True)
        precious = [victim / file for file in ("a.lease", ".tmp-1-2", "spec.json")] if is_folder else [victim]
        for path in precious:
            path.write_text("precious")
            os.utime(path, (0, 0))
        shutil.rmtree(place, ignore_errors=True)
        place.unlink(missing_ok=True)
        place.symlink_to(victim)
        for work in (_write_some, FeatureStore.info, FeatureStore.repair, FeatureStore.pack, _clean):
            try:
                work(FeatureStore(store))
            except StoreError:
                continue
        found = sorted(victim.iterdir()) if is_folder else [victim]
        touched += found != sorted(precious)
        touched += any(path.read_text() != "precious" or path.stat().st_mtime for path in precious if path.exists())
        tried += 1
    return {"links_tried": tried, "strangers_files_touched": touched}


def _write_some(store: FeatureStore) -> None:
    with store.features(SPEC).writer() as writer:
        writer.claim(DIGESTS[8:16])
        writer.add(DIGESTS[8:16], FEATURES[8:16])


def _clean(store: FeatureStore) -> None:
    store.gc(grace=0.0, max_size=0)


def clocks(folder: Path, seconds: float) -> Counts:
    """Two writers whose clocks are hours apart, and one that cleans up by a third: no row is lost, no lease broken."""
    store = folder / "store"
    FeatureStore(store)
    until = time.monotonic() + seconds
    workers = [start(_write_shifted, store, until, hours, slot) for slot, hours in enumerate((-7, 0, 9))]
    surprising = sum(wait(worker) != 0 for worker in workers)
    features = FeatureStore(store).features(SPEC)
    lost = 0
    for journal in folder.glob("journal-*"):
        rows = np.frombuffer(journal.read_bytes(), np.int32)
        lost += int((~features.contains(DIGESTS[rows])).sum())
    return {
        "rows_acknowledged": sum(path.stat().st_size // 4 for path in folder.glob("journal-*")),
        "rows_lost": lost,
        "rows_wrong": count_wrong(features),
        "unexpected_errors": surprising,
    }


def _write_shifted(store: Path, until: float, hours: int, slot: int) -> None:
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + hours * 3600
    time.time_ns = lambda: real_ns() + hours * 3600 * 10**9
    chance = np.random.default_rng(slot)
    with (store.parent / f"journal-{slot}").open("ab", buffering=0) as note:
        while time.monotonic() < until:
            with FeatureStore(store).features(SPEC).writer(**FAST) as writer:
                rows = chance.choice(ROWS, 32, replace=False).astype(np.int32)
                granted = rows[writer.claim(DIGESTS[rows])]
                if len(granted):
                    writer.add(DIGESTS[granted], FEATURES[granted])
                    writer.commit()
                    note.write(granted.tobytes())
            FeatureStore(store).gc(grace=600.0)


def signals(folder: Path, count: int) -> Counts:
    """Interrupt, end and suspend writers at random moments: what they had added is there; suspended ones go on."""
    chance = random.Random(0)
    counts: Counts = {"signals": count, "rows_acknowledged": 0, "rows_lost": 0, "rows_wrong": 0, "temporaries_left": 0}
    counts["unexpected_errors"] = 0
    for number in range(count):
        sent = (signal.SIGINT, signal.SIGTERM, signal.SIGSTOP)[number % 3]
        store, journal = folder / f"store-{number}", folder / f"journal-{number}"
        FeatureStore(store)
        journal.touch()
        worker = start(_write_until_told, store, journal)
        while not journal.stat().st_size:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.05)
        os.kill(worker, sent)
        if sent == signal.SIGSTOP:
            time.sleep(0.3)  # longer than its lease
            with FeatureStore(store).features(SPEC).writer(**FAST) as writer:
                writer.claim(DIGESTS)
                writer.add(DIGESTS[:64], FEATURES[:64])
            FeatureStore(store).gc(grace=0.0)
            os.kill(worker, signal.SIGCONT)
            time.sleep(0.05)
            os.kill(worker, signal.SIGINT)
        counts["unexpected_errors"] += wait(worker) != 0
        rows = np.frombuffer(journal.read_bytes(), np.int32)
        features = FeatureStore(store).features(SPEC)
        counts["rows_acknowledged"] += len(rows)
        counts["rows_lost"] += int((~features.contains(DIGESTS[rows])).sum())
        counts["rows_wrong"] += count_wrong(features)
        counts["temporaries_left"] += len(list(store.rglob(".tmp-*")))
    return counts


def _write_until_told(store: Path, journal: Path) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    order = np.random.default_rng(0).permutation(ROWS).astype(np.int32)
    try:
        with journal.open("ab", buffering=0) as note, FeatureStore(store).features(SPEC).writer(**FAST) as writer:
            for first in range(0, ROWS, 8):
                rows = order[first : first + 8]
                writer.claim(DIGESTS[rows])
                writer.add(DIGESTS[rows], FEATURES[rows])
                note.write(rows.tobytes())  # added is as good as committed: a writer that is left commits
                time.sleep(0.002)
    except KeyboardInterrupt:
        return
