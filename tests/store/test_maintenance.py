from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import DamagedPartError, StoreWriteError, UsageError
from embedkit.files.commit import Disk
from embedkit.specs import FeatureSpec
from embedkit.store.feature_store import FeatureStore
from embedkit.store.layout import committed_length
from embedkit.store.merge import maintenance, merge_parts
from tests.store.samples import make_rows, make_spec

DIGESTS, ROWS = make_rows(60)
SPEC = make_spec()
DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Six parts of ten rows, and two files of undecodable digests."""
    store = FeatureStore(tmp_path / "store")
    for start in range(0, 60, 10):
        add(store, slice(start, start + 10))
    for number in range(2):
        with store.features(SPEC).writer() as writer:
            writer.add_undecodable(bytes([number]) * 32, f"reason {number}")
    return store


def add(store: FeatureStore, rows: slice, spec: FeatureSpec = SPEC, value: float | None = None) -> None:
    with store.features(spec).writer() as writer:
        writer.add(DIGESTS[rows], ROWS[rows] if value is None else np.full_like(ROWS[rows], value))


def folder_of(store: FeatureStore) -> Path:
    return store.features(SPEC).folder


def names(store: FeatureStore, kind: str = "part") -> list[str]:
    return sorted(path.name for path in folder_of(store).glob(f"{kind}-*"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def all_there(store: FeatureStore) -> bool:
    return np.array_equal(FeatureStore(store.path).features(SPEC).get(DIGESTS), ROWS)


def test_pack_makes_one_part_of_many_and_one_file_of_reasons(store: FeatureStore) -> None:
    report = store.pack()
    assert (report.parts_before, report.parts_after) == (6, 1)
    assert report.bytes_after < report.bytes_before
    assert len(names(store)) == 1
    assert len(names(store, "undecodable")) == 1
    assert all_there(store)
    reasons = np.array([[0] * 32, [1] * 32], np.uint8)
    assert list(store.features(SPEC).undecodable(reasons).values()) == ["reason 0", "reason 1"]
    assert store.pack().parts_after == 1, "nothing is left to do"


def test_pack_leaves_large_parts_alone_and_keeps_to_its_target(store: FeatureStore) -> None:
    size = committed_length(names(store)[0])
    store.pack(target=3 * size)
    assert len(names(store)) == 2
    large = names(store)
    store.pack(target=size)
    assert names(store) == large
    assert all_there(store)


def test_pack_drops_rows_stored_twice(store: FeatureStore) -> None:
    for _ in range(3):
        add(store, slice(0, 60))
    assert store.info().fingerprints[0].duplicates == 180
    store.pack()
    (info,) = store.info().fingerprints
    assert (info.parts, info.rows, info.duplicates) == (1, 60, 0)
    assert all_there(store)


def test_pack_works_on_every_fingerprint_and_skips_those_of_other_versions(store: FeatureStore) -> None:
    import hashlib

    other = make_spec(weights="sha256:01")
    add(store, slice(0, 10), other)
    add(store, slice(10, 20), other)
    text = b'{"format":99}'
    foreign = store.path / "features" / hashlib.sha256(text).hexdigest()
    foreign.mkdir()
    (foreign / "spec.json").write_bytes(text)
    (foreign / f"part-{'0' * 32}.1.{'a' * 64}.h5").write_bytes(b"x")
    report = store.pack()
    assert (report.parts_before, report.parts_after) == (6 + 2 + 1, 1 + 1 + 1)
    assert np.array_equal(store.features(other).get(DIGESTS[:20]), ROWS[:20])


def test_pack_does_not_touch_a_damaged_part(store: FeatureStore) -> None:
    damaged = folder_of(store) / names(store)[2]
    flip(damaged)
    content = damaged.read_bytes()
    store.pack()
    assert damaged.read_bytes() == content
    assert len(names(store)) == 2
    assert store.features(SPEC).contains(DIGESTS).sum() == 50


class Failing(Disk):
    """Fails when a file is removed, or when one gets its name."""

    def __init__(self, call: str) -> None:
        self.call = call

    def remove(self, path: Path, at: int | None = None) -> None:
        if self.call == "remove" and not path.name.startswith(".tmp-"):
            raise OSError(30, "Read-only file system")
        super().remove(path, at)

    def rename(self, source: Path, target: Path, at: int | None = None, to: int | None = None) -> None:
        if self.call == "rename":
            raise OSError(28, "No space left on device")
        super().rename(source, target, at, to)


@pytest.mark.parametrize("call", ["remove", "rename"])
def test_a_pack_that_fails_loses_nothing(store: FeatureStore, call: str) -> None:
    with pytest.raises(StoreWriteError):
        FeatureStore(store.path, disk=Failing(call)).pack()
    assert all_there(store)
    assert len(names(store)) == (7 if call == "remove" else 6)
    store.pack()
    assert all_there(store)
    assert len(names(store)) == 1
    assert not list(folder_of(store).glob(".tmp-*"))


def test_a_merge_whose_output_cannot_be_read_removes_nothing(store: FeatureStore) -> None:
    class Lying(Disk):
        """Says it has written what it has not."""

        def write(self, descriptor: int, data: memoryview) -> int:
            changed = bytearray(data)
            changed[len(changed) // 2] ^= 1
            return super().write(descriptor, memoryview(changed))

    before = names(store)
    with maintenance(folder_of(store)), pytest.raises(DamagedPartError):
        merge_parts(folder_of(store), SPEC, before, Lying())
    assert set(before) < set(names(store))
    assert all_there(store)


def test_a_merge_passes_over_inputs_that_are_gone(store: FeatureStore) -> None:
    before = names(store)
    (folder_of(store) / before[0]).unlink()
    with maintenance(folder_of(store)):
        assert merge_parts(folder_of(store), SPEC, before, Disk()) is not None
        assert merge_parts(folder_of(store), SPEC, before, Disk()) is None
    assert len(names(store)) == 1
    assert store.features(SPEC).contains(DIGESTS).sum() == 50


def test_gc_removes_stale_temporaries_and_leases_and_no_fresh_ones(store: FeatureStore) -> None:
    folder = folder_of(store)
    (folder / "leases").mkdir()
    (store.path / "memo").mkdir()
    stale = [
        store.path / ".tmp-1-a",
        store.path / "memo" / ".tmp-2-b",
        folder / ".tmp-3-c",
        folder / "leases" / ".tmp-4-d",
        folder / "leases" / "5.lease",
    ]
    kept = [folder / ".tmp-6-e", folder / "leases" / "7.lease", store.path / "memo" / "stat.npz"]
    for path in stale + kept:
        path.write_bytes(b"1234")
    for path in [*stale, kept[2]]:
        age(path, DAY + 60)
    report = store.gc()
    assert report.temporaries == 5
    assert report.bytes_freed == 20
    assert [path.exists() for path in stale] == [False] * 5
    assert [path.exists() for path in kept] == [True] * 3
    assert all_there(store)


def interrupted_merge(store: FeatureStore) -> list[str]:
    """Merge all parts and die before the inputs are removed; return the inputs."""
    inputs = names(store)
    with maintenance(folder_of(store)), pytest.raises(StoreWriteError):
        merge_parts(folder_of(store), SPEC, inputs, Failing("remove"))
    return inputs


def test_gc_removes_superseded_parts_after_the_grace_period(store: FeatureStore) -> None:
    interrupted_merge(store)
    assert len(names(store)) == 7
    assert store.gc(grace=60.0).superseded == 0
    report = store.gc(grace=0.0)
    assert report.superseded == 6, "the small ones go first"
    assert all_there(store)
    assert store.info().fingerprints[0].duplicates == 0


def test_gc_never_removes_the_last_copy_of_a_row(store: FeatureStore) -> None:
    add(store, slice(5, 25))
    add(store, slice(20, 45))
    add(store, slice(0, 10))
    for _ in range(2):
        store.gc(grace=0.0)
        assert FeatureStore(store.path).features(SPEC).contains(DIGESTS).all()


def test_gc_removes_nothing_whose_copy_is_damaged(store: FeatureStore) -> None:
    """The memo calls the copy sound; the disk has changed it behind the file system's back."""
    interrupted_merge(store)
    path = max(folder_of(store).glob("part-*"), key=lambda path: path.stat().st_size)
    flip(path)
    status = path.stat()
    memo = folder_of(store) / "checked.json"
    identity = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    record = {"checked": {path.name: identity}}
    memo.write_text(json.dumps(record))
    before = names(store)
    store.gc(grace=0.0)
    assert names(store) == before


