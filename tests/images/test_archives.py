from __future__ import annotations

import dataclasses
import io
import json
import os
import random
import re
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from embedkit.errors import EmptySourceError, ManifestError, SourceError, SourceNotFoundError, UnreadableImageError
from embedkit.images import StatMemo, digest_bytes, open_source, read_bytes
from embedkit.images.archives import list_archive


def tar(path, members, **options) -> str:
    with tarfile.open(path, "w", **options) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return str(path)


def zipped(path, members, compression=zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return str(path)


SAMPLES = {
    "s/001.jpg": b"one",
    "s/001.cls": b"3\n",
    "s/001.json": json.dumps({"age": 7, "who": "Ann", "split": "train", "tags": ["x"]}).encode(),
    "s/001.txt": b"a dog",
    "s/002.png": b"two",
    "s/002.cls": b"12",
    "s/002.json": json.dumps({"age": 8, "who": None, "split": "test", "deep": {"a": 1}}).encode(),
}


@pytest.mark.parametrize("make", [tar, zipped])
def test_webdataset_layout(tmp_path, make):
    path = make(tmp_path / f"a.{'tar' if make is tar else 'zip'}", SAMPLES)
    source = open_source(path)
    name = path.rsplit("/", 1)[1]
    assert source.name == path
    assert source.keys == [f"{name}/s/001.jpg", f"{name}/s/002.png"]
    assert [read_bytes(ref) for ref in source.images] == [b"one", b"two"]
    assert source.labels == ["3", "12"]
    assert source.split == ["train", "test"]
    assert source.columns["age"].tolist() == [7, 8]
    assert source.columns["who"] == ["Ann", ""]
    assert source.columns["txt"] == ["a dog", ""]
    assert source.columns["tags"] == ['["x"]', ""]
    assert source.columns["deep"] == ["", '{"a": 1}']
    assert source.failures == []
    other = open_source(path, label_column="who")
    assert other.labels == ["Ann", ""]
    assert other.columns["cls"].tolist() == [3, 12]
    assert open_source(path, label_column="txt").label_classes == ["a dog"]


def test_label_in_the_json(tmp_path):
    path = tar(
        tmp_path / "a.tar", {"1.jpg": b"1", "1.json": b'{"label": 0.5}', "2.jpg": b"2", "2.json": b'{"label": 2}'}
    )
    assert open_source(path).labels.tolist() == [0.5, 2.0]


@pytest.mark.parametrize("make", [tar, zipped])
def test_folders_inside_are_classes(tmp_path, make):
    path = make(
        tmp_path / f"a.{'tar' if make is tar else 'zip'}", {"dog/1.jpg": b"1", "cat/2.jpg": b"2", "cat/x.md": b""}
    )
    assert open_source(path).labels == ["dog", "cat"]
    path = make(tmp_path / f"b.{'tar' if make is tar else 'zip'}", {"train/dog/1.jpg": b"1", "test/cat/2.jpg": b"2"})
    assert open_source(path).labels == ["dog", "cat"]
    assert open_source(path).split == ["train", "test"]


def test_several_images_of_a_sample_share_its_label(tmp_path):
    path = tar(
        tmp_path / "a.tar", {"1.left.jpg": b"l", "1.right.jpg": b"r", "1.cls": b"7", "2.jpg": b"x", "2.cls": b"8"}
    )
    source = open_source(path)
    assert source.keys == ["a.tar/1.left.jpg", "a.tar/1.right.jpg", "a.tar/2.jpg"]
    assert source.labels == ["7", "7", "8"]


def test_shards(tmp_path):
    for i in (10, 2, 1):
        tar(tmp_path / f"train-{i:02d}.tar", {"x.jpg": b"%d" % i, "x.cls": b"%d" % i})
    tar(tmp_path / ".hidden.tar", {"x.jpg": b"h"})
    source = open_source(tmp_path)
    assert source.keys == ["train-01.tar/x.jpg", "train-02.tar/x.jpg", "train-10.tar/x.jpg"]
    assert source.labels == ["1", "2", "10"]
    assert source.name == str(tmp_path)
    shards = [tmp_path / "train-10.tar", tmp_path / "train-01.tar"]
    assert open_source(shards).keys == ["train-10.tar/x.jpg", "train-01.tar/x.jpg"]


@pytest.mark.parametrize(
    "options", [{"format": tarfile.GNU_FORMAT}, {"format": tarfile.PAX_FORMAT}, {"format": tarfile.USTAR_FORMAT}]
)
def test_long_and_odd_names(tmp_path, options):
    names = ["d" * 90 + "/" + "n" * 90 + ".jpg", "a b.jpg"]
    if options["format"] != tarfile.USTAR_FORMAT:
        names += ["x" * 3000 + ".jpg", "naïve ☂.jpg", "caf\udce9.jpg"]
    source = open_source(
        tar(tmp_path / "a.tar", {name: name.encode("utf-8", "surrogateescape") for name in names}, **options)
    )
    assert source.keys == ["a.tar/" + name.replace("\udce9", "\\xe9") for name in names]
    assert [read_bytes(ref) for ref in source.images] == [name.encode("utf-8", "surrogateescape") for name in names]


def test_names_are_keys_and_never_paths(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"outside")
    inner = tmp_path / "deep" / "er"
    inner.mkdir(parents=True)
    members = {"../../x.jpg": b"1", f"{tmp_path}/x.jpg": b"2", "d\\..\\x.jpg": b"3", "a/../../../x.jpg": b"4"}
    before = sorted(tmp_path.rglob("*"))
    for make, name in ((tar, "a.tar"), (zipped, "a.zip")):
        source = open_source(make(inner / name, members))
        assert source.keys == [f"{name}/{member}" for member in members]
        assert [read_bytes(ref) for ref in source.images] == list(members.values())
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == [inner / "a.tar", inner / "a.zip"]


def test_what_is_no_file_or_hidden(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("dir.jpg", tarfile.DIRTYPE), ("link.jpg", tarfile.SYMTYPE), ("fifo.jpg", tarfile.FIFOTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type = kind
            entry.linkname = "/etc/passwd"
            archive.addfile(entry)
        for name in ("x/._1.jpg", "1.jpg"):
            archive.addfile(tarfile.TarInfo(name))
    source = open_source(path)
    assert source.keys == ["a.tar/link.jpg", "a.tar/fifo.jpg", "a.tar/1.jpg"]
    for ref in source.images[:2]:
        with pytest.raises(UnreadableImageError, match="^a link or a device, not a file$"):
            read_bytes(ref)


def test_a_tar_cut_short_gives_the_members_before_the_cut(tmp_path):
    members = {f"{i}.jpg": random.Random(i).randbytes(random.Random(i).randrange(1, 1500)) for i in range(8)}
    whole = Path(tar(tmp_path / "whole.tar", members)).read_bytes()
    complete = list_archive(str(tmp_path / "whole.tar")).members
    ends = [member.offset + -(-member.size // 512) * 512 for member in complete]
    cut = tmp_path / "cut.tar"
    for length in sorted({*range(700, ends[-1], 377), *ends, *(end + 100 for end in ends[:-1])}):
        cut.write_bytes(whole[:length])
        source = open_source(cut)
        expected = [f"cut.tar/{member.name}" for member in complete if member.offset + member.size <= length]
        assert source.keys == expected
        assert [read_bytes(ref) for ref in source.images] == list(members.values())[: len(expected)]
        assert source.failures == [
            ("cut.tar", f"cut short or damaged after {len(expected)} files; what follows is lost")
        ]
    cut.write_bytes(whole[: ends[-1] + 512])
    assert open_source(cut).failures == []


def test_a_manifest_names_members_behind_the_cut(tmp_path):
    whole = Path(tar(tmp_path / "a.tar", {"1.jpg": b"1", "2.jpg": b"2" * 900})).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:1800])
    (tmp_path / "m.csv").write_text("path\na.tar/1.jpg\na.tar/2.jpg\n")
    source = open_source(tmp_path / "m.csv")
    assert read_bytes(source.images[0]) == b"1"
    with pytest.raises(
        UnreadableImageError, match="^no such member of a.tar, which is cut short or damaged after 1 files"
    ):
        read_bytes(source.images[1])


def test_a_damaged_header_ends_the_listing(tmp_path):
    data = bytearray(Path(tar(tmp_path / "a.tar", {f"{i}.jpg": b"x" for i in range(4)})).read_bytes())
    data[2 * 1024 + 10] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(data)
    source = open_source(tmp_path / "a.tar")
    assert source.keys == ["a.tar/0.jpg", "a.tar/1.jpg"]
    assert len(source.failures) == 1


def test_stored_and_deflated_members(tmp_path):
    members = {"a.jpg": b"a" * 5000, "b.jpg": random.Random(0).randbytes(5000), "empty.jpg": b""}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        source = open_source(zipped(tmp_path / "a.zip", members, compression))
        assert [read_bytes(ref) for ref in source.images] == list(members.values())


def test_damaged_members_of_a_zip(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.jpg": bytes(range(256)) * 20, "b.jpg": b"b"})
    member = open_source(path).images[0]
    data = bytearray(Path(path).read_bytes())
    data[member.offset + 30 + len("a.jpg") + 20] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    source = open_source(path)
    with pytest.raises(UnreadableImageError, match="damaged|cut short"):
        read_bytes(source.images[0])
    assert read_bytes(source.images[1]) == b"b"
    data[0:4] = b"XXXX"
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UnreadableImageError, match="its place in the archive is damaged"):
        read_bytes(open_source(path).images[0])


def test_a_zip_with_a_file_without_a_name(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(Path(zipped(tmp_path / "b.zip", {"x.png": b"one", "\x7f.png": b"two"})).read_bytes())
    data = path.read_bytes().replace(b"\x7f.png", b"\x00.png")  # zipfile cuts names at a NUL
    path.write_bytes(data)
    assert open_source(path).keys == ["a.zip/x.png"]


def test_a_zip_bomb_is_unpacked_no_further_than_it_says(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.jpg": bytes(50_000_000)})
    member = open_source(path).images[0]
    small = dataclasses.replace(member, size=1000, crc=None)
    assert len(read_bytes(small)) == 1000


def test_encrypted_and_oddly_compressed_members(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.jpg": b"a"})
    data = bytearray(Path(path).read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UnreadableImageError, match="^encrypted$"):
        read_bytes(open_source(path).images[0])
    path = zipped(tmp_path / "b.zip", {"a.jpg": b"a"}, zipfile.ZIP_LZMA)
    with pytest.raises(UnreadableImageError, match="^compressed by method 14, expected deflate$"):
        read_bytes(open_source(path).images[0])


def test_what_is_no_archive(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"absent.tar: No such file .*, expected a tar or zip archive"):
        open_source(tmp_path / "absent.tar")
    for name in ("a.tar", "a.zip"):
        (tmp_path / name).write_bytes(b"hello world" * 100)
        with pytest.raises(SourceError, match="not a (tar|zip) archive"):
            open_source(tmp_path / name)
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz"):
        pass
    with pytest.raises(SourceError, match="compressed tar .* unpack it"):
        open_source(tmp_path / "b.tar.gz")
    whole = Path(zipped(tmp_path / "c.zip", {"a.jpg": b"a" * 100})).read_bytes()
    (tmp_path / "c.zip").write_bytes(whole[:-30])
    with pytest.raises(SourceError, match="cut short .* copy or download it again$"):
        open_source(tmp_path / "c.zip")


def test_no_images(tmp_path):
    with pytest.raises(EmptySourceError):
        open_source(tar(tmp_path / "a.tar", {"a.txt": b""}))
    with pytest.raises(EmptySourceError):
        open_source(tar(tmp_path / "a.tar", {}))


def reasons(source) -> dict[str, str]:
    """Why images cannot be read, by key; the others are read."""
    found = {}
    for key, ref in zip(source.keys, source.images, strict=True):
        try:
            read_bytes(ref)
        except UnreadableImageError as error:
            found[key] = str(error)
    return found


DAMAGED = [
    ("json", b'{"a":', "Expecting value"),
    ("json", b"[1]", "not a JSON object"),
    ("json", b"", "Expecting value"),
    ("json", b"\xff", "not UTF-8"),
    ("json", b"[" * 100_000, "recursion"),
    ("json", b'{"a": "\\ud800"}', "not UTF-8"),
    ("json", b'{"\\u0000": 1}', "it holds a NUL"),
    ("cls", b"\xff\xfe1", "not UTF-8"),
    ("cls", b"\0\0", "it holds a NUL"),
]


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize(("extension", "data", "reason"), DAMAGED)
def test_a_damaged_sidecar_costs_its_own_images_only(tmp_path, make, extension, data, reason):
    members = {f"{i}.{kind}": f"{i % 2}".encode() for i in range(4) for kind in ("jpg", "cls")}
    path = make(tmp_path / f"a.{'tar' if make is tar else 'zip'}", {**members, f"2.{extension}": data})
    name = path.rsplit("/", 1)[1]
    source = open_source(path)
    assert source.keys == [f"{name}/{i}.jpg" for i in range(4)]
    failed = reasons(source)
    assert list(failed) == [f"{name}/2.jpg"]
    assert re.search(f"^its '2.{extension}' cannot be read: .*{reason}", failed[f"{name}/2.jpg"])
    assert [source.labels[row] for row in (0, 1, 3)] == ["0", "1", "1"]
    assert source.failures == []


def test_a_damaged_sidecar_leaves_other_shards_alone(tmp_path):
    for number in range(3):
        tar(tmp_path / f"{number}.tar", {"a.jpg": b"a", "a.cls": b"1", "b.jpg": b"b", "b.cls": b"\xff" * (number == 1)})
    source = open_source(tmp_path)
    assert len(source) == 6
    assert list(reasons(source)) == ["1.tar/b.jpg"]


def test_a_sidecar_of_no_image_may_be_anything(tmp_path):
    path = tar(tmp_path / "a.tar", {"annotations.json": b"[1, 2]", "1.jpg": b"1"})
    assert reasons(open_source(path)) == {}


def test_a_sidecar_that_is_a_link_is_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("1.jpg", "2.jpg"):
            archive.addfile(tarfile.TarInfo(name))
        entry = tarfile.TarInfo("1.cls")
        entry.type = tarfile.SYMTYPE
        entry.linkname = "2.cls"
        archive.addfile(entry)
    reason = "its '1.cls' cannot be read: a link or a device, not a file"
    assert reasons(open_source(tmp_path / "a.tar")) == {"a.tar/1.jpg": reason}


def test_an_image_whose_label_lies_behind_the_cut(tmp_path):
    members = {f"{i}.{kind}": b"%d" % i for i in range(3) for kind in ("jpg", "cls")}
    whole = Path(tar(tmp_path / "a.tar", members)).read_bytes()
    for kept, failed in ((10, ["a.tar/2.jpg"]), (9, []), (8, []), (2, [])):
        (tmp_path / "a.tar").write_bytes(whole[: kept * 512])
        source = open_source(tmp_path / "a.tar")
        assert list(reasons(source)) == failed
        assert len(source.failures) == 1
    (tmp_path / "a.tar").write_bytes(whole[: 10 * 512])
    reason = "its label is not there: a.tar is cut short"
    assert reasons(open_source(tmp_path / "a.tar")) == {"a.tar/2.jpg": reason}
    tar(tmp_path / "b.tar", {"x.jpg": b"x", "y.jpg": b"y", "y.cls": b"1"})  # not cut: x has no label, and that is all
    source = open_source(tmp_path)
    assert source.labels == ["0", "1", "", "", "1"]
    assert list(reasons(source)) == ["a.tar/2.jpg"]


def test_a_name_that_holds_a_nul(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a.jpg", "b\0c.jpg"):
            entry = tarfile.TarInfo("member")
            entry.pax_headers = {"path": name}
            archive.addfile(entry)
    assert open_source(tmp_path / "a.tar").keys == ["a.tar/a.jpg", "a.tar/b\\0c.jpg"]


def twice(path, kind, name) -> str:
    """Write an archive of four samples, and one of its members once more, with other bytes."""
    members = [(f"{i}.{ending}", b"%d" % i) for i in range(4) for ending in ("jpg", "cls")] + [(name, b"7")]
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it says so, and does it
            for member, data in members:
                archive.writestr(member, data)
        return str(path)
    with tarfile.open(path, "w") as archive:
        for member, data in members:
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return str(path)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_files_of_one_name_are_one_row_that_cannot_be_read(tmp_path, kind):
    archive = f"a.{kind}"
    twice(tmp_path / archive, kind, "2.jpg")
    source = open_source(tmp_path / archive)
    assert source.keys == [f"{archive}/{i}.jpg" for i in range(4)]
    assert source.labels == ["0", "1", "2", "3"]
    assert reasons(source) == {f"{archive}/2.jpg": "2 files in the archive have its name"}
    (tmp_path / "m.csv").write_text(f"path\n{archive}/1.jpg\n{archive}/2.jpg\n")
    assert reasons(open_source(tmp_path / "m.csv")) == {f"{archive}/2.jpg": "2 files in the archive have its name"}
    twice(tmp_path / archive, kind, "2.cls")
    reason = "its '2.cls' cannot be read: 2 files in the archive have its name"
    assert reasons(open_source(tmp_path / archive)) == {f"{archive}/2.jpg": reason}
    twice(tmp_path / archive, kind, "2.npy")
    assert reasons(open_source(tmp_path / archive)) == {}


def test_no_memo_knows_an_image_whose_sidecar_is_damaged(tmp_path):
    members = {"1.jpg": b"1", "2.jpg": b"2", "2.cls": b"\xff"}
    source = open_source(tar(tmp_path / "a.tar", members))
    os.utime(tmp_path / "a.tar", (0, 0))
    whole = list_archive(str(tmp_path / "a.tar")).members
    memo = StatMemo(tmp_path / "memo.npy")
    memo._opened_ns += 10**12  # as if the archive had been there for long
    for member in whole:
        memo.record(member, os.stat(tmp_path / "a.tar"), digest_bytes(read_bytes(member)))
    memo.save()
    assert memo.lookup(source.images)[1].tolist() == [True, False]


def test_archives_of_one_name_that_hold_the_same_are_refused(tmp_path):
    paths = []
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        paths.append(tar(tmp_path / folder / "b.tar", {"a.jpg": b""}))
    with pytest.raises(ManifestError, match="'b.tar/a.jpg' more than once"):
        open_source(paths)


@pytest.mark.parametrize("make", [tar, zipped])
@pytest.mark.parametrize("backwards", [False, True])
def test_which_image_a_sidecar_speaks_of(tmp_path, make, backwards):
    def opened(members, **options):
        items = list(members.items())
        name = f"a.{'tar' if make is tar else 'zip'}"
        source = open_source(make(tmp_path / name, dict(items[::-1] if backwards else items)), **options)
        labels = source.labels or [""] * len(source)
        found = {key.partition("/")[2]: label for key, label in zip(source.keys, labels, strict=True)}
        return found, source.passed_over, source.notes

    stems = {"a.b.jpg": b"", "a.b.json": b'{"label": "x"}', "a.c.jpg": b"", "a.c.json": b'{"label": "y"}'}
    assert opened(stems)[0] == {"a.b.jpg": "x", "a.c.jpg": "y"}
    masks = {f"{i}.{kind}": b"%d" % i for i in range(3) for kind in ("jpg", "seg.png", "cls")}
    found, passed_over, notes = opened(masks)
    assert found == {f"{i}.jpg": str(i) for i in range(3)}
    assert passed_over == {"another image of a sample: .seg.png": 3}
    assert "3 samples hold several images (jpg 3, seg.png 3)" in notes[0]
    found, passed_over, notes = opened(masks, image_column="seg.png")
    assert found == {f"{i}.seg.png": str(i) for i in range(3)}
    assert passed_over == {"another image of a sample": 3}
    found, _, notes = opened({"1.left.jpg": b"l", "1.right.jpg": b"r", "1.cls": b"7"})
    assert found == {"1.left.jpg": "7", "1.right.jpg": "7"}
    assert "all are rows" in notes[0]
    orphans = {"1.jpg": b"", "1.cls": b"1", "2.cls": b"2", "x.json": b"{}", "1.meta.json": b'{"cls": "9"}'}
    assert opened(orphans)[:2] == ({"1.jpg": "1"}, {"no image: .cls": 1, "no image: .json": 2})


@pytest.mark.parametrize("make", [tar, zipped])
def test_sidecars_that_disagree_are_no_label(tmp_path, make):
    members = {
        "1.jpg": b"1",
        "1.cls": b"3",
        "1.json": b'{"cls": 4}',
        "2.jpg": b"2",
        "2.cls": b"3",
        "2.json": b'{"cls": 3}',
    }
    source = open_source(make(tmp_path / f"a.{'tar' if make is tar else 'zip'}", members))
    assert len(reasons(source)) == 1
    (reason,) = reasons(source).values()
    assert "another sidecar says something else of 'cls'" in reason


def test_splits_in_the_names_of_archives_and_folders_of_their_names(tmp_path):
    for name in ("train-000", "train-001", "val-000"):
        tar(tmp_path / f"{name}.tar", {"1.jpg": b"", "1.cls": b"1"})
    assert open_source(tmp_path).split == ["train", "train", "val"]
    (tmp_path / "x").mkdir()
    for name in ("a", "b"):
        zipped(tmp_path / "x" / f"{name}.zip", {f"{name}/dog/1.jpg": b"", f"{name}/cat/1.jpg": b""})
    source = open_source(tmp_path / "x")
    assert source.labels == ["dog", "cat"] * 2
    assert source.split is None
    tar(
        tmp_path / "w.tar",
        {f"{split}/{i}.{kind}": b"1" for split in ("train", "test") for i in "12" for kind in ("jpg", "cls")},
    )
    source = open_source(tmp_path / "w.tar")
    assert source.split == ["train", "train", "test", "test"]
    assert source.labels == ["1"] * 4


@pytest.mark.parametrize("make", [tar, zipped])
def test_metadata_inside(tmp_path, make):
    members = {"train/1.jpg": b"", "train/metadata.csv": b"file_name,label\n1.jpg,dog\n", "test/1.jpg": b""}
    source = open_source(make(tmp_path / f"a.{'tar' if make is tar else 'zip'}", members))
    assert source.labels == ["dog", ""]
    assert source.split == ["train", "test"]
    assert source.passed_over == {}


def test_sidecars_that_are_too_large_to_be_read_are_counted(tmp_path):
    large = b'{"mask": "' + b"0" * (1 << 20) + b'"}'
    source = open_source(tar(tmp_path / "a.tar", {"1.jpg": b"1", "1.json": large, "2.jpg": b"2", "2.json": b"{}"}))
    assert len(source.keys) == 2
    assert source.passed_over == {"sidecar of more than 1 MiB": 1}
