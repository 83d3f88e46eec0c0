from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embedkit.errors import EmptySourceError, ManifestError, SourceNotFoundError, UnreadableImageError, UsageError
from embedkit.images import open_source, read_bytes, rows_of

BOTH = pytest.mark.parametrize("open_rows", [rows_of, open_source])


def objects(items) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


@BOTH
@pytest.mark.parametrize("container", [list, tuple, np.array, objects])
def test_paths(tmp_path, monkeypatch, open_rows, container):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    source = open_rows(container(["a.jpg", "b.jpg"]))
    assert source.keys == ["a.jpg", "b.jpg"]
    assert [read_bytes(ref) for ref in source.images] == [b"a.jpg", b"b.jpg"]
    assert all(type(ref) is str for ref in source.images)
    assert source.labels is None


@BOTH
def test_path_objects_and_a_root(tmp_path, open_rows):
    (tmp_path / "a.jpg").write_bytes(b"a")
    source = open_rows([Path("a.jpg"), tmp_path / "a.jpg"], root=tmp_path)
    assert source.keys == ["a.jpg", str(tmp_path / "a.jpg")]
    assert [read_bytes(ref) for ref in source.images] == [b"a", b"a"]


def test_columns_and_frames_of_pandas_and_polars(photo):
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    paths = ["x/a.jpg", "x/b.jpg"]
    for X in (
        pd.Series(paths),
        pd.Series(paths, index=[7, 3], dtype="string"),
        pd.Series(paths, dtype="category"),
        pd.DataFrame({"photo": paths}),
        pd.DataFrame({"photo": paths}).to_numpy(),
        pd.Index(paths),
        pl.Series(paths),
        pl.DataFrame({"photo": paths}),
    ):
        assert rows_of(X).keys == paths
        assert open_source(X).keys == paths
    assert rows_of(pd.Series([photo, photo])).images == [photo, photo]
    with pytest.raises(UsageError, match="frame of 2 columns, expected the one that holds the images"):
        rows_of(pd.DataFrame({"photo": paths, "age": [1, 2]}))
    with pytest.raises(UsageError, match="row 1 is missing"):
        rows_of(pd.Series(["a.jpg", np.nan], dtype=object))


@BOTH
def test_an_object_array_of_images_stays_what_it_is(photo, open_rows):
    images = [photo, photo.rotate(90), photo.convert("L")]
    source = open_rows(objects(images))
    assert source.keys == ["0", "1", "2"]
    assert all(left is right for left, right in zip(source.images, images, strict=True))


@BOTH
def test_a_mixture(photo, open_rows):
    array = np.zeros((4, 5, 3), dtype=np.uint8)
    source = open_rows(["a.jpg", b"\xff\xd8", photo, array, bytearray(b"x"), {"bytes": b"y", "path": None}])
    assert source.keys == ["a.jpg", "1", "2", "3", "4", "5"]
    assert source.images[1] == b"\xff\xd8"
    assert source.images[2] is photo
    assert source.images[3] is array
    assert source.images[4:] == [b"x", b"y"]
    rows, refs = source.on_disk()
    assert rows == [0]
    assert refs == ["a.jpg"]


@BOTH
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 4, 5, 3), (6, 4, 5), (6, 4, 5, 1), (6, 4, 5, 4)])
def test_batches_of_images(open_rows, dtype, shape):
    batch = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    source = open_rows(batch)
    assert source.keys == ["0", "1", "2", "3", "4", "5"]
    assert len(source.images) == 6
    for row in range(6):
        np.testing.assert_array_equal(source.images[row], batch[row])
    assert len(list(source.images)) == 6


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((4, 5, 3), np.uint8), r"looks like one image, expected a batch .* use array\[None\]"),
        (np.zeros((6, 3, 4, 5), np.uint8), r"channels come last: use array.transpose\(0, 2, 3, 1\)"),
        (np.zeros((6, 4, 5, 3), np.int64), r"array of int64, expected uint8"),
        (np.zeros((6, 40)), r"shape \(6, 40\), expected \(n, h, w\)"),
        (np.zeros(6), r"shape \(6,\), expected \(n, h, w\)"),
        (np.zeros((6, 4, 5, 3), dtype=object), r"object array of shape .* NumPy takes Pillow images apart"),
        (np.array([["a", "b"]]), r"array of paths of shape \(1, 2\)"),
        (np.array([b"ab\0"]), r"which drops the zeros that bytes end in"),
        ({"a": 1}, "got dict, expected a sequence of paths"),
        (7, "got int, expected a sequence"),
        (iter(["a"]), "got list_iterator, expected a sequence"),
        (["a.jpg", None], "row 1 is missing"),
    ],
)
@BOTH
def test_what_is_no_sequence_of_images(open_rows, X, message):
    with pytest.raises(UsageError, match=message):
        open_rows(X)


def test_numpy_takes_lists_of_images_apart():
    """The trap that the message above speaks of."""
    image = Image.new("RGB", (5, 4))
    with pytest.raises(UsageError, match=r"array = np.empty\(n, dtype=object\)"):
        rows_of(np.array([image, image], dtype=object))


