"""Sources at URLs, through fsspec's file systems that need no network."""

from __future__ import annotations

import sys
import tarfile
import uuid

import fsspec
import pytest

from embedkit.errors import (
    EmptySourceError,
    ManifestError,
    MissingExtraError,
    SourceNotFoundError,
    UnreadableImageError,
    UsageError,
)
from embedkit.images import name_root, open_source, read_bytes, reading, remote

FILES = {
    "train/cat/a.png": b"cat a",
    "train/dog/b.JPG": b"dog b",
    "test/cat/ä c.png": b"cat c",
    "test/dog/notes.md": b"no image",
    "test/.hidden/d.png": b"hidden",
}


@pytest.fixture
def bucket(monkeypatch):
    """The URL of a folder in memory with FILES in it."""
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    files, url = fsspec.filesystem("memory"), f"memory://{uuid.uuid4().hex}"
    for name, content in FILES.items():
        files.pipe(f"{url}/{name}", content)
    name_root(url)  # data may name no memory
    yield url
    files.rm(url, recursive=True)


def write(url: str, content: bytes) -> str:
    with fsspec.open(url, "wb") as file:
        file.write(content)
    return url


def test_a_folder_in_memory_is_like_one_on_disk(bucket, tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    local = open_source(tmp_path)
    for there in (open_source(bucket), open_source(bucket + "/"), open_source(tmp_path.as_uri())):
        assert there.keys == local.keys == ["test/cat/ä c.png", "train/cat/a.png", "train/dog/b.JPG"]
        assert (there.labels, there.split) == (local.labels, local.split)
        assert [read_bytes(ref) for ref in there.images] == [b"cat c", b"cat a", b"dog b"]
    assert open_source(bucket).name == bucket


def test_one_image(bucket):
    source = open_source(f"{bucket}/train/cat/a.png")
    assert source.keys == ["a.png"]
    assert read_bytes(source.images[0]) == b"cat a"


def test_a_list_may_mix_urls_and_paths(bucket, tmp_path):
    (tmp_path / "x.png").write_bytes(b"x")
    urls = [f"{bucket}/train/cat/a.png", "x.png"]
    source = open_source(urls, root=tmp_path)
    assert source.keys == urls
    assert [read_bytes(ref) for ref in source.images] == [b"cat a", b"x"]


def test_manifests_there_and_here(bucket, tmp_path):
    there = write(f"{bucket}/split.csv", b"path,label\ntrain/cat/a.png,cat\ntrain/dog/b.JPG,dog\n")
    (tmp_path / "split.csv").write_text(f"path,label\n{bucket}/train/cat/a.png,cat\n{bucket}/train/dog/b.JPG,dog\n")
    for source in (open_source(there), open_source(tmp_path / "split.csv")):
        assert source.labels == ["cat", "dog"]
        assert [read_bytes(ref) for ref in source.images] == [b"cat a", b"dog b"]
    moved = open_source(there, root=f"{bucket}/elsewhere")
    assert moved.images == [f"{bucket}/elsewhere/train/cat/a.png", f"{bucket}/elsewhere/train/dog/b.JPG"]
    with pytest.raises(ManifestError, match="split.csv, line 1: not UTF-8"):
        open_source(write(f"{bucket}/split.csv", "path,label\nä,x\n".encode("utf-16")))


def test_what_cannot_be_opened(bucket):
    with pytest.raises(SourceNotFoundError, match="nothing: nothing there, expected a folder"):
        open_source(f"{bucket}/nothing")
    with pytest.raises(SourceNotFoundError, match=r"gone.csv: cannot be read: FileNotFoundError"):
        open_source(f"{bucket}/gone.csv")
    with pytest.raises(EmptySourceError, match="test/dog: no image in it"):
        open_source(f"{bucket}/test/dog")
    with pytest.raises(ManifestError, match="a folder has no column 'label'"):
        open_source(bucket, label_column="label")
    with pytest.raises(UsageError, match="nowhere://bucket: cannot be read: ValueError.* expected a URL"):
        open_source("nowhere://bucket")


def test_a_protocol_whose_package_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    names = ("photos", "a.png", "split.csv", "a.tar", "{0..9}.zip", "*.tar", "a.parquet")
    for target in (*(f"s3://bucket/{name}" for name in names), ["s3://bucket/a.png"]):
        with pytest.raises(MissingExtraError, match="reading s3:// needs one more package: .*s3fs"):
            open_source(target)


def test_without_fsspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"needs fsspec; pip install 'embedkit\[remote\]'"):
        open_source("memory://photos")


def test_reasons_of_unreadable_images(bucket, monkeypatch):
    with pytest.raises(UnreadableImageError, match="^no such file$"):
        read_bytes(f"{bucket}/gone.png")
    files = fsspec.filesystem("memory")
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 4)
    with pytest.raises(UnreadableImageError, match="more than"):
        read_bytes(f"{bucket}/train/cat/a.png")

    def broken(*arguments: object, **options: object) -> bytes:
        raise RuntimeError("the service\nsays no")

    monkeypatch.setattr(type(files), "cat_file", broken)
    with pytest.raises(UnreadableImageError, match="^cannot be read: RuntimeError: the service says no$"):
        read_bytes(f"{bucket}/train/cat/a.png")


@pytest.mark.parametrize(("method", "target"), [("find", ""), ("cat_file", "/split.csv"), ("glob", "/*.tar")])
def test_errors_that_pass_and_errors_that_last(bucket, monkeypatch, method, target):
    write(f"{bucket}/split.csv", b"path\ntrain/cat/a.png\n")
    with fsspec.open(f"{bucket}/a.tar", "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x.png"))
    kind, failures = type(fsspec.filesystem("memory")), [ConnectionError("reset")] * 2
    working = getattr(kind, method)

    def shaky(self, *arguments, **options):
        if failures:
            raise failures.pop()
        return working(self, *arguments, **options)

    monkeypatch.setattr(kind, method, shaky)
    assert len(open_source(bucket + target)) > 0
    failures += [ConnectionError("reset")] * 3
    with pytest.raises(SourceNotFoundError, match=r"cannot be (read|listed): ConnectionError: reset"):
        open_source(bucket + target)
    assert not failures
