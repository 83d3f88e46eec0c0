from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import DamagedPartError, StoreFormatError, StoreNotFoundError, StoreWriteError
from embedkit.files.commit import Disk, seal
from embedkit.store.feature_store import FeatureStore
from embedkit.store.layout import committed_name
from tests.store.samples import make_rows, make_spec

WIDTH = 32  # rows long enough for the length of a part to tell their number
DIGESTS, ROWS = make_rows(60, WIDTH)
SPEC = make_spec(WIDTH)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Three parts of 10, 20 and 30 rows, and a file of undecodable digests."""
    store = FeatureStore(tmp_path / "store")
    for rows in (slice(0, 10), slice(10, 30), slice(30, 60)):
        with store.features(SPEC).writer() as writer:
            writer.add(DIGESTS[rows], ROWS[rows])
    with store.features(SPEC).writer() as writer:
        writer.add_undecodable(b"a" * 32, "broken")
    return store


def folder_of(store: FeatureStore) -> Path:
    return store.features(SPEC).folder


def by_size(store: FeatureStore) -> list[Path]:
    return sorted(folder_of(store).glob("part-*"), key=lambda path: path.stat().st_size)


def flip(path: Path, offset: int = -100) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_info_counts_what_is_there(store: FeatureStore) -> None:
    with store.features(SPEC).writer() as writer:
        writer.add(DIGESTS[:5], ROWS[:5])
    (info,) = store.info().fingerprints
    assert (info.model, info.rows, info.duplicates, info.undecodable, info.parts, info.damaged) == (
        "sample",
        60,
        5,
        1,
        4,
        0,
    )
    files = [*folder_of(store).glob("part-*"), *folder_of(store).glob("undecodable-*")]
    assert store.info().bytes == info.bytes == sum(path.stat().st_size for path in files)
    assert info.last_use is not None
    assert info.last_use.endswith("+00:00")
    assert store.info().path == str(store.path)


def test_info_of_an_empty_store_is_empty(tmp_path: Path) -> None:
    info = FeatureStore(tmp_path / "store").info()
    assert (info.fingerprints, info.rows, info.bytes) == ((), 0, 0)


def test_info_lists_what_another_version_wrote(store: FeatureStore) -> None:
    text = b'{"format":99}'
    foreign = store.path / "features" / hashlib.sha256(text).hexdigest()
    foreign.mkdir()
    (foreign / "spec.json").write_bytes(text)
    models = {info.fingerprint: info.model for info in store.info().fingerprints}
    assert models == {SPEC.fingerprint: "sample", foreign.name: None}
    with pytest.raises(StoreFormatError, match="another version"):
        store.spec(foreign.name)


def test_info_counts_damaged_parts(store: FeatureStore) -> None:
    flip(by_size(store)[0])
    (info,) = store.info().fingerprints
    assert (info.rows, info.parts, info.damaged) == (50, 3, 1)


def test_verify_reads_every_file(store: FeatureStore) -> None:
    report = store.verify()
    assert (report.parts, report.rows, report.damaged, report.rows_to_extract) == (3, 60, (), 0)
    assert report.bytes == store.info().bytes


@pytest.mark.parametrize("number", [0, 1, 2])
def test_verify_names_the_damaged_part_and_its_cost(store: FeatureStore, number: int) -> None:
    path = by_size(store)[number]
    flip(path)
    report = store.verify()
    (damaged,) = report.damaged
    assert (damaged.path, damaged.model, damaged.fingerprint) == (str(path), "sample", SPEC.fingerprint)
    assert "SHA-256" in damaged.reason
    assert damaged.rows == report.rows_to_extract == [10, 20, 30][number]
    assert (report.parts, report.rows) == (2, 60 - damaged.rows)


def test_verify_believes_no_memo(store: FeatureStore) -> None:
    """The memo of a reader calls the part sound, whatever happened to the bytes since."""
    import json

    path = by_size(store)[0]
    flip(path)
    status = path.stat()
    entry = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    (folder_of(store) / "checked.json").write_text(json.dumps({"checked": {path.name: entry}}))
    assert FeatureStore(store.path).features(SPEC).contains(DIGESTS).all(), "the test would test nothing"
    assert [Path(file.path) for file in store.verify().damaged] == [path]


@pytest.mark.parametrize("content", [b"", b"{", b'{"fingerprint": "x", "undecodable": {}}', None])
def test_verify_and_repair_know_damaged_reasons(store: FeatureStore, content: bytes | None) -> None:
    (path,) = folder_of(store).glob("undecodable-*")
    if content is None:
        flip(path, 10)
    else:  # under a name that tells the truth about it
        path.unlink()
        path = path.with_name(committed_name("undecodable", len(content), hashlib.sha256(content).hexdigest()))
        path.write_bytes(content)
    (damaged,) = store.verify().damaged
    assert (damaged.path, damaged.rows) == (str(path), 0)
    digest = np.frombuffer(b"a" * 32, np.uint8).reshape(1, 32)
    assert FeatureStore(store.path).features(SPEC).undecodable(digest) == {}
    store.repair()
    assert not path.exists()
    assert store.verify().damaged == ()


def test_a_sealed_file_that_is_no_part_is_damaged(store: FeatureStore) -> None:
    data = seal(b"no HDF5 at all")
    path = folder_of(store) / committed_name("part", len(data), hashlib.sha256(data).hexdigest())
    path.write_bytes(data)
    assert [Path(file.path) for file in store.verify().damaged] == [path]


def test_repair_sets_aside_and_deletes_nothing(store: FeatureStore) -> None:
    path = by_size(store)[1]
    flip(path)
    content = path.read_bytes()
    report = store.repair()
    (file,) = report.set_aside
    assert Path(file.path) == store.path / "aside" / SPEC.fingerprint / path.name
    assert Path(file.path).read_bytes() == content
    assert not path.exists()
    assert store.verify().damaged == ()
    assert FeatureStore(store.path).features(SPEC).contains(DIGESTS).sum() == 40
    path.write_bytes(b"again")
    (file,) = store.repair().set_aside
    assert Path(file.path).name == f"{path.name}.2"
    assert Path(file.path).with_suffix("").read_bytes() == content
    assert store.repair().set_aside == ()


def test_repair_writes_a_damaged_spec_again(store: FeatureStore) -> None:
    for damage in (b"", b"{}", None):
        spec = folder_of(store) / "spec.json"
        if damage is None:
            spec.unlink()
        else:
            spec.write_bytes(damage)
        assert store.spec(SPEC.fingerprint) == SPEC, "read from a part"
        assert store.repair().specs_restored == (SPEC.fingerprint,)
        assert spec.read_text() == SPEC.canonical
    assert store.repair().specs_restored == ()


def test_without_a_sound_part_a_damaged_spec_stays_damaged(store: FeatureStore) -> None:
    (folder_of(store) / "spec.json").write_bytes(b"{}")
    for path in by_size(store):
        flip(path)
    with pytest.raises(DamagedPartError, match=r"spec\.json"):
        store.spec(SPEC.fingerprint)
    assert len(store.verify().damaged) == 3
    report = store.repair()
    assert len(report.set_aside) == 3
    assert report.specs_restored == ()
    (info,) = store.info().fingerprints
    assert (info.model, info.parts) == (None, 0)


def test_the_spec_of_an_unknown_fingerprint_is_not_found(store: FeatureStore) -> None:
    with pytest.raises(StoreNotFoundError, match="no features of fingerprint"):
        store.spec("0" * 64)


def test_a_repair_that_cannot_move_says_so(store: FeatureStore) -> None:
    class Stuck(Disk):
        def rename(self, source: Path, target: Path, at: int | None = None, to: int | None = None) -> None:
            raise OSError(30, "Read-only file system")

    flip(by_size(store)[0])
    with pytest.raises(StoreWriteError, match="move it by hand"):
        FeatureStore(store.path, disk=Stuck()).repair()
    assert len(by_size(store)) == 3
