"""Tar and zip archives at URLs: read where they are, by ranges, as if they were local."""

from __future__ import annotations

import io
import random
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embedkit.errors import EmptySourceError, SourceError, SourceNotFoundError, UsageError
from embedkit.errors import UnreadableImageError as Unreadable
from embedkit.images import open_source, read_bytes, remote, remote_file
from tests.bucket import Bucket, new_bucket

FILES = Bucket()

SAMPLES = {
    "../../x.jpg": b"outside",
    "s/001.jpg": b"one",
    "s/001.cls": b"3\n",
    "s/001.json": b'{"age": 7, "split": "train"}',
    "s/002.tar.png": b"two",
    "s/002.cls": b"12",
    "naive \xe4.jpg": b"",
    ".hidden.jpg": b"hidden",
}


@pytest.fixture
def url(monkeypatch):
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    return new_bucket()


def archive(kind, members) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, data in members.items():
                zipped.writestr(name, data)
    else:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, data in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def photos(count, size, seed=0):
    rng = random.Random(seed)
    return {f"{number:04d}.jpg": rng.randbytes(rng.randrange(size // 2, size)) for number in range(count)}


def assert_same(remote_source, local_source):
    assert remote_source.keys == local_source.keys
    assert remote_source.labels == local_source.labels
    assert remote_source.split == local_source.split
    assert remote_source.failures == local_source.failures
    np.testing.assert_equal(remote_source.columns, local_source.columns)
    for there, here in zip(remote_source.images, local_source.images, strict=True):
        assert read_bytes(there) == read_bytes(here)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_there_is_like_one_here(url, tmp_path, kind):
    data = archive(kind, SAMPLES)
    (tmp_path / f"a.{kind}").write_bytes(data)
    FILES.pipe(f"{url}/a.{kind}", data)
    local = open_source(tmp_path / f"a.{kind}")
    assert local.keys[0] == f"a.{kind}/../../x.jpg"
    for target in (f"{url}/a.{kind}", (tmp_path / f"a.{kind}").as_uri()):
        assert_same(open_source(target), local)
        assert open_source(target).name == target
    assert open_source(f"{url}/a.{kind}", label_column="split").labels == ["", "train", "", ""]


def test_wherever_a_list_of_shards_is_taken(url, tmp_path):
    for number in (8, 9, 10):
        data = archive("tar", {"x.jpg": b"%d" % number, "x.cls": b"%d" % number})
        (tmp_path / f"train-{number:02d}.tar").write_bytes(data)
        FILES.pipe(f"{url}/train-{number:02d}.tar", data)
    FILES.pipe(f"{url}/deeper/train-11.tar", b"not looked at")
    local = open_source(tmp_path)
    assert local.keys == ["train-08.tar/x.jpg", "train-09.tar/x.jpg", "train-10.tar/x.jpg"]
    for folder in (url, str(tmp_path)):
        for target in (
            folder,
            f"{folder}/train-{{08..10}}.tar",
            f"{folder}/train-{{08,09,10}}.tar",
            f"{folder}/t*-*.tar",
            [f"{folder}/train-08.tar", f"{folder}/train-{{09..10}}.tar"],
        ):
            source = open_source(target)
            assert_same(source, local)
            assert source.name == folder
        assert open_source(f"{folder}/train-{{10..08}}.tar").labels == ["10", "9", "8"]
        with pytest.raises(SourceNotFoundError, match=r"test-\*.tar: nothing matches, expected at least one file"):
            open_source(f"{folder}/test-*.tar")
        with pytest.raises(SourceNotFoundError, match=r"train-11.tar: [Nn]o such file"):
            open_source(f"{folder}/train-{{08..11}}.tar")
    (tmp_path / "{1,2}.tar").write_bytes((tmp_path / "train-08.tar").read_bytes())
    assert open_source(tmp_path / "{1,2}.tar").keys == ["{1,2}.tar/x.jpg"]
    with pytest.raises(UsageError, match=r"\* in place of a bucket"):
        open_source("bucket://*/a.tar")


def test_threads_share_requests(url, monkeypatch):
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 1 << 14)
    members = photos(200, 1 << 11) | {"large.jpg": random.Random(1).randbytes(3 << 14)}
    data = archive("tar", members)
    FILES.pipe(f"{url}/a.tar", data)
    source = open_source(f"{url}/a.tar")
    Bucket.requests.clear()
    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(read_bytes, source.images)) == list(members.values())
    blocks = -(-len(data) // (1 << 14))
    assert len(Bucket.requests) <= blocks + 4  # far fewer than members
    assert [end - start for _, start, end in Bucket.requests].count(3 << 14) == 1


def test_a_zip_is_listed_by_its_directory_alone(url):
    FILES.pipe(f"{url}/a.zip", archive("zip", photos(30, 1 << 20)))
    assert len(open_source(f"{url}/a.zip")) == 30
    assert sum(end - start for _, start, end in Bucket.requests) <= 2 * remote_file.BLOCK_BYTES


def test_what_was_read_is_held_within_bounds(url, monkeypatch):
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 1 << 12)
    FILES.pipe(f"{url}/a.tar", archive("tar", photos(100, 1 << 12)))
    source = open_source(f"{url}/a.tar")

    def asked(row):
        Bucket.requests.clear()
        read_bytes(source.images[row])
        return len(Bucket.requests)

    assert asked(0) > 0  # listing went on to other blocks
    assert asked(0) == 0
    for row in range(1, 60):
        read_bytes(source.images[row])
    assert asked(0) > 0


def test_an_archive_that_was_replaced_is_read_anew(url):
    for content in (b"first", b"other"):
        FILES.pipe(f"{url}/a.tar", archive("tar", {"a.jpg": content}))
        assert [read_bytes(ref) for ref in open_source(f"{url}/a.tar").images] == [content]


def test_a_tar_cut_short_gives_the_members_before_the_cut(url, tmp_path):
    members = photos(6, 1500)
    whole = archive("tar", members)
    for length in range(600, len(whole) - 8192, 397):
        (tmp_path / "a.tar").write_bytes(whole[:length])
        FILES.pipe(f"{url}/a.tar", whole[:length])
        assert_same(open_source(f"{url}/a.tar"), open_source(tmp_path / "a.tar"))


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_whatever_is_wrong_with_an_archive_is_wrong_with_it_there_too(url, tmp_path, kind):
    def outcome(target):
        try:
            source = open_source(target)
        except SourceError as error:
            return type(error), str(error).replace(str(target), "")
        return source.keys, source.labels, source.failures, [read(ref) for ref in source.images]

    def read(ref):
        try:
            return read_bytes(ref)
        except Unreadable as error:
            return str(error)

    sound, rng, seen = archive(kind, SAMPLES | photos(3, 400)), random.Random(0), set()
    path = tmp_path / f"a.{kind}"
    for _ in range(150):
        data = bytearray(sound)
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(data))
            data[place : place + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        path.write_bytes(data)
        FILES.pipe(f"{url}/a.{kind}", bytes(data))
        here = outcome(path)
        assert outcome(f"{url}/a.{kind}") == here
        seen.add(str(here))
    assert len(seen) > 8


def test_what_is_no_archive(url):
    for kind in ("tar", "zip"):
        FILES.pipe(f"{url}/a.{kind}", b"hello world" * 100)
        with pytest.raises(SourceError, match=f"a.{kind}: not a {kind} archive"):
            open_source(f"{url}/a.{kind}")
        FILES.pipe(f"{url}/empty.{kind}", b"")
        with pytest.raises(SourceError, match=f"empty.{kind}: not a {kind} archive"):
            open_source(f"{url}/empty.{kind}")
        with pytest.raises(SourceNotFoundError, match=f"gone.{kind}: no such file"):
            open_source(f"{url}/gone.{kind}")
        FILES.pipe(f"{url}/none.{kind}", archive(kind, {"a.txt": b""}))
        with pytest.raises(EmptySourceError, match=f"none.{kind}: no image in it"):
            open_source(f"{url}/none.{kind}")
    with pytest.raises(SourceError, match="compressed tar .* unpack it"):
        open_source(f"{url}/a.tar.gz")
    with pytest.raises(UsageError, match="photos.npy: an .npy file is .* not read at a URL; download it first"):
        open_source(f"{url}/photos.npy")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_damaged_sidecar_costs_its_own_images_only(url, kind):
    for number in range(2):
        members = {"1.jpg": b"1", "1.json": b"{", "2.jpg": b"2", "2.json": b'{"label": "x"}', "2.cls": b"0"}
        FILES.pipe(f"{url}/{number}.{kind}", archive(kind, members))
    source = open_source(url)
    assert source.keys == [f"{number}.{kind}/{name}.jpg" for number in range(2) for name in (1, 2)]
    for number in (0, 1):
        with pytest.raises(Unreadable, match="^its '1.json' cannot be read: Expecting property name"):
            read_bytes(source.images[2 * number])
        assert read_bytes(source.images[2 * number + 1]) == b"2"


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_that_vanishes_after_it_was_listed(url, monkeypatch, kind):
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 1 << 12)
    members = photos(100, 1 << 12)
    FILES.pipe(f"{url}/a.{kind}", archive(kind, members))
    source = open_source(f"{url}/a.{kind}")
    FILES.rm(f"{url}/a.{kind}")
    with pytest.raises(Unreadable, match="^no such file$"):
        read_bytes(source.images[0])
    FILES.pipe(f"{url}/a.{kind}", archive(kind, members)[:2000])
    with pytest.raises(
        Unreadable, match="bytes: the archive is cut short or was changed|its place in the archive is damaged"
    ):
        read_bytes(source.images[3 if kind == "tar" else 1])


