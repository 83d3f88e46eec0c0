from __future__ import annotations

import os

import numpy as np
import pytest

from embedkit.errors import ManifestError
from embedkit.images import describe, open_source, read_bytes
from tests.images.test_archives import tar
from tests.images.test_folder import lay


def test_folders(tmp_path):
    for name in ("a", "b"):
        lay(tmp_path / name, "dog/1.jpg", "cat/1.jpg", "notes.txt")
    source = open_source([tmp_path / "a", tmp_path / "b"])
    assert source.name == str(tmp_path)
    assert source.keys == ["a/cat/1.jpg", "a/dog/1.jpg", "b/cat/1.jpg", "b/dog/1.jpg"]
    assert source.labels == ["cat", "dog"] * 2
    assert source.label_classes == ["cat", "dog"]
    assert source.passed_over == {"no image: .txt": 2}
    assert all(
        os.path.samefile(os.path.join(source.name, k), ref) for k, ref in zip(source.keys, source.images, strict=True)
    )
    assert open_source([tmp_path / "a"]).keys == open_source(tmp_path / "a").keys
    with pytest.raises(ManifestError, match="more than once"):
        open_source([tmp_path / "a", tmp_path / "a"])


def test_sources_that_are_named_like_splits(tmp_path):
    lay(tmp_path / "train", "dog/1.jpg", "cat/1.jpg")
    lay(tmp_path / "test_set", "dog/1.jpg", "cat/1.jpg")
    source = open_source([tmp_path / "train", tmp_path / "test_set"])
    assert source.split == ["train", "train", "test", "test"]
    (tmp_path / "train.csv").write_text("path,label,age\nx.jpg,dog,3\n")
    (tmp_path / "test.csv").write_text("path,label,size\ny.jpg,cat,0.5\n")
    source = open_source([str(tmp_path / "train.csv"), str(tmp_path / "test.csv")])
    assert source.keys == ["x.jpg", "y.jpg"]
    assert source.split == ["train", "test"]
    np.testing.assert_array_equal(source.columns["age"], [3, np.nan])
    np.testing.assert_array_equal(source.columns["size"], [np.nan, 0.5])


def test_kinds_together(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    lay(tmp_path / "f", "dog/1.jpg")
    lay(tmp_path, "one.jpg")
    tar(tmp_path / "t.tar", {"2.jpg": b"2", "2.cls": b"cat"})
    pq.write_table(pa.table({"image": [b"3"], "label": ["cow"]}), tmp_path / "p.parquet")
    source = open_source([tmp_path / "f", tmp_path / "t.tar", tmp_path / "p.parquet", tmp_path / "one.jpg"])
    assert source.keys == ["f/dog/1.jpg", "t.tar/2.jpg", "0", "one.jpg"]
    assert source.labels == ["dog", "cat", "cow", ""]
    assert [read_bytes(ref) for ref in source.images] == [b"dog/1.jpg", b"2", b"3", b"one.jpg"]
    assert read_bytes(source.images[-1]) == b"one.jpg"
    assert describe(source).unlabelled == 1
    assert any("no labels in" in note for note in source.notes)


def test_labels_of_several_kinds_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("path,label\nx.jpg,dog\n")
    (tmp_path / "b.csv").write_text("path,label\ny.jpg,0.5\n")
    with pytest.raises(ManifestError, match="labels of several kinds .*a.csv: class.*b.csv: value"):
        open_source([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert open_source([tmp_path / "a.csv", tmp_path / "b.csv"], target_type="class").labels == ["dog", "0.5"]
    source = open_source([tmp_path / "a.csv", tmp_path / "b.csv"], target_type="multilabel")
    assert source.labels.tolist() == [[False, True], [True, False]]


def test_a_list_of_images_may_have_a_layout(tmp_path):
    paths = [f"{tmp_path}/{label}/{i}.jpg" for label in ("dog", "cat") for i in range(2)]
    assert open_source(paths).labels is None
    assert open_source(paths, layout="class").labels == ["dog", "dog", "cat", "cat"]
