from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from embedkit.errors import DamagedPartError, StoreError, StoreFormatError, StoreNotFoundError, StoreWriteError
from embedkit.files import Folder, file_system_time
from embedkit.specs import FORMAT_VERSION
from embedkit.store import layout
from embedkit.store.feature_store import FeatureStore
from embedkit.store.layout import CommittedName, committed_name, committed_names
from tests.store.samples import make_rows, make_spec


def test_a_new_folder_becomes_a_store_with_a_marker(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "a" / "b")
    assert json.loads((store.path / "embedkit-store.json").read_text()) == {
        "content": "embedkit feature store",
        "format": 1,
    }
    FeatureStore(store.path, create=False)


@pytest.mark.parametrize("entry", [".tmp-1-2", ".DS_Store", "lost+found"])
def test_an_empty_folder_may_hold_what_systems_put_there(tmp_path: Path, entry: str) -> None:
    (tmp_path / entry).mkdir()
    FeatureStore(tmp_path)


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(StoreFormatError, match="other files"):
        FeatureStore(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFormatError, match="is a file"):
        FeatureStore(tmp_path / "file")


def test_an_absent_store_is_made_only_when_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match="check the path"):
        FeatureStore(tmp_path / "store", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_newer_store_is_refused_with_both_versions(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    (store.path / "embedkit-store.json").write_text(json.dumps({"format": FORMAT_VERSION + 1}))
    with pytest.raises(StoreFormatError, match=f"format {FORMAT_VERSION + 1}.*up to format {FORMAT_VERSION}.*newer"):
        FeatureStore(store.path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "1"}', '{"format": 0}', "\0"])
def test_a_damaged_marker_is_refused(tmp_path: Path, text: str) -> None:
    store = FeatureStore(tmp_path / "store")
    (store.path / "embedkit-store.json").write_text(text)
    with pytest.raises(StoreFormatError, match="is damaged"):
        FeatureStore(store.path)


def test_a_store_that_cannot_be_made_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((StoreWriteError, StoreFormatError)):
        FeatureStore(tmp_path / "file" / "store")


def test_a_marker_that_cannot_be_read_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "embedkit-store.json").mkdir()
    with pytest.raises(StoreError, match="cannot read"):
        FeatureStore(tmp_path)


def test_names_say_length_and_digest_and_sort_by_chance() -> None:
    name = committed_name("part", 123, "ab" * 32)
    assert CommittedName.parse(name) == CommittedName("part", 123, "ab" * 32)
    assert committed_name("part", 123, "ab" * 32) != name
    assert name.endswith(".h5")
    assert committed_name("undecodable", 1, "cd" * 32).endswith(".json")


@pytest.mark.parametrize(
    "name",
    [
        f"part-{'0' * 32}.1.{'a' * 64}.json",
        f"undecodable-{'0' * 32}.1.{'a' * 64}.h5",
        f"part-{'0' * 31}.1.{'a' * 64}.h5",
        f"part-{'0' * 32}.-1.{'a' * 64}.h5",
        f"part-{'0' * 32}.1.{'A' * 64}.h5",
        f"part-{'0' * 32}.1.{'a' * 64}.h5\n",
        f"part-{'0' * 32}.1.{'a' * 64}.h5.1",
        f".tmp-part-{'0' * 32}.1.{'a' * 64}.h5",
        f"part-{'0' * 32}.{'9' * 20}.{'a' * 64}.h5",
    ],
)
def test_other_names_are_no_committed_files(name: str) -> None:
    assert CommittedName.parse(name) is None


def test_foreign_files_in_a_features_folder_are_ignored(tmp_path: Path) -> None:
    features = FeatureStore(tmp_path / "store").features(make_spec())
    digests, rows = make_rows(3)
    with features.writer() as writer:
        writer.add(digests, rows)
    for name in (".tmp-1-2", "part-copy.h5", "Thumbs.db"):
        (features.folder / name).write_bytes(b"not HDF5")
    again = FeatureStore(tmp_path / "store").features(make_spec())
    assert again.contains(digests).all()
    assert not again.snapshot().damaged


def test_a_listing_that_ran_into_a_merge_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge commits its output behind the listing and removes its inputs before it: both are missed."""
    old, new = committed_name("part", 1, "a" * 64), committed_name("part", 2, "b" * 64)
    listings = iter([[old, "x"], [], [new], [new]])
    monkeypatch.setattr(os, "listdir", lambda _: next(listings))
    assert committed_names(Folder(tmp_path)) == [new]


def test_a_spec_is_known_by_its_fingerprint(tmp_path: Path) -> None:
    spec = make_spec()
    folder = Folder(tmp_path, (spec.fingerprint,))
    layout.ensure_features_folder(folder, spec)
    assert (folder / "spec.json").read_text() == spec.canonical
    assert layout.read_spec(folder) == spec
    (folder / "spec.json").write_text(make_spec(width=9).canonical)
    with pytest.raises(DamagedPartError, match="another spec"):
        layout.read_spec(folder)
    layout.ensure_features_folder(folder, spec)
    assert layout.read_spec(folder) == spec


def test_a_spec_of_another_version_is_named_as_such(tmp_path: Path) -> None:
    import hashlib

    text = b'{"format":2,"novelty":1}'
    folder = tmp_path / hashlib.sha256(text).hexdigest()
    folder.mkdir()
    (folder / "spec.json").write_bytes(text)
    with pytest.raises(StoreFormatError, match="another version"):
        layout.read_spec(Folder(folder))


def test_a_folder_without_a_clock(tmp_path: Path) -> None:
    assert file_system_time(tmp_path / "gone") is None


def test_a_store_that_another_process_creates_meanwhile_is_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read_small = tmp_path / "store", layout.read_small

    def late(marker: Path, *arguments: int, follow: bool) -> bytes:
        """Look for the marker just before the other process writes it."""
        monkeypatch.setattr(layout, "read_small", read_small)
        FeatureStore(path)
        (path / "memo").mkdir(exist_ok=True)
        raise FileNotFoundError(marker)

    monkeypatch.setattr(layout, "read_small", late)
    assert FeatureStore(path).fingerprints() == []
    assert FeatureStore(path, create=False).fingerprints() == []