class NowAndThen:
    """Fails each of the first reads of some bytes, as often as told."""

    def __init__(self, times, error=None):
        self.left: dict[object, int] = {}
        self.times = times
        self.error = error or ConnectionError("reset\nby peer")
        self.lock = threading.Lock()

    def __call__(self, request):
        with self.lock:
            self.left[request] = self.left.get(request, self.times) - 1
            if self.left[request] >= 0:
                raise self.error
        return


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_errors_that_pass_are_survived(url, monkeypatch, kind):
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 1 << 12)
    members = photos(50, 1 << 13) | {"a.png": b"a", "a.cls": b"1"}
    FILES.pipe(f"{url}/a.{kind}", archive(kind, members))
    Bucket.fault = NowAndThen(2)
    source = open_source(f"{url}/a.{kind}")
    assert source.columns == {}
    assert source.labels == [""] * 50 + ["1"]
    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(read_bytes, source.images)) == [members[key.split("/")[1]] for key in source.keys]
    FILES.pipe(f"{url}/a.png", b"one image")
    assert read_bytes(f"{url}/a.png") == b"one image"


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_errors_that_last_are_told_in_one_line(url, kind):
    FILES.pipe(f"{url}/a.{kind}", archive(kind, photos(3, 1000)))
    Bucket.fault = fault = NowAndThen(10**6)
    with pytest.raises(SourceError, match=f"a.{kind}: cannot be read: ConnectionError: reset by peer; try again"):
        open_source(f"{url}/a.{kind}")
    assert list(fault.left.values()) == [10**6 - 3]
    Bucket.fault = NowAndThen(10**6, PermissionError("no"))
    with pytest.raises(SourceNotFoundError, match=f"a.{kind}: permission denied"):
        open_source(f"{url}/a.{kind}")
    Bucket.fault = None
    source = open_source(f"{url}/a.{kind}")
    remote_file._recent.forget(f"{url}/a.{kind}")
    for error, reason in (
        (None, "^cannot be read: ConnectionError: reset by peer$"),
        (PermissionError("no"), "^permission denied$"),
        (MemoryError(), "^not enough memory to read it$"),
    ):
        Bucket.fault = NowAndThen(10**6, error)
        with pytest.raises(Unreadable, match=reason):
            read_bytes(source.images[0])
    Bucket.fault = None
    assert len(read_bytes(source.images[0])) >= 500


