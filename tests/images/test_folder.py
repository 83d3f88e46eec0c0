from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from embedkit.errors import EmptySourceError, ManifestError, SourceNotFoundError, UnreadableImageError, UsageError
from embedkit.images import open_source, read_bytes


def lay(folder: Path, *names: str) -> str:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
    return str(folder)


def test_sub_folders_are_classes(tmp_path):
    source = open_source(lay(tmp_path, "dog/b.jpg", "dog/a.PNG", "cat/x.jpeg", "cat/deep/er/y.webp"))
    assert source.name == str(tmp_path)
    assert source.keys == ["cat/deep/er/y.webp", "cat/x.jpeg", "dog/a.PNG", "dog/b.jpg"]
    assert source.labels == ["cat", "cat", "dog", "dog"]
    assert source.label_classes == ["cat", "dog"]
    assert source.target_type == "class"
    assert source.split is None
    assert source.groups is None
    assert source.columns == {}
    assert source.failures == []
    assert [read_bytes(ref) for ref in source.images] == [key.encode() for key in source.keys]


def test_a_flat_folder_has_no_labels(tmp_path):
    source = open_source(Path(lay(tmp_path, "b.jpg", "a.tif", "c.bmp")))
    assert source.keys == ["a.tif", "b.jpg", "c.bmp"]
    assert source.labels is None
    assert source.label_classes == []
    assert source.target_type == "none"


@pytest.mark.parametrize("names", [("train", "test"), ("train", "val", "test"), ("Train", "validation"), ("test",)])
def test_splits_of_classes(tmp_path, names):
    source = open_source(lay(tmp_path, *(f"{split}/{label}/deep/1.jpg" for split in names for label in ("a", "b"))))
    assert source.split == [split for split in sorted(names) for _ in "ab"]
    assert source.labels == ["a", "b"] * len(names)


def test_splits_without_classes(tmp_path):
    source = open_source(lay(tmp_path, "train/1.jpg", "test/1.jpg"))
    assert source.split == ["test", "train"]
    assert source.labels is None


def test_one_folder_that_is_no_split_makes_all_of_them_classes(tmp_path):
    source = open_source(lay(tmp_path, "train/a/1.jpg", "locomotive/b/1.jpg"))
    assert source.labels == ["locomotive", "train"]
    assert source.split is None


def test_loose_images_beside_classes_leave_no_labels(tmp_path, caplog):
    folder = lay(tmp_path, "dog/b.jpg", "cat/x.jpg", "loose.jpg")
    with caplog.at_level(logging.WARNING, "embedkit"):
        assert open_source(folder).labels is None
    assert "1 of 3 images lie in no class folder" in caplog.text