@BOTH
@pytest.mark.parametrize("X", [[], (), np.zeros((0, 4, 5, 3), np.uint8), np.array([], dtype=object)])
def test_nothing(open_rows, X):
    with pytest.raises(EmptySourceError):
        open_rows(X)


@given(st.lists(st.sampled_from(["a", "b", "a#2", "a#3", "b#2", "1", "a#2#2"]), min_size=1, max_size=30))
def test_items_may_come_twice(paths):
    source = rows_of(paths)
    assert source.images == paths
    assert len(set(source.keys)) == len(paths)
    for row, (path, key) in enumerate(zip(paths, source.keys, strict=True)):
        assert (key == path) == (paths.index(path) == row)
        assert key.startswith(path)


def test_the_second_of_a_path_is_numbered():
    assert rows_of(["a", "b", "a", "a"]).keys == ["a", "b", "a#2", "a#3"]
    assert rows_of(["a", "a#2", "a"]).keys == ["a", "a#2", "a#3"]


def test_npy_files_are_mapped(tmp_path):
    batch = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", batch)
    source = open_source(tmp_path / "x.npy")
    assert source.name == str(tmp_path / "x.npy")
    assert len(source) == 7
    np.testing.assert_array_equal(np.stack([source.images[row] for row in range(7)]), batch)
    assert not source.images[0].flags.owndata  # a view into the file


def test_bad_npy_files(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    (tmp_path / "text.npy").write_bytes(b"hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "cut.npy", np.zeros((9, 9, 9), np.uint8))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-100])
    with pytest.raises(ManifestError, match="cut.npy: cut short: 757 bytes .* copy or write it again$"):
        open_source(tmp_path / "cut.npy")
    for name in ("objects", "text", "empty"):
        with pytest.raises(ManifestError, match=f"{name}.npy: not an .npy file of numbers"):
            open_source(tmp_path / f"{name}.npy")
    with pytest.raises(SourceNotFoundError):
        open_source(tmp_path / "absent.npy")
    np.save(tmp_path / "flat.npy", np.zeros(9))
    with pytest.raises(UsageError, match=r"flat.npy: array of shape \(9,\)"):
        open_source(tmp_path / "flat.npy")


@pytest.mark.parametrize("mapped", [False, True])
def test_floats_of_another_range_are_refused_at_once(tmp_path, mapped):
    def opened(batch):
        if not mapped:
            return open_source(batch)
        np.save(tmp_path / "x.npy", batch)
        return open_source(tmp_path / "x.npy")

    eight = np.random.default_rng(0).integers(0, 256, (40, 4, 5, 3), dtype=np.uint8)
    batch = eight.astype(np.float32)
    with pytest.raises(UsageError, match=r"its floats reach from 0 to 255, expected \[0, 1\]; divide by 255"):
        opened(batch)
    with pytest.raises(UsageError, match=r"its floats reach from -1 to 1, expected \[0, 1\]"):
        opened(batch / 127.5 - 1)
    with pytest.raises(UsageError, match="its floats reach from nan to nan"):
        opened(np.full((1, 4, 5), np.nan))
    assert len(opened(eight)) == 40
    batch /= 255
    batch[:39] = np.nan  # failures of their own: they spare the last one
    assert len(opened(batch)) == 40


def test_missing_images_may_be_rows_that_cannot_be_read():
    pd = pytest.importorskip("pandas")
    source = rows_of(["a.jpg", None, float("nan"), pd.NA], missing=True)
    assert source.keys == ["a.jpg", "1", "2", "3"]
    for ref in list(source.images)[1:]:
        with pytest.raises(UnreadableImageError, match="no image is given"):
            read_bytes(ref)
    with pytest.raises(UsageError, match="row 1 is float, expected a path"):
        rows_of(["a.jpg", 1.5], missing=True)


def test_a_path_with_a_nul_is_an_unreadable_row():
    source = rows_of(["ok.jpg", "a\0b"])
    assert source.keys == ["ok.jpg", "a\\0b"]
    with pytest.raises(UnreadableImageError, match="NUL"):
        read_bytes(source.images[1])


def test_what_is_no_list_of_images_is_told_what_to_do():
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(UsageError, match="to_pylist"):
        rows_of(pyarrow.array(["a.jpg"]))
    with pytest.raises(UsageError, match="row 1 is missing"):
        rows_of(["a.jpg", None])
    with pytest.raises(UsageError, match="array of paths of shape"):
        rows_of(np.array([["a.jpg", "b.jpg"]]))
    with pytest.raises(UsageError, match="root is 3"):
        rows_of(["a.jpg"], root=3)


def test_what_was_probably_meant_is_said(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    source = open_source(tmp_path)
    for passed, meant in [(source, "source.images"), (str(tmp_path), "open_source"), (tmp_path / "a.png", r"\[path\]")]:
        with pytest.raises(UsageError, match=meant):
            rows_of(passed)
    assert repr(source) == f"<ImageSource 1 images, labels: none, {tmp_path}>"
    assert len(repr(open_source([np.zeros((4, 4, 3), np.uint8)] * 500))) < 200