def test_an_error_reaches_all_who_wait_for_a_block_and_is_not_kept(url):
    members = photos(6, 1000)
    FILES.pipe(f"{url}/a.tar", archive("tar", members))
    source = open_source(f"{url}/a.tar")
    remote_file._recent.forget(f"{url}/a.tar")
    started = threading.Barrier(6)
    Bucket.fault = NowAndThen(10**6)

    def read(ref):
        started.wait(timeout=30)
        try:
            return read_bytes(ref)
        except Unreadable as error:
            return str(error)

    with ThreadPoolExecutor(6) as executor:
        assert set(executor.map(read, source.images)) == {"cannot be read: ConnectionError: reset by peer"}
        Bucket.fault = None
        assert list(executor.map(read, source.images)) == list(members.values())


def test_an_answer_that_comes_short_is_not_kept(url):
    members = photos(6, 1000)
    FILES.pipe(f"{url}/a.tar", archive("tar", members))
    source = open_source(f"{url}/a.tar")
    remote_file._recent.forget(f"{url}/a.tar")
    Bucket.fault = lambda request: 100
    with pytest.raises(Unreadable, match="cut short or was changed"):
        read_bytes(source.images[5])
    with pytest.raises(SourceError, match=r"a.tar: cannot be read: it ends at byte 100 of 10,240; try again"):
        open_source(f"{url}/a.tar")
    Bucket.fault = None
    assert [read_bytes(ref) for ref in source.images] == list(members.values())


def test_a_server_without_ranges_is_refused(url, monkeypatch):
    data = archive("tar", photos(3, 2 << 20))
    FILES.pipe(f"{url}/a.tar", data)
    whole = Bucket.cat_file
    monkeypatch.setattr(Bucket, "cat_file", lambda self, path, start=None, end=None: whole(self, path))
    with pytest.raises(SourceError, match="a.tar: .* sends the whole file where a part .*; try again, or download it"):
        open_source(f"{url}/a.tar")


def test_a_manifest_names_members(url, tmp_path):
    FILES.pipe(f"{url}/a.tar", archive("tar", {"1.jpg": b"1", "2.jpg": b"2"}))
    FILES.pipe(f"{url}/b.zip/odd.jpg", b"a folder that is called like an archive")
    lines = "path,label\na.tar/2.jpg,x\na.tar/9.jpg,y\nb.zip/odd.jpg,z\nc.tar/1.jpg,x\n"
    FILES.pipe(f"{url}/split.csv", lines.encode())
    (tmp_path / "split.csv").write_text(lines)
    for source in (open_source(f"{url}/split.csv"), open_source(tmp_path / "split.csv", root=url)):
        assert read_bytes(source.images[0]) == b"2"
        with pytest.raises(Unreadable, match="^no such member of a.tar$"):
            read_bytes(source.images[1])
        assert read_bytes(source.images[2]) == b"a folder that is called like an archive"
        with pytest.raises(Unreadable, match="^no such file$"):
            read_bytes(source.images[3])
    Bucket.fault = lambda request: NowAndThen(10**6)(request) if request[0].endswith("a.tar") else None
    with pytest.raises(SourceError, match=r"a.tar: cannot be read: ConnectionError"):
        open_source(f"{url}/split.csv")
