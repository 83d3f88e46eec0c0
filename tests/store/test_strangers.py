"""Stores in which strangers have put links, pipes and files, and stores that vanish while they are used."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import StoreFormatError, StoreLostError
from embedkit.files import DISK, Disk, Folder
from embedkit.store import FeatureStore
from embedkit.store import maintenance as maintenance_module
from embedkit.store.layout import committed_name
from embedkit.store.merge import merge_parts
from embedkit.store.parts import write_part
from embedkit.store.uses import note_uses, read_uses
from tests.store.samples import make_rows, make_spec

SPEC = make_spec()
DIGESTS, ROWS = make_rows(40)


def fill(path: Path, parts: int = 2) -> FeatureStore:
    store = FeatureStore(path)
    for rows in np.array_split(np.arange(len(DIGESTS)), parts):
        with store.features(SPEC).writer() as writer:
            writer.add(DIGESTS[rows], ROWS[rows])
    return store


def folder_of(store: FeatureStore) -> Path:
    return store.path / "features" / SPEC.fingerprint


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A stranger's folder, all of whose names look like embedkit's."""
    folder = tmp_path / "victim"
    (folder / "leases").mkdir(parents=True)
    for name in ("letters.txt", "spec.json", "last-use", ".tmp-1-2", "leases/a.lease", "leases/.tmp-3-4"):
        (folder / name).write_text("precious")
        os.utime(folder / name, (0, 0))
    (folder / committed_name("part", 8, "0" * 64)).write_text("precious")
    return folder


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def every_work(path: Path) -> None:
    """Do whatever a store can do; refusals are fine."""
    for work in (
        lambda: FeatureStore(path).info(),
        lambda: FeatureStore(path).verify(),
        lambda: FeatureStore(path).gc(grace=0.0, max_size=0, dry_run=True),
        lambda: FeatureStore(path).repair(),
        lambda: FeatureStore(path).pack(),
        lambda: fill(path),
        lambda: FeatureStore(path).features(SPEC).writer().claim(DIGESTS),
        lambda: FeatureStore(path).gc(grace=0.0, max_size=0),
    ):
        try:
            work()
        except (StoreFormatError, OSError):
            continue


