from __future__ import annotations

import errno
import os
import sys

import numpy as np
import pytest

from embedkit.errors import UnreadableImageError
from embedkit.images import ArchiveMember, is_encoded, read_bytes, read_with_status, reading


def reason(ref) -> str:
    with pytest.raises(UnreadableImageError) as raised:
        read_bytes(ref)
    return str(raised.value)


def test_files_and_bytes(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"abc")
    assert read_bytes(str(path)) == b"abc"
    assert read_bytes(b"abc") == b"abc"
    path.write_bytes(b"")
    assert read_bytes(str(path)) == b""


def test_the_status_is_of_the_file_that_was_read(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"abc")
    (tmp_path / "link.jpg").symlink_to(path)
    for name in ("a.jpg", "link.jpg"):
        data, status = read_with_status(str(tmp_path / name))
        assert (data, status) == (b"abc", os.stat(path))
    member = ArchiveMember(str(path), "member", offset=1, stored=2, size=2)
    assert read_with_status(member) == (b"bc", os.stat(path))
    assert read_with_status(b"abc") == (b"abc", None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files that do not say how much they hold")
def test_files_that_do_not_say_how_much_they_hold_are_read_to_their_end():
    assert os.stat("/proc/self/limits").st_size == 0
    assert len(read_bytes("/proc/self/limits")) > 1000


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(tmp_path, monkeypatch):
    path, read = tmp_path / "a.jpg", os.read
    path.write_bytes(b"abc")

    def late(descriptor, size):
        with path.open("ab") as file:
            file.write(b"defgh")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", late)
    assert read_bytes(str(path)) == b"abcdefgh"


def test_a_read_that_gives_less_than_was_asked_for_is_gone_on_with(tmp_path, monkeypatch):
    path, read = tmp_path / "a.jpg", os.read
    path.write_bytes(b"abcdefgh")
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, 3))
    assert read_bytes(str(path)) == b"abcdefgh"


def test_reasons(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    assert reason(str(tmp_path / "absent.jpg")) == "no such file"
    assert reason(str(tmp_path / "file" / "a.jpg")) == "no such file: a parent of it is not a folder"
    assert reason(str(tmp_path)) == "a folder, not a file"
    assert reason("a\x00b") == "no such file: its name holds a NUL"
    assert reason(str(loop)) == f"cannot be read: {os.strerror(errno.ELOOP)}"
    assert reason("x" * 5000) == f"cannot be read: {os.strerror(errno.ENAMETOOLONG)}"


def test_permission(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", "/secret/path")

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    assert reason(str(tmp_path / "a.jpg")) == "permission denied"


def test_an_error_of_the_disk(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error", "/some/path")

    monkeypatch.setattr(os, "open", fail)
    assert reason(str(tmp_path / "a.jpg")) == "cannot be read: Input/output error"


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system")
def test_a_named_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert reason(str(tmp_path / "a.jpg")) == "not a regular file"


def test_very_large_files_are_not_read(tmp_path):
    path = tmp_path / "a.jpg"
    with open(path, "wb") as file:
        file.truncate(3 << 30)  # sparse
    assert reason(str(path)) == "3.0 GiB, more than the 1 GiB that are read"
    assert reason(ArchiveMember(str(path), "m", 0, 2 << 30, 2 << 30)) == "2.0 GiB, more than the 1 GiB that are read"


def test_members(tmp_path):
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"..abc..")
    assert read_bytes(ArchiveMember(str(archive), "m", 2, 3, 3)) == b"abc"
    assert reason(ArchiveMember(str(archive), "m", 2, 9, 9)) == "5 of 9 bytes: the archive is cut short or was changed"
    assert reason(ArchiveMember(str(archive), "m", problem="encrypted")) == "encrypted"
    assert reason(ArchiveMember(str(tmp_path / "absent.tar"), "m", 2, 3, 3)) == "no such file"
    assert reason(ArchiveMember(str(archive), "m", 2, 3, 3, crc=1)).startswith("its checksum does not match")
    archive.write_bytes(b"\xff" * 7)  # a block of a type that deflate does not have
    assert reason(ArchiveMember(str(archive), "m", 2, 3, 9, deflated=True)) == "its compressed bytes are damaged"


def test_what_is_encoded(photo):
    assert [is_encoded(ref) for ref in ("a", b"a", ArchiveMember("a", "b"), photo, np.zeros((2, 2)))] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_what_counts_as_an_image(tmp_path, photo):
    assert reading.as_ref(tmp_path) == str(tmp_path)
    assert type(reading.as_ref(np.str_("a.jpg"))) is str
    assert reading.as_ref(bytearray(b"ab")) == b"ab"
    assert reading.as_ref(memoryview(b"ab")) == b"ab"
    assert reading.as_ref({"bytes": b"ab", "path": "x.jpg"}) == b"ab"
    assert reading.as_ref({"bytes": None, "path": "x.jpg"}) == "x.jpg"
    assert reading.as_ref({"bytes": None, "path": None}) is None
    assert reading.as_ref(photo) is photo
    for other in (None, 1, 1.5, ["a"], {"path": "x"}, object()):
        assert reading.as_ref(other) is None
