from __future__ import annotations

import errno
import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import StoreWriteError
from embedkit.files.commit import Disk
from embedkit.store import writer as writer_module
from embedkit.store.feature_store import FeatureStore
from embedkit.store.layout import committed_length
from embedkit.store.merge import maintenance
from embedkit.store.parts import row_bytes
from embedkit.store.stored import FeatureSet
from tests.store.samples import make_rows, make_spec

DIGESTS, ROWS = make_rows(200)
SPEC = make_spec()


class FullDisk(Disk):
    """Has no room for the content of a file while `full`."""

    def __init__(self) -> None:
        self.full = False

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(descriptor, data)


@pytest.fixture
def disk() -> FullDisk:
    return FullDisk()


@pytest.fixture
def features(tmp_path: Path, disk: FullDisk) -> FeatureSet:
    return FeatureStore(tmp_path / "store", disk=disk).features(SPEC)


def parts(features: FeatureSet) -> list[str]:
    return sorted(path.name for path in features.folder.glob("part-*"))


def committed(features: FeatureSet) -> int:
    """Rows that another process would see."""
    return int(FeatureStore(features.folder.parent.parent).features(SPEC).contains(DIGESTS).sum())


def test_rows_are_committed_when_they_take_so_many_bytes(features: FeatureSet) -> None:
    with features.writer(commit_bytes=10 * row_bytes(SPEC)) as writer:
        for start in range(0, 25, 5):
            writer.add(DIGESTS[start : start + 5], ROWS[start : start + 5])
            assert committed(features) == (start + 5) // 10 * 10
    assert committed(features) == 25


def test_rows_are_committed_when_the_oldest_has_waited(features: FeatureSet, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(writer_module.time, "monotonic", lambda: now[0])
    with features.writer() as writer:
        for row, expected in [(0, 0), (1, 0), (2, 3), (3, 3), (4, 3), (5, 6)]:
            writer.add(DIGESTS[[row]], ROWS[[row]])
            assert committed(features) == expected
            now[0] += 15.0


def test_an_undecodable_digest_is_committed_when_due(features: FeatureSet, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(writer_module.time, "monotonic", lambda: now[0])
    with features.writer() as writer:
        writer.add_undecodable(b"a" * 32, "one")
        now[0] += 31.0
        writer.add_undecodable(b"b" * 32, "two")
        assert len(list(features.folder.glob("undecodable-*"))) == 1


def test_small_parts_of_a_run_are_merged_at_its_end_in_their_order(features: FeatureSet) -> None:
    with features.writer() as writer:
        for start in range(0, 200, 20):
            writer.add(DIGESTS[start : start + 20], ROWS[start : start + 20])
            writer.commit()
        assert len(parts(features)) == 10
    assert len(parts(features)) == 1
    (part,) = features.snapshot().parts.values()
    assert part.rows == 200
    np.testing.assert_array_equal(features.get(DIGESTS), ROWS)
    whole = features.folder / part.name
    data = whole.read_bytes()
    assert data[part.features.offset : part.features.offset + part.features.size] == ROWS.tobytes()


def test_small_parts_are_merged_on_the_way_when_they_make_up_a_large_one(features: FeatureSet) -> None:
    limit = 8192
    with features.writer(commit_bytes=limit) as writer:
        for start in range(0, 200, 4):
            writer.add(DIGESTS[start : start + 4], ROWS[start : start + 4])
            writer.commit()
            small = [name for name in parts(features) if committed_length(name) < limit // 2]
            assert sum(map(committed_length, small)) < limit + 4096
        assert 1 < len(parts(features)) < 25
    np.testing.assert_array_equal(features.get(DIGESTS), ROWS)


def test_parts_of_other_writers_and_runs_are_left_alone(features: FeatureSet) -> None:
    with features.writer() as writer:
        writer.add(DIGESTS[:10], ROWS[:10])
    (old,) = parts(features)
    with features.writer() as writer:
        writer.add(DIGESTS[10:20], ROWS[10:20])
        writer.commit()
        writer.add(DIGESTS[20:30], ROWS[20:30])
    assert old in parts(features)
    assert len(parts(features)) == 2


def test_without_the_lock_small_parts_stay(features: FeatureSet) -> None:
    with features.writer() as writer:
        writer.add(DIGESTS[:10], ROWS[:10])
        writer.commit()
        writer.add(DIGESTS[10:20], ROWS[10:20])
        writer.commit()
        lock = maintenance(features.folder)
        assert lock.__enter__()
    assert len(parts(features)) == 2
    lock.__exit__(None, None, None)
    assert committed(features) == 20


def test_a_full_disk_loses_nothing_and_the_writer_can_go_on(features: FeatureSet, disk: FullDisk) -> None:
    with features.writer() as writer:
        writer.add(DIGESTS[:10], ROWS[:10])
        writer.commit()
        disk.full = True
        writer.add(DIGESTS[10:20], ROWS[10:20])
        writer.add_undecodable(b"a" * 32, "broken")
        for _ in range(2):
            with pytest.raises(StoreWriteError, match=r"No space left on device.*intact.*free some space"):
                writer.commit()
        assert committed(features) == 10
        assert not list(features.folder.glob(".tmp-*"))
        disk.full = False
        writer.commit()
        assert committed(features) == 20
    assert features.undecodable(np.frombuffer(b"a" * 32, np.uint8).reshape(1, 32)) == {b"a" * 32: "broken"}


def test_a_full_disk_at_the_end_is_an_error(features: FeatureSet, disk: FullDisk) -> None:
    def run() -> None:
        with features.writer() as writer:
            writer.add(DIGESTS[:10], ROWS[:10])
            writer.commit()
            writer.add(DIGESTS[10:20], ROWS[10:20])
            disk.full = True

    with pytest.raises(StoreWriteError):
        run()
    assert committed(features) == 10


def test_a_full_disk_is_told_once(features: FeatureSet, disk: FullDisk, caplog: pytest.LogCaptureFixture) -> None:
    def run() -> None:
        with features.writer() as writer:
            writer.add(DIGESTS[:10], ROWS[:10])
            disk.full = True
            writer.commit()

    with pytest.raises(StoreWriteError, match="No space left"):
        run()
    assert not caplog.records


def test_a_full_disk_after_an_exception_is_logged_and_hides_nothing(
    features: FeatureSet, disk: FullDisk, caplog: pytest.LogCaptureFixture
) -> None:
    def run() -> None:
        with features.writer() as writer:
            writer.add(DIGESTS[:10], ROWS[:10])
            disk.full = True
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert "10 rows could not be committed after KeyboardInterrupt" in caplog.text


def test_a_merge_that_fails_costs_a_warning(
    features: FeatureSet, disk: FullDisk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge_parts = writer_module.merge_parts

    def fail(*arguments: object) -> str | None:
        disk.full = True
        return merge_parts(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(writer_module, "merge_parts", fail)
    with features.writer() as writer, caplog.at_level(logging.WARNING):
        for start in (0, 10):
            writer.add(DIGESTS[start : start + 10], ROWS[start : start + 10])
            writer.commit()
    assert "their rows are safe" in caplog.text
    assert committed(features) == 20
    assert not list(features.folder.glob(".tmp-*"))


def test_an_interrupt_inside_a_commit_loses_nothing(tmp_path: Path) -> None:
    class Interrupting(Disk):
        interrupt = False

        def sync(self, descriptor: int) -> None:
            if self.interrupt:
                self.interrupt = False
                raise KeyboardInterrupt
            super().sync(descriptor)

    disk = Interrupting()
    features = FeatureStore(tmp_path / "store", disk=disk).features(SPEC)

    def run() -> None:
        with features.writer() as writer:
            writer.add(DIGESTS[:10], ROWS[:10])
            disk.interrupt = True
            writer.commit()

    with pytest.raises(KeyboardInterrupt):
        run()
    assert committed(features) == 10
    assert not list(features.folder.glob(".tmp-*"))


@pytest.mark.parametrize("call", ["rename", "sync_folder"])
def test_an_interrupt_after_the_rename_stores_rows_twice_and_serves_them_once(tmp_path: Path, call: str) -> None:
    class Interrupting(Disk):
        interrupt = False

        def _maybe(self) -> None:
            if self.interrupt:
                self.interrupt = False
                raise KeyboardInterrupt

        def rename(self, source: Path, target: Path, at: int | None = None, to: int | None = None) -> None:
            super().rename(source, target, at, to)
            if call == "rename":
                self._maybe()

        def sync_folder(self, folder: Path, at: int | None = None) -> None:
            super().sync_folder(folder, at)
            if call == "sync_folder":
                self._maybe()

    disk = Interrupting()
    store = FeatureStore(tmp_path / "store", disk=disk)
    features = store.features(SPEC)

    def run() -> None:
        with features.writer() as writer:
            writer.add(DIGESTS[:10], ROWS[:10])
            writer.claim(DIGESTS[:1])  # makes the folder, so that the next sync is that of the part
            disk.interrupt = True
            writer.commit()

    with pytest.raises(KeyboardInterrupt):
        run()
    np.testing.assert_array_equal(FeatureStore(tmp_path / "store").features(SPEC).get(DIGESTS[:10]), ROWS[:10])
    (info,) = store.info().fingerprints
    assert (info.rows, info.duplicates) == (10, 10)


def test_a_folder_that_gc_removed_is_made_again(features: FeatureSet) -> None:
    store = FeatureStore(features.folder.parent.parent)
    with features.writer() as writer:
        writer.add(DIGESTS[:10], ROWS[:10])
        writer.commit()
        store.gc(grace=0.0, max_size=0)
        assert not features.folder.exists()
        writer.add(DIGESTS[10:20], ROWS[10:20])
    assert committed(features) == 10
    assert store.spec(features.fingerprint) == SPEC


def test_writers_leave_no_thread_and_no_lease(features: FeatureSet) -> None:
    before = threading.active_count()
    with features.writer() as writer:
        writer.claim(DIGESTS)
        assert threading.active_count() == before + 1
        assert len(list((features.folder / "leases").iterdir())) == 1
    assert threading.active_count() == before
    assert list((features.folder / "leases").iterdir()) == []


def test_a_commit_ends_the_claims_on_its_rows(features: FeatureSet) -> None:
    with features.writer() as writer:
        writer.claim(DIGESTS[:3])
        (lease,) = (features.folder / "leases").iterdir()
        size = lease.stat().st_size
        writer.add(DIGESTS[:2], ROWS[:2])
        writer.commit()
        assert lease.stat().st_size == size - 2 * 32
        writer.add_undecodable(DIGESTS[2].tobytes(), "broken")
        writer.commit()
        assert not lease.exists()


def test_what_was_committed_between_look_and_claim_is_not_granted(features: FeatureSet) -> None:
    """Another writer commits and ends its claim after this one last looked."""
    other = FeatureStore(features.folder.parent.parent).features(SPEC)
    assert not features.contains(DIGESTS).any()
    with other.writer() as writer:
        writer.add(DIGESTS[:10], ROWS[:10])
    with features.writer() as writer:
        assert np.flatnonzero(~writer.claim(DIGESTS)).tolist() == list(range(10))