@pytest.mark.parametrize("link", ["features", "features/X", "features/X/leases", "aside", "aside/X", "memo", "strange"])
def test_no_folder_behind_a_link_is_touched(tmp_path: Path, victim: Path, link: str) -> None:
    store = fill(tmp_path / "store")
    damaged = next(folder_of(store).glob("part-*"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")  # for `repair` to set aside
    before = everything(victim)
    place = store.path / link.replace("X", SPEC.fingerprint)
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(victim)
    every_work(store.path)
    assert everything(victim) == before
    assert place.is_symlink()


def test_the_folder_of_a_fingerprint_that_is_a_link_is_refused_by_name(tmp_path: Path, victim: Path) -> None:
    store = fill(tmp_path / "store")
    shutil.rmtree(folder_of(store))
    folder_of(store).symlink_to(victim)
    assert store.fingerprints() == []
    with pytest.raises(StoreFormatError, match=f"{SPEC.fingerprint} is a symbolic link"):
        store.features(SPEC)
    assert store.gc().unknown == (f"features/{SPEC.fingerprint}",)


@pytest.mark.parametrize(
    "name", ["last-use", "maintenance.lock", "leases.lock", "checked.json", "parts.index", "spec.json", ".tmp-1-2"]
)
def test_no_file_behind_a_link_is_touched(tmp_path: Path, name: str) -> None:
    store, precious = fill(tmp_path / "store"), tmp_path / "letters.txt"
    precious.write_text("precious")
    os.utime(precious, (0, 0))
    (folder_of(store) / name).unlink(missing_ok=True)
    (folder_of(store) / name).symlink_to(precious)
    every_work(store.path)
    assert (precious.read_text(), precious.stat().st_mtime_ns) == ("precious", 0)


def test_strangers_files_are_reported_and_stay(tmp_path: Path) -> None:
    store = fill(tmp_path / "store")
    mine = folder_of(store) / "notes.txt"
    for path in (mine, store.path / "README", store.path / "features" / "other" / "x"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    report = store.gc(grace=0.0, max_size=0)
    assert report.unknown == ("README", f"features/{SPEC.fingerprint}/notes.txt", "features/other")
    assert report.evicted == (SPEC.fingerprint,)
    assert [path.name for path in folder_of(store).iterdir()] == ["notes.txt"]
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_a_part_that_is_no_regular_file_is_damaged_and_nobody_waits_for_it(tmp_path: Path, make) -> None:
    store = fill(tmp_path / "store", 1)
    strange = folder_of(store) / committed_name("part", 8, "0" * 64)
    make(strange)
    features = store.features(SPEC)
    assert features.contains(DIGESTS).all()
    assert list(features.snapshot().damaged) == [strange.name]
    [moved] = store.repair().set_aside
    assert "no regular file" in moved.reason
    assert os.path.lexists(moved.path)


@pytest.mark.parametrize("replaced", [False, True], ids=["gone", "another one"])
def test_a_store_that_is_lost_acknowledges_nothing_and_is_not_made_anew(tmp_path: Path, replaced: bool) -> None:
    store = fill(tmp_path / "mount" / "store", 1)
    features = store.features(SPEC)
    more, rows = make_rows(20, seed=1)
    writer = features.writer()
    writer.add(more[:10], rows[:10])
    writer.commit()
    (tmp_path / "mount" / "store").rename(tmp_path / "lost")
    if replaced:
        FeatureStore(tmp_path / "mount" / "store")
    writer.add(more[10:], rows[10:])
    with pytest.raises(StoreLostError, match="no longer the folder"):
        writer.commit()
    with pytest.raises(StoreLostError):
        writer.claim(more)
    here = list((tmp_path / "mount").rglob("*"))
    assert [path.name for path in here if path.is_file()] == ["embedkit-store.json"] * replaced
    assert FeatureStore(tmp_path / "lost").features(SPEC).contains(more).tolist() == [True] * 10 + [False] * 10
    if replaced:
        shutil.rmtree(tmp_path / "mount" / "store")
    (tmp_path / "lost").rename(tmp_path / "mount" / "store")
    writer.commit()  # it is back: the rows were kept
    assert FeatureStore(store.path).features(SPEC).contains(more).all()


def test_a_store_that_is_emptied_acknowledges_nothing_and_is_not_filled_anew(tmp_path: Path) -> None:
    """Its folder is the one that was opened, by its inode."""
    store = fill(tmp_path / "store", 1)
    features = store.features(SPEC)
    more, rows = make_rows(20, seed=1)
    writer = features.writer()
    writer.add(more[:10], rows[:10])
    writer.commit()
    for path in store.path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    writer.add(more[10:], rows[10:])
    with pytest.raises(StoreLostError, match="no longer the folder"):
        writer.commit()
    with pytest.raises(StoreLostError):
        writer.claim(more)
    assert list(store.path.iterdir()) == []


def test_what_is_lost_in_the_middle_of_a_commit_is_not_acknowledged(tmp_path: Path) -> None:
    class Losing(Disk):
        def sync_folder(self, folder: Path, at: int | None = None) -> None:
            super().sync_folder(folder, at)
            if (tmp_path / "store").exists() and list(folder.glob("part-*")):
                (tmp_path / "store").rename(tmp_path / "lost")

    writer = FeatureStore(tmp_path / "store", disk=Losing()).features(SPEC).writer()
    writer.add(DIGESTS, ROWS)
    with pytest.raises(StoreLostError):
        writer.commit()
    assert not (tmp_path / "store").exists()


def test_parts_of_which_there_are_more_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from embedkit.store import parts as parts_module

    monkeypatch.setattr(parts_module, "_READ_BYTES", 0)  # as if they were large
    digests, rows = make_rows(160)
    store = FeatureStore(tmp_path / "store")
    for row in range(160):
        parts_module.write_part(_made(store), SPEC, digests[[row]], [rows[[row]]])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = len(os.listdir("/proc/self/fd")) + 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        np.testing.assert_array_equal(store.features(SPEC).get(digests), rows)
        assert store.pack().parts_after == 1
        np.testing.assert_array_equal(store.features(SPEC).get(digests), rows)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _made(store: FeatureStore) -> Path:
    folder_of(store).mkdir(parents=True, exist_ok=True)
    return folder_of(store)


def test_the_least_recently_used_parts_go_and_are_named_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path / "store", 1)
    digests, rows = make_rows(400, seed=1)
    for start in range(0, 400, 100):
        _made(store)
        name = write_part(folder_of(store), SPEC, digests[start : start + 100], [rows[start : start + 100]])
        os.utime(folder_of(store) / name, (start, start))
    features = store.features(SPEC)
    features.get(digests[:100])  # the oldest, and just used
    total = store.info().bytes
    planned = store.gc(max_size=total - 1, dry_run=True)
    assert planned.dry_run
    assert FeatureStore(store.path).features(SPEC).contains(digests).all()
    said: list[str] = []
    real = maintenance_module.remove_files
    monkeypatch.setattr(
        maintenance_module, "remove_files", lambda *arguments: said.append(caplog.text) or real(*arguments)
    )
    report = store.gc(max_size=total - 1)
    assert report.evicted_parts == planned.evicted_parts
    assert [part.rows for part in report.evicted_parts] == [99]  # by its length: a row of 64 bytes may be padding
    assert report.evicted == ()
    assert (report.bytes_left, report.bytes_freed) == (planned.bytes_left, planned.bytes_freed)
    assert "gc removes 1 part of sample" in said[0]
    there = FeatureStore(store.path).features(SPEC).contains(digests)
    assert np.flatnonzero(~there).tolist() == list(range(100, 200))


@pytest.mark.parametrize("known", [True, False])
def test_parts_that_are_merged_keep_when_they_were_last_used(tmp_path: Path, known: bool) -> None:
    """Merging is no use: else what nobody asks for would be the last that `gc` lets go of."""
    store = fill(tmp_path / "store", 1)
    folder = Folder(folder_of(store))
    digests, rows = make_rows(4, seed=1)
    names = [write_part(folder, SPEC, digests[[row]], [rows[[row]]]) for row in range(4)]
    for age, name in enumerate(names):
        os.utime(folder / name, (1000 + age, 1000 + age))
    if known:
        note_uses(folder, {names[0]: 5000.0})
    os.utime(folder / "last-use", (7000, 7000))
    with maintenance_module.maintenance(folder):
        merged = merge_parts(folder, SPEC, names, DISK)
    assert merged is not None
    assert read_uses(folder)[merged] == (5000.0 if known else 1003.0)
    assert (folder / "last-use").stat().st_mtime == 7000  # of the fingerprint, as `info` says it
    report = store.gc(max_size=store.info().bytes - 1, dry_run=True)
    assert [part.name for part in report.evicted_parts][:1] == [merged]