def test_max_size_removes_the_least_recently_used_fingerprints_whole(store: FeatureStore) -> None:
    others = [make_spec(weights=f"sha256:{number}") for number in range(3)]
    for spec in others:
        add(store, slice(0, 30), spec)
    for hours, spec in enumerate([others[1], SPEC, others[0], others[2]]):
        age(store.features(spec).folder / "last-use", (hours + 2) * 3600)
    sizes = {info.fingerprint: info.bytes for info in store.info().fingerprints}
    limit = sizes[others[1].fingerprint] + sizes[SPEC.fingerprint]
    for hours, spec in enumerate([others[1], SPEC, others[0], others[2]]):  # `info` is no use, but be sure
        age(store.path / "features" / spec.fingerprint / "last-use", (hours + 2) * 3600)
    report = store.gc(max_size=limit)
    assert report.evicted == (others[2].fingerprint, others[0].fingerprint)
    assert report.bytes_left == limit
    assert report.bytes_freed == sizes[others[0].fingerprint] + sizes[others[2].fingerprint]
    assert store.fingerprints() == sorted([SPEC.fingerprint, others[1].fingerprint])
    assert not (store.path / "features" / others[2].fingerprint).exists()
    assert all_there(store)


def test_max_size_spares_what_is_being_written_to(store: FeatureStore) -> None:
    with store.features(SPEC).writer() as writer:
        writer.claim(make_rows(1, seed=1)[0])
        report = store.gc(max_size=0)
        assert report.evicted == ()
        assert report.bytes_left == store.info().bytes > 0
        (lease,) = (folder_of(store) / "leases").iterdir()
        age(lease, 120)
        report = store.gc(max_size=0)
    assert report.evicted == (SPEC.fingerprint,)
    assert report.bytes_left == 0


