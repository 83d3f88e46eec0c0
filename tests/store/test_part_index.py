"""The index of small parts: it saves looking into each, and what it says wrongly is found out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedkit.files import Folder, seal
from embedkit.store import FeatureStore
from embedkit.store import stored as stored_module
from embedkit.store.part_index import read_part_index, write_part_index
from embedkit.store.parts import write_part
from tests.store.samples import make_rows, make_spec

SPEC = make_spec()
DIGESTS, ROWS = make_rows(40)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store of 40 parts, all opened and indexed."""
    store = FeatureStore(tmp_path / "store")
    folder = store.path / "features" / SPEC.fingerprint
    folder.mkdir(parents=True)
    for row in range(40):
        write_part(folder, SPEC, DIGESTS[[row]], [ROWS[[row]]])
    import time

    time.sleep(0.05)  # what was written within the clock's last tick is not remembered
    assert store.features(SPEC).contains(DIGESTS).all()
    assert index_of(store).exists()
    return store


def index_of(store: FeatureStore) -> Path:
    return store.path / "features" / SPEC.fingerprint / "parts.index"


def count_opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    opened: list[Path] = []
    read_part = stored_module.read_part
    monkeypatch.setattr(stored_module, "read_part", lambda path, spec: opened.append(path) or read_part(path, spec))
    return opened


def test_the_second_opening_looks_into_no_part(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = count_opened(monkeypatch)
    features = store.features(SPEC)
    np.testing.assert_array_equal(features.get(DIGESTS), ROWS)
    assert opened == []
    more, rows = make_rows(1, seed=1)
    write_part(features.folder, SPEC, more, [rows])
    assert store.features(SPEC).contains(more).all()
    assert len(opened) == 1


def test_a_part_that_was_touched_is_opened(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = count_opened(monkeypatch)
    part = next(index_of(store).parent.glob("part-*"))
    data = bytearray(part.read_bytes())
    data[-60] ^= 1
    part.write_bytes(data)
    features = store.features(SPEC)
    assert features.contains(DIGESTS).sum() == 39
    assert list(features.snapshot().damaged) == [part.name]
    assert opened == []  # its SHA-256 was wrong before that


def test_an_index_that_names_other_digests_is_thrown_away(
    store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder(index_of(store).parent)
    known = read_part_index(folder, SPEC)
    names = list(known)
    first, second = known[names[0]].part, known[names[1]].part
    import dataclasses

    known[names[0]] = known[names[0]]._replace(part=dataclasses.replace(first, held=second.held))
    known[names[1]] = known[names[1]]._replace(part=dataclasses.replace(second, held=first.held))
    write_part_index(folder, SPEC, known)
    np.testing.assert_array_equal(store.features(SPEC).get(DIGESTS), ROWS)
    assert "the index is thrown away" in caplog.text
    assert not index_of(store).exists()


def test_whatever_the_index_holds_rows_are_right(store: FeatureStore) -> None:
    whole = index_of(store).read_bytes()
    chance = np.random.default_rng(0)
    for number in range(150):
        content = bytearray(whole[:-48])
        for at in chance.integers(0, len(content), chance.integers(1, 4)):
            content[at] = chance.integers(256)
        content = content[: chance.integers(len(content))] if number % 5 == 0 else content
        index_of(store).write_bytes(seal(bytes(content)) if number % 2 else bytes(content) + whole[-48:])
        np.testing.assert_array_equal(FeatureStore(store.path).features(SPEC).get(DIGESTS), ROWS)


@pytest.mark.parametrize("runs", [100])
def test_the_parts_of_many_short_runs_stay_few(tmp_path: Path, runs: int) -> None:
    store = FeatureStore(tmp_path / "store")
    digests, rows = make_rows(runs)
    for row in range(runs):
        with store.features(SPEC).writer() as writer:
            writer.add(digests[[row]], rows[[row]])
    features = FeatureStore(store.path).features(SPEC)
    np.testing.assert_array_equal(features.get(digests), rows)
    assert len(list(features.folder.glob("part-*"))) < 32
