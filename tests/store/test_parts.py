from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from embedkit.errors import DamagedPartError, StoreError
from embedkit.files.commit import seal
from embedkit.store import parts as parts_module
from embedkit.store.checked import CheckedFiles
from embedkit.store.layout import committed_length, committed_name
from embedkit.store.parts import PartMaps, map_part, read_part, rows_in, write_part
from tests.store.samples import make_rows, make_spec


def commit_hdf5(folder: Path, **datasets: Any) -> Path:
    """Commit an HDF5 file of someone else's making, under a name that tells the truth about it."""
    path = folder / "foreign.h5"
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name] = value
    data = seal(path.read_bytes())
    path.unlink()
    named = folder / committed_name("part", len(data), hashlib.sha256(data).hexdigest())
    named.write_bytes(data)
    return named


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("rows", "width"), [(0, 4), (1, 1), (1, 8), (3, 5), (1000, 33)])
def test_a_part_is_read_as_it_was_written(tmp_path: Path, dtype, rows: int, width: int) -> None:
    spec = make_spec(width, dtype)
    digests, features = make_rows(rows, width, dtype=dtype)
    name = write_part(tmp_path, spec, digests, np.array_split(features, 3))
    part = read_part(tmp_path / name, spec)
    assert part.rows == rows
    assert part.features.offset % 64 == 0
    mapped = map_part(tmp_path / name, part)
    assert mapped.digests.tobytes() == digests.tobytes()
    assert mapped.features.tobytes() == features.tobytes()
    assert mapped.features.dtype == np.dtype(dtype)
    assert not mapped.features.flags.writeable or rows == 0


def test_a_part_is_plain_hdf5(tmp_path: Path) -> None:
    spec = make_spec(8)
    digests, features = make_rows(5)
    path = tmp_path / write_part(tmp_path, spec, digests, [features])
    with h5py.File(path) as file:
        content: Any = file
        assert sorted(content) == ["digest", "features", "spec"]
        np.testing.assert_array_equal(content["digest"][:], digests)
        np.testing.assert_array_equal(content["features"][:], features)
        assert content["spec"][:].tobytes().decode() == spec.canonical
        end = content["features"].id.get_offset() + features.nbytes
    assert path.read_bytes() == seal(path.read_bytes()[:end]), "features come last, then the trailer"


def test_equal_rows_make_equal_bytes(tmp_path: Path) -> None:
    digests, features = make_rows(5)
    names = [write_part(tmp_path, make_spec(), digests, [features]) for _ in range(2)]
    assert names[0] != names[1]
    assert names[0].split(".")[1:] == names[1].split(".")[1:]


def test_fewer_features_than_digests_are_no_part(tmp_path: Path) -> None:
    digests, features = make_rows(5)
    with pytest.raises(StoreError, match="expected 160"):
        write_part(tmp_path, make_spec(), digests, [features[:4]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 1000])
def test_the_length_of_a_part_tells_its_rows(tmp_path: Path, rows: int) -> None:
    spec = make_spec(32)
    name = write_part(tmp_path, spec, *[make_rows(rows, 32)[0], [make_rows(rows, 32)[1]]])
    assert rows_in(committed_length(name), spec) == rows


def test_another_spec_is_damage(tmp_path: Path) -> None:
    digests, features = make_rows(3)
    name = write_part(tmp_path, make_spec(weights="sha256:01"), digests, [features])
    with pytest.raises(DamagedPartError, match="another spec"):
        read_part(tmp_path / name, make_spec())


def test_hdf5_of_another_shape_is_damage(tmp_path: Path) -> None:
    spec = make_spec(8)
    digests, features = make_rows(3)
    text = np.frombuffer(spec.canonical.encode(), np.uint8)
    good = {"spec": text, "digest": digests, "features": features}
    read_part(commit_hdf5(tmp_path, **good), spec)
    for bad in (
        {"spec": text, "digest": digests},
        {**good, "digest": digests[:2]},
        {**good, "digest": digests[:, :31]},
        {**good, "digest": digests.astype(np.int64)},
        {**good, "features": features[:, :7]},
        {**good, "features": features.astype(np.float64)},
        {**good, "features": h5py.SoftLink("/digest")},
        {**good, "features": h5py.ExternalLink("elsewhere.h5", "features")},
    ):
        path = commit_hdf5(tmp_path, **bad)
        with pytest.raises(DamagedPartError, match=path.name):
            read_part(path, spec)


def test_a_file_that_is_no_hdf5_is_damage(tmp_path: Path) -> None:
    path = tmp_path / committed_name("part", 100, "a" * 64)
    path.write_bytes(b"x" * 100)
    with pytest.raises(DamagedPartError, match=path.name):
        read_part(path, make_spec())


def test_so_many_parts_are_mapped_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "_MAPPED_PARTS", 2)
    monkeypatch.setattr(parts_module, "_READ_BYTES", 0)
    digests, features = make_rows(4)
    names = [write_part(tmp_path, make_spec(), digests[[i]], [features[[i]]]) for i in range(4)]
    held = [read_part(tmp_path / name, make_spec()) for name in names]
    maps = PartMaps(tmp_path, CheckedFiles(tmp_path, "first"))
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        for number, part in enumerate(held):
            np.testing.assert_array_equal(maps[part].features, features[[number]])
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before + 2


def test_a_part_is_checked_again_when_it_is_mapped_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "_MAPPED_PARTS", 1)
    digests, features = make_rows(2)
    names = [write_part(tmp_path, make_spec(), digests[[i]], [features[[i]]]) for i in range(2)]
    one, two = (read_part(tmp_path / name, make_spec()) for name in names)
    maps = PartMaps(tmp_path, CheckedFiles(tmp_path, "first"))
    assert maps[one].features is not None
    assert maps[two].features is not None
    data = bytearray((tmp_path / one.name).read_bytes())
    data[-100] ^= 1
    (tmp_path / one.name).write_bytes(data)
    with pytest.raises(DamagedPartError, match=one.name):
        maps[one]