@pytest.mark.parametrize("arguments", [{"grace": -1.0}, {"max_size": -1}])
def test_gc_refuses_numbers_below_0(store: FeatureStore, arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="below 0"):
        store.gc(**arguments)  # type: ignore[arg-type]


def test_the_clock_of_the_file_system_decides_what_is_old(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock is a year ahead of the file server's: nothing is a year old."""
    (folder_of(store) / ".tmp-1-a").write_bytes(b"")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 365 * DAY)
    interrupted_merge(store)
    with store.features(SPEC).writer() as writer:
        writer.claim(make_rows(1, seed=1)[0])
        report = store.gc(grace=60.0, max_size=0)
    assert (report.temporaries, report.superseded, report.evicted) == (0, 0, ())


@pytest.mark.parametrize("work", [FeatureStore.pack, FeatureStore.gc, FeatureStore.repair])
def test_those_who_remove_wait_for_each_other(store: FeatureStore, work: Callable[[FeatureStore], object]) -> None:
    done = threading.Event()

    def run() -> None:
        work(FeatureStore(store.path))
        done.set()

    with maintenance(folder_of(store)):
        thread = threading.Thread(target=run)
        thread.start()
        assert not done.wait(0.2)
    thread.join(10)
    assert done.is_set()


def test_the_lock_can_be_asked_for_without_waiting(store: FeatureStore) -> None:
    with maintenance(folder_of(store)) as held:
        assert held
        with maintenance(folder_of(store), wait=False) as second:
            assert not second
    with maintenance(folder_of(store), wait=False) as third:
        assert third


def test_a_lock_that_cannot_be_taken_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreWriteError, match="cannot lock"), maintenance(tmp_path / "file"):
        pass


def test_reports_are_json(store: FeatureStore) -> None:
    for report in (store.info(), store.verify(), store.repair(), store.pack(), store.gc()):
        record = json.loads(json.dumps(report.to_dict()))
        assert record
        assert "damaged" not in record or record["damaged"] == []
