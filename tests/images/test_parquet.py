from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embedkit.errors import (
    EmptySourceError,
    ManifestError,
    MissingExtraError,
    SourceNotFoundError,
    UnreadableImageError,
)
from embedkit.images import open_source, read_bytes

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path, columns, metadata=None, **options):
    table = pa.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, path, **options)
    return path


def test_a_manifest(tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"b")
    path = write(
        tmp_path / "m.parquet",
        {
            "path": ["b.jpg", "c.jpg"],
            "label": [1, 0],
            "split": ["train", "test"],
            "weight": [0.5, None],
            "count": pa.array([3, 4], pa.int8()),
            "name": pa.array(["x", None]).dictionary_encode(),
            "flag": [True, False],
        },
    )
    source = open_source(path)
    assert source.keys == ["b.jpg", "c.jpg"]
    assert read_bytes(source.images[0]) == b"b"
    assert source.labels == ["1", "0"]
    assert source.split == ["train", "test"]
    np.testing.assert_array_equal(source.columns["weight"], [0.5, np.nan])
    assert source.columns["count"].tolist() == [3, 4]
    assert source.columns["name"] == ["x", ""]
    assert source.columns["flag"] == ["True", "False"]


def test_it_says_the_same_as_csv(tmp_path):
    rows = [("a.jpg", 0.5, "train", 7), ("b.jpg", 1.25, "test", 8)]
    write(tmp_path / "m.parquet", dict(zip(("path", "label", "split", "n"), zip(*rows, strict=True), strict=True)))
    (tmp_path / "m.csv").write_text("path,label,split,n\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    left, right = open_source(tmp_path / "m.parquet"), open_source(tmp_path / "m.csv")
    assert (left.keys, left.images, left.split) == (right.keys, right.images, right.split)
    assert left.labels.tolist() == right.labels.tolist() == [0.5, 1.25]
    assert left.columns["n"].tolist() == right.columns["n"].tolist()
    assert left.columns["n"].dtype == right.columns["n"].dtype


def test_lists_of_labels(tmp_path):
    path = write(tmp_path / "m.parquet", {"path": ["a", "b"], "label": [["x", "y"], []]})
    source = open_source(path, target_type="multilabel")
    assert source.labels.tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("layout", ["binary", "struct"])
def test_images_inside(tmp_path, layout):
    data = [b"image %d" % i for i in range(10)]
    images = data if layout == "binary" else [{"bytes": item, "path": None} for item in data]
    path = write(tmp_path / "m.parquet", {"image": images, "label": ["a", "b"] * 5}, row_group_size=3)
    source = open_source(path)
    assert source.keys == [str(i) for i in range(10)]
    assert source.labels == ["a", "b"] * 5
    assert source.columns == {}
    assert len(source.images) == 10
    assert [read_bytes(source.images[i]) for i in (9, 0, 5, 1, 8, 2)] == [data[i] for i in (9, 0, 5, 1, 8, 2)]
    assert source.images[2:4] == data[2:4]
    assert source.images[-1] == data[-1]
    assert source.on_disk() == ([], [])
    with pytest.raises(IndexError):
        source.images[10]
    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(source.images.__getitem__, list(range(10)) * 20)) == data * 20


@pytest.mark.parametrize(
    ("paths", "keys"),
    [
        (["x/a.jpg", "b.jpg", "ü.jpg"], ["x/a.jpg", "b.jpg", "ü.jpg"]),
        (["a.jpg", "b.jpg", "a.jpg"], ["0", "1", "2"]),
        (["a.jpg", None, "c.jpg"], ["0", "1", "2"]),
        (["a.jpg", "", "c.jpg"], ["0", "1", "2"]),
        (["a.jpg", "b\0.jpg", "c.jpg"], ["0", "1", "2"]),
        ([1, 2, 3], ["0", "1", "2"]),
    ],
)
def test_paths_beside_the_images_are_keys_where_each_row_has_its_own(tmp_path, paths, keys):
    images = [{"bytes": b"%d" % row, "path": path} for row, path in enumerate(paths)]
    source = open_source(write(tmp_path / "m.parquet", {"image": images, "label": ["a", "b", "a"]}, row_group_size=2))
    assert source.keys == keys
    assert source.labels == ["a", "b", "a"]
    assert [read_bytes(ref) for ref in source.images] == [b"0", b"1", b"2"]


def test_a_row_without_a_struct_has_no_path(tmp_path):
    source = open_source(write(tmp_path / "m.parquet", {"image": [{"bytes": b"a", "path": "a.jpg"}, None]}))
    assert source.keys == ["0", "1"]


def test_a_missing_image_is_a_failure_of_its_row(tmp_path):
    source = open_source(write(tmp_path / "m.parquet", {"image": [b"a", None]}))
    assert read_bytes(source.images[0]) == b"a"
    with pytest.raises(UnreadableImageError, match="no image in this row"):
        read_bytes(source.images[1])


def test_a_damaged_row_group_is_a_failure_of_its_rows(tmp_path):
    data = [bytes([i]) * 500 for i in range(4)]
    path = write(tmp_path / "m.parquet", {"image": data}, row_group_size=2, compression="zstd", use_dictionary=False)
    offset = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(damaged)
    source = open_source(path)
    for row in (0, 1):
        with pytest.raises(UnreadableImageError, match="row group 0 cannot be read"):
            read_bytes(source.images[row])
    assert read_bytes(source.images[3]) == data[3]


def test_class_names_of_datasets(tmp_path):
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    path = write(tmp_path / "m.parquet", {"image": [{"bytes": b"a", "path": "x"}] * 3, "label": [1, 0, None]}, metadata)
    assert open_source(path).labels == ["dog", "cat", ""]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"file": ["a"]}, "no column 'path' and no column of image bytes .*; columns found: file"),
        ({"image": [1]}, "no column 'path' and no column of image bytes"),
        ({"path": ["a", "a"]}, "row 1: path 'a' was listed before"),
        ({"path": ["a", None]}, "row 1: the path is null"),
        ({"path": ["a", " "]}, "row 1: the path is blank"),
    ],
)
def test_bad_files(tmp_path, columns, message):
    with pytest.raises(ManifestError, match=message) as raised:
        open_source(write(tmp_path / "m.parquet", columns))
    assert str(tmp_path / "m.parquet") in str(raised.value)


def test_no_parquet_and_no_rows(tmp_path):
    (tmp_path / "m.parquet").write_bytes(b"hello")
    with pytest.raises(ManifestError, match="not a Parquet file that can be read"):
        open_source(tmp_path / "m.parquet")
    with pytest.raises(SourceNotFoundError):
        open_source(tmp_path / "absent.parquet")
    for columns in ({"path": pa.array([], pa.string())}, {"image": pa.array([], pa.binary())}):
        with pytest.raises(EmptySourceError):
            open_source(write(tmp_path / "m.parquet", columns))


def test_without_pyarrow(tmp_path, monkeypatch):
    path = write(tmp_path / "m.parquet", {"path": ["a"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'embedkit\[parquet\]'"):
        open_source(path)


def test_a_label_column_of_lists_is_several_classes_an_image(tmp_path):
    labels = [["dog", "photo"], [], None, ["a|b"]]
    path = write(tmp_path / "m.parquet", {"path": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], "label": labels})
    source = open_source(path)
    assert source.label_classes == ["a|b", "dog", "photo"]
    assert source.labels.tolist() == [[False, True, True], [False] * 3, [False] * 3, [True, False, False]]