def test_a_whole_split_without_class_folders_has_no_labels(tmp_path):
    source = open_source(lay(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"))
    assert source.split == ["test", "train", "train"]
    assert source.labels == ["", "a", "b"]
    assert source.notes == ["the split 'test' has no class folders: its images have no label"]


def test_what_is_left_out_and_what_is_not(tmp_path):
    source = open_source(
        lay(
            tmp_path,
            "a/.hidden.jpg",
            ".b/1.jpg",
            "a/._1.jpg",
            "a/notes.txt",
            "a/1.jpg.part",
            "a/Thumbs.db",
            "a/1.jpg",
            "a/no image.png",
        )
    )
    assert source.keys == ["a/1.jpg", "a/no image.png"]


def test_order_does_not_depend_on_the_disk(tmp_path, monkeypatch):
    folder = lay(tmp_path, *(f"{i % 7}/{i}.jpg" for i in range(40)))
    keys = open_source(folder).keys
    assert keys == sorted(keys)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            self.entries = sorted(scandir(path), key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(os, "scandir", Backwards)
    assert open_source(folder).keys == keys


def test_loops_of_links_end(tmp_path):
    lay(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "b" / "other").symlink_to("../a")
    (tmp_path / "b" / "round").symlink_to("round")
    assert open_source(tmp_path).keys == ["a/1.jpg", "b/2.jpg", "b/other/1.jpg"]


def test_links_to_folders_and_files_are_followed(tmp_path):
    lay(tmp_path / "elsewhere", "1.jpg")
    (tmp_path / "source" / "cat").mkdir(parents=True)
    (tmp_path / "source" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "source" / "cat" / "linked.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    (tmp_path / "source" / "cat" / "broken.jpg").symlink_to("nothing")
    source = open_source(tmp_path / "source")
    assert source.keys == ["cat/broken.jpg", "cat/linked.jpg", "dog/1.jpg"]
    assert read_bytes(source.images[1]) == read_bytes(source.images[2]) == b"1.jpg"
    with pytest.raises(UnreadableImageError, match="^no such file$"):
        read_bytes(source.images[0])


def test_names_that_are_not_utf8(tmp_path):
    odd = os.fsdecode(b"caf\xe9.jpg")
    source = open_source(lay(tmp_path, f"a/{odd}", "a/naïve ☂.jpg", "a/new\nline.jpg"))
    assert source.keys == ["a/caf\\xe9.jpg", "a/naïve ☂.jpg", "a/new\nline.jpg"]
    assert [read_bytes(ref)[-8:] for ref in source.images] == [b"caf\xe9.jpg", " ☂.jpg".encode(), b"line.jpg"]


def test_two_names_that_would_be_one_key(tmp_path):
    folder = lay(tmp_path, os.fsdecode(b"caf\xe9.jpg"), "caf\\xe9.jpg")
    with pytest.raises(ManifestError, match=r"'caf\\\\xe9.jpg' more than once"):
        open_source(folder)


def test_a_folder_that_cannot_be_listed_is_a_failure(tmp_path, monkeypatch):
    folder = lay(tmp_path, "a/1.jpg", "b/2.jpg")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    source = open_source(folder)
    assert source.keys == ["a/1.jpg"]
    assert source.failures == [("b", "folder cannot be listed: Permission denied")]


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(EmptySourceError, match="no image in it, expected files ending in .jpg"):
        open_source(lay(tmp_path, "a/notes.txt"))
    with pytest.raises(SourceNotFoundError, match="no such file or folder"):
        open_source(tmp_path / "absent")
    with pytest.raises(ManifestError, match="a folder has no column 'x'"):
        open_source(lay(tmp_path, "a/1.jpg"), label_column="x")


def test_very_deep_folders(tmp_path):
    deep = tmp_path
    for _ in range(150):
        deep = deep / "d"
    assert len(open_source(lay(tmp_path, str(deep.relative_to(tmp_path) / "1.jpg"))).keys) == 1


def test_metadata_beside_images(tmp_path):
    folder = lay(tmp_path, "train/1.jpg", "train/2.jpg", "test/a/3.jpg", "metadata.csv", "train/metadata.jsonl")
    (tmp_path / "metadata.csv").write_text("file_name,label,age\ntest/a/3.jpg,dog,3\ntest/gone.jpg,dog,4\n")
    (tmp_path / "train" / "metadata.jsonl").write_text('{"file_name": "./2.jpg", "label": "cat", "age": 5}\n')
    source = open_source(folder)
    assert source.keys == ["test/a/3.jpg", "train/1.jpg", "train/2.jpg"]
    assert source.labels == ["dog", "", "cat"]
    assert source.split == ["test", "train", "train"]
    assert source.columns["age"].tolist()[::2] == [3, 5]
    assert source.failures == [("test/gone.jpg", "named in metadata.csv, but there is no such image")]
    assert source.passed_over == {}
    assert "1 of 3 images are not named in metadata.csv, train/metadata.jsonl" in source.notes
    assert open_source(tmp_path / "metadata.csv").keys == ["test/a/3.jpg", "test/gone.jpg"]
    with pytest.raises(UsageError, match="the column 'label' holds them"):
        open_source(folder, layout="class")
    with pytest.raises(ManifestError, match="no column 'kind' for the labels"):
        open_source(folder, label_column="kind")


def test_metadata_is_compared_with_the_folders(tmp_path):
    folder = lay(tmp_path, "dog/1.jpg", "cat/1.jpg", "metadata.csv")
    (tmp_path / "metadata.csv").write_text("file_name,label\ndog/1.jpg,Dog\ncat/1.jpg,Cat\n")
    source = open_source(folder)
    assert source.labels == ["Cat", "Dog"]
    assert source.notes == []
    (tmp_path / "metadata.csv").write_text("file_name,label\ndog/1.jpg,x\ncat/1.jpg,x\n")
    assert "the folders say something else" in open_source(folder).notes[0]
    (tmp_path / "metadata.csv").write_text("file_name,label\ndog/1.jpg,x\ndog/1.jpg,y\n")
    with pytest.raises(ManifestError, match="line 3: 'dog/1.jpg' was named before"):
        open_source(folder)
    (tmp_path / "metadata.csv").write_text("name\nx\n")
    source = open_source(folder)
    assert source.labels == ["cat", "dog"]
    assert source.passed_over == {"no image: .csv": 1}
