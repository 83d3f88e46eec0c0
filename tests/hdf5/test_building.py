from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.errors import UsageError
from embedkit.hdf5.building import CHUNK_BYTES, build_head, build_image, put_array, put_json, put_text
from embedkit.hdf5.text import MAX_TEXT, check_text
from embedkit.hdf5.untrusted import open_untrusted
from embedkit.tables.table import FeatureTable
from tests.tables.table_samples import EVERYTHING, assert_same, make_table


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(0, 40), st.integers(1, 300)),
    dtype=st.sampled_from(["float32", "float16"]),
    names=st.lists(st.text("abcdefgh", min_size=1, max_size=30), unique=True, max_size=60),
    groups=st.integers(0, 3),
)
def test_features_are_last_whatever_comes_before(shape: Any, dtype: Any, names: list[str], groups: int) -> None:
    def fill(root: Any) -> None:
        for i in range(groups):
            root.create_group(f"group {i}")
        for i, name in enumerate(names):
            group = root[f"group {i % groups}"] if groups else root
            (put_text if i % 2 else put_array)(group, f"_{name}", ["x"] * i if i % 2 else np.arange(i))  # type: ignore

    head = build_head(shape, dtype, fill)
    features = np.arange(shape[0] * shape[1]).reshape(shape).astype(dtype)
    assert head.features == features.nbytes
    assert head.length == len(head.data) + features.nbytes
    with h5py.File(io.BytesIO(bytes(head.data) + features.tobytes())) as file:
        np.testing.assert_array_equal(file["features"][:], features)
        if features.size:
            assert file["features"].id.get_offset() == len(head.data)
            assert len(head.data) % 64 == 0


@pytest.mark.parametrize(
    "texts",
    [
        [f"key {i}" for i in range(200_000)],  # many chunks
        ["short"] * 3000 + ["l" * 4096] + [""] * 3000,  # one long text widens all
        ["x" * MAX_TEXT, "", "é" * (MAX_TEXT // 2)],  # a chunk a text
        ["日本" * 1000, "a"],
        [""],
        [],
    ],
    ids=["many", "one long", "longest", "wide", "blank", "none"],
)
def test_text_of_all_sizes(texts: list[str], tmp_path: Path) -> None:
    image = build_image(lambda root: put_text(root, "text", texts))
    (tmp_path / "t.h5").write_bytes(image)
    with io.FileIO(tmp_path / "t.h5") as raw, open_untrusted(raw, len(image), "t.h5") as file:
        assert file.text("text") == texts
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["text"].asstr()[:].tolist() == texts
        chunks = file["text"].chunks
        assert chunks is None if not texts else chunks[0] * file["text"].dtype.itemsize <= max(CHUNK_BYTES, MAX_TEXT)


def test_padding_costs_nothing() -> None:
    keys = [f"images/{i:06d}.jpg" for i in range(20_000)]
    narrow = len(build_image(lambda root: put_text(root, "key", keys)))
    wide = len(build_image(lambda root: put_text(root, "key", [*keys, "x" * 4096])))
    assert len(keys) * 4096 > 80_000_000
    assert wide < 1_200_000
    assert narrow < 150_000


def test_text_that_cannot_be_stored() -> None:
    for texts, message in [
        (["a\0b"], "NUL"),
        (["\udcff"], "Unicode"),
        ([b"bytes"], "expected text"),
        ([None], "expected text"),
        (["a" * (MAX_TEXT + 1)], "at most"),
    ]:
        with pytest.raises(UsageError, match=message):
            check_text(texts, "key")  # type: ignore
        with pytest.raises(UsageError, match=message):
            build_image(lambda root, texts=texts: put_text(root, "t", texts))


def test_arrays_are_little_endian(tmp_path: Path) -> None:
    image = build_image(lambda root: put_array(root, "x", np.array([1.5, -2.0], dtype=">f8")))
    (tmp_path / "t.h5").write_bytes(image)
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["x"].dtype == np.dtype("<f8")
        assert file["x"][:].tolist() == [1.5, -2.0]


def test_json_is_canonical(tmp_path: Path) -> None:
    image = build_image(lambda root: put_json(root, "j", {"b": [1, None], "a": "é"}))
    (tmp_path / "t.h5").write_bytes(image)
    with io.FileIO(tmp_path / "t.h5") as raw, open_untrusted(raw, len(image), "t.h5") as file:
        assert file.json("j") == {"a": "é", "b": [1, None]}
        assert file.array("j", "uint8").tobytes() == b'{"a":"\\u00e9","b":[1,null]}'


def test_many_threads_read_and_write_at_once(tmp_path: Path) -> None:
    table = make_table(**EVERYTHING)
    table.write(tmp_path / "t.h5")
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                assert_same(FeatureTable.open(tmp_path / "t.h5"), table)
                table.write(tmp_path / f"{number}.h5")
                with h5py.File(tmp_path / "t.h5") as file:  # somebody else's use of HDF5 meanwhile
                    assert file["features"].shape == (6, 4)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert problems == []
