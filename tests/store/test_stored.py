from __future__ import annotations

import gc
import logging
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import MissingRowsError
from embedkit.store import parts as parts_module
from embedkit.store import stored as stored_module
from embedkit.store.feature_store import FeatureStore
from embedkit.store.stored import FeatureSet
from tests.store.samples import make_rows, make_spec

DIGESTS, ROWS = make_rows(40)


def open_features(path: Path) -> FeatureSet:
    return FeatureStore(path).features(make_spec())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with four parts of ten rows."""
    for start in range(0, 40, 10):
        add(tmp_path / "store", slice(start, start + 10))
    return tmp_path / "store"


def add(path: Path, rows: slice) -> None:
    with open_features(path).writer() as writer:
        writer.add(DIGESTS[rows], ROWS[rows])


def parts_of(path: Path) -> list[Path]:
    return sorted(path.rglob("part-*"))


def held_rows(path: Path, part: Path) -> np.ndarray:
    """Which rows a part holds."""
    features = open_features(path)
    snapshot = features.snapshot()
    number = next(number for number, one in snapshot.parts.items() if one.name == part.name)
    places = features._find(snapshot, DIGESTS)  # pyright: ignore[reportPrivateUsage]
    return np.flatnonzero(places >> 32 == number)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_what_others_commit_is_seen_after_a_refresh(tmp_path: Path) -> None:
    features = open_features(tmp_path / "store")
    assert not features.contains(DIGESTS).any()
    add(tmp_path / "store", slice(0, 10))
    assert not features.contains(DIGESTS).any()
    features.refresh()
    assert features.contains(DIGESTS).sum() == 10
    add(tmp_path / "store", slice(10, 20))
    features.refresh()
    np.testing.assert_array_equal(features.get(DIGESTS[:20]), ROWS[:20])


def test_whoever_asks_for_rows_gets_those_committed_meanwhile(tmp_path: Path) -> None:
    features = open_features(tmp_path / "store")
    assert not features.contains(DIGESTS).any()
    add(tmp_path / "store", slice(0, 10))
    np.testing.assert_array_equal(features.get(DIGESTS[:10]), ROWS[:10])
    with pytest.raises(MissingRowsError):
        features.get(DIGESTS)


@pytest.mark.parametrize("offset", [0, 100, 3000, -200, -40, -1])
def test_a_damaged_part_is_named_once_and_the_rest_is_served(
    path: Path, offset: int, caplog: pytest.LogCaptureFixture
) -> None:
    part = parts_of(path)[1]
    lost = held_rows(path, part)
    flip(part, offset)
    features = open_features(path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert np.flatnonzero(~features.contains(DIGESTS)).tolist() == lost.tolist()
            features.refresh()
    assert [part.name in record.message for record in caplog.records] == [True]
    rest = np.setdiff1d(np.arange(40), lost)
    np.testing.assert_array_equal(features.get(DIGESTS[rest]), ROWS[rest])
    with pytest.raises(MissingRowsError):
        features.get(DIGESTS)


def test_rows_of_a_damaged_part_can_be_written_again(path: Path) -> None:
    flip(parts_of(path)[0], -200)
    features = open_features(path)
    missing = ~features.contains(DIGESTS)
    with features.writer() as writer:
        assert writer.claim(DIGESTS).tolist() == missing.tolist()
        writer.add(DIGESTS[missing], ROWS[missing])
    np.testing.assert_array_equal(features.get(DIGESTS), ROWS)


@pytest.mark.parametrize("content", [b"", b"x", None])
def test_a_truncated_and_a_swapped_part_are_damaged(path: Path, content: bytes | None) -> None:
    one, two = parts_of(path)[:2]
    one.write_bytes(two.read_bytes() if content is None else content)
    features = open_features(path)
    assert features.contains(DIGESTS).sum() == 30
    assert [Path(str(error.filename)) for error in features.snapshot().damaged.values()] == [one]


def test_a_part_of_another_fingerprint_in_the_folder_is_damaged(tmp_path: Path) -> None:
    other = FeatureStore(tmp_path / "store").features(make_spec(weights="sha256:01"))
    with other.writer() as writer:
        writer.add(DIGESTS[:5], ROWS[:5])
    add(tmp_path / "store", slice(5, 10))
    stray = next(other.folder.glob("part-*"))
    stray.rename(open_features(tmp_path / "store").folder / stray.name)
    features = open_features(tmp_path / "store")
    assert features.contains(DIGESTS).sum() == 5
    assert list(features.snapshot().damaged) == [stray.name]


def test_a_part_damaged_while_it_is_in_use_is_noticed_when_it_is_mapped_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_module, "_MAPPED_PARTS", 1)
    features = open_features(path)
    assert features.contains(DIGESTS).all()
    part = parts_of(path)[2]
    lost = held_rows(path, part)
    replacement = part.with_name("replacement")  # a rename, since a map would show the change at once
    replacement.write_bytes(b"\0" * part.stat().st_size)
    replacement.replace(part)
    assert np.flatnonzero(~features.contains(DIGESTS)).tolist() == lost.tolist()
    assert list(features.snapshot().damaged) == [part.name]


def test_a_reader_whose_parts_were_merged_lists_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "_MAPPED_PARTS", 1)
    features = open_features(path)
    assert features.contains(DIGESTS).all()
    FeatureStore(path).pack()
    assert len(parts_of(path)) == 1
    np.testing.assert_array_equal(features.get(DIGESTS), ROWS)
    assert len(features.snapshot().parts) == 1


def test_a_reader_that_is_mapped_reads_on_after_a_merge(path: Path) -> None:
    features = open_features(path)
    np.testing.assert_array_equal(features.get(DIGESTS), ROWS)
    FeatureStore(path).pack()
    np.testing.assert_array_equal(features.get(DIGESTS), ROWS)
    assert len(features.snapshot().parts) == 4


def test_a_part_that_vanishes_while_it_is_taken_in_is_looked_for_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_part = stored_module.read_part
    pending = iter([True])

    def merge_first(part_path: Path, spec):
        if next(pending, False):
            FeatureStore(path).pack()
        return read_part(part_path, spec)

    monkeypatch.setattr(stored_module, "read_part", merge_first)
    np.testing.assert_array_equal(open_features(path).get(DIGESTS), ROWS)


def test_of_rows_stored_twice_the_first_part_by_name_serves(tmp_path: Path) -> None:
    for value in range(6):
        with open_features(tmp_path / "store").writer() as writer:
            writer.add(DIGESTS[:10], np.full((10, 8), value, np.float32))
    features = open_features(tmp_path / "store")
    served = np.unique(features.get(DIGESTS[:10]))
    first = parts_of(tmp_path / "store")[0]
    assert len(served) == 1
    for path in parts_of(tmp_path / "store")[1:]:
        path.unlink()
    assert np.unique(open_features(tmp_path / "store").get(DIGESTS[:10])) == served
    assert first.exists()


def test_parts_seen_one_by_one_serve_like_parts_seen_at_once(tmp_path: Path) -> None:
    growing = open_features(tmp_path / "store")
    for value in range(6):
        with open_features(tmp_path / "store").writer() as writer:
            writer.add(DIGESTS[value : value + 10], np.full((10, 8), value, np.float32))
        growing.refresh()
    np.testing.assert_array_equal(growing.get(DIGESTS[:15]), open_features(tmp_path / "store").get(DIGESTS[:15]))


def test_a_store_can_be_sent_to_other_processes(path: Path) -> None:
    store = pickle.loads(pickle.dumps(FeatureStore(path)))
    np.testing.assert_array_equal(store.features(make_spec()).get(DIGESTS), ROWS)


def test_a_store_without_rights_to_write_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("touch", "mkdir", "write_bytes", "replace", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    features = FeatureStore(path, create=False).features(make_spec())
    np.testing.assert_array_equal(features.get(DIGESTS), ROWS)


def test_opening_takes_no_file_descriptors_with_it(path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()  # or the leftovers of other tests go in between
    before = descriptors()
    for _ in range(5):
        features = open_features(path)
        features.get(DIGESTS)
    del features
    assert descriptors() == before


def test_refreshing_beside_readers_never_shows_less(path: Path) -> None:
    features = open_features(path)
    assert features.contains(DIGESTS).all()
    done = threading.Event()
    failures: list[object] = []

    def keep_reading() -> None:
        chance = np.random.default_rng(0)
        while not done.is_set():
            asked = chance.permutation(40)
            if not np.array_equal(features.get(DIGESTS[asked]), ROWS[asked]):
                failures.append(asked)

    def churn() -> Iterator[None]:
        for seed in range(1, 12):
            digests, rows = make_rows(10, seed=seed)
            with open_features(path).writer() as writer:
                writer.add(digests, rows)
            features.refresh()
            if seed % 4 == 0:
                FeatureStore(path).pack()
                features.refresh()
            yield

    threads = [threading.Thread(target=keep_reading) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in churn():
            os.sched_yield()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures
