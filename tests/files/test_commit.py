from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import DamagedPartError, StoreWriteError
from embedkit.files.commit import TRAILER, Disk, check_trailer, commit_bytes, commit_to, seal


def name_of(length: int, digest: str) -> str:
    return f"x.{length}.{digest}"


class LoggingDisk(Disk):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattribute__(self, name: str):
        if not name.startswith("_") and name != "calls":
            self.calls.append(name)
        return super().__getattribute__(name)


def test_the_name_and_the_trailer_say_what_the_bytes_are(tmp_path: Path) -> None:
    content = [b"abc", memoryview(np.arange(6, dtype=np.float32).reshape(2, 3)), b"", bytearray(b"z" * 100)]
    path = commit_bytes(tmp_path, name_of, content)
    data = path.read_bytes()
    body = b"abc" + np.arange(6, dtype=np.float32).tobytes() + b"z" * 100
    assert data == body + b"EMBEDKIT" + len(body).to_bytes(8, "little") + hashlib.sha256(body).digest()
    assert path.name == name_of(len(data), hashlib.sha256(data).hexdigest())
    assert data == seal(body)
    assert len(data) - len(body) == TRAILER.size == 48


def test_without_a_trailer_the_file_is_its_content(tmp_path: Path) -> None:
    assert commit_bytes(tmp_path, name_of, [b"ab", b"c"], sealed=False).read_bytes() == b"abc"


def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_return(tmp_path: Path) -> None:
    disk = LoggingDisk()
    commit_bytes(tmp_path, name_of, [b"abc"], disk=disk)
    assert disk.calls == ["create", "write", "write", "sync", "rename", "sync_folder"]


def test_short_writes_are_continued(tmp_path: Path) -> None:
    class OneByte(Disk):
        def write(self, descriptor: int, data: memoryview) -> int:
            return super().write(descriptor, data[:1])

    assert commit_bytes(tmp_path, name_of, [b"abc" * 50], disk=OneByte()).read_bytes() == seal(b"abc" * 50)


def test_a_disk_that_takes_nothing_is_an_error_and_no_endless_loop(tmp_path: Path) -> None:
    class Nothing(Disk):
        def write(self, descriptor: int, data: memoryview) -> int:
            return 0

    with pytest.raises(StoreWriteError, match="accepts no more"):
        commit_bytes(tmp_path, name_of, [b"abc"], disk=Nothing())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["create", "write", "sync", "rename"])
@pytest.mark.parametrize(
    ("error", "advice"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "writable"), (errno.EIO, "check the disk")]
)
def test_a_failing_call_leaves_nothing_and_says_why(tmp_path: Path, call: str, error: int, advice: str) -> None:
    class Failing(Disk):
        pass

    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    disk = Failing()
    setattr(disk, call, fail)
    with pytest.raises(StoreWriteError, match=advice) as caught:
        commit_bytes(tmp_path, name_of, [b"abc"], disk=disk)
    assert caught.value.errno == error
    assert os.strerror(error) in str(caught.value)
    assert "intact" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_removal_hides_no_first_reason(tmp_path: Path) -> None:
    class Failing(Disk):
        def write(self, descriptor: int, data: memoryview) -> int:
            raise OSError(errno.ENOSPC, "no space")

        def remove(self, path: Path, at: int | None = None) -> None:
            raise OSError(errno.EIO, "no removal")

    with pytest.raises(StoreWriteError, match="no space"):
        commit_bytes(tmp_path, name_of, [b"abc"], disk=Failing())


def test_an_interrupt_leaves_no_temporary(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"abc"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        commit_bytes(tmp_path, name_of, chunks())
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_content_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"abc"
        raise DamagedPartError("the source is damaged")

    with pytest.raises(DamagedPartError):
        commit_bytes(tmp_path, name_of, chunks())
    with pytest.raises(DamagedPartError):
        commit_to(tmp_path / "file", chunks())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_a_write_error(tmp_path: Path) -> None:
    with pytest.raises(StoreWriteError, match="must exist"):
        commit_bytes(tmp_path / "gone", name_of, [b"abc"])


def test_a_named_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    commit_to(path, [b"one"])
    commit_to(path, [b"two"], sealed=False)
    assert path.read_bytes() == b"two"

    class Full(Disk):
        def sync(self, descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(StoreWriteError, match="unchanged"):
        commit_to(path, [b"three"], disk=Full())
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.h5"]


@pytest.mark.parametrize("links", [True, False], ids=["with hard links", "without hard links"])
def test_a_taken_name_can_be_respected(tmp_path: Path, links: bool) -> None:
    class Linkless(Disk):
        def link(self, source: Path, target: Path, at: int | None = None) -> None:
            raise OSError(errno.EPERM, "no hard links here")

    disk = Disk() if links else Linkless()
    path = tmp_path / "file.h5"
    commit_to(path, [b"one"], overwrite=False, disk=disk)
    with pytest.raises(FileExistsError):
        commit_to(path, [b"two"], overwrite=False, disk=disk)
    assert path.read_bytes() == seal(b"one")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.h5"]


def test_a_name_taken_while_writing_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"

    def chunks() -> Iterator[bytes]:
        yield b"mine"
        path.write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        commit_to(path, chunks(), overwrite=False)
    assert path.read_bytes() == b"theirs"


def test_every_changed_byte_and_every_cut_is_found_by_the_trailer() -> None:
    sealed = seal(b"some content" * 3)
    assert check_trailer(io.BytesIO(sealed)) is None
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        assert check_trailer(io.BytesIO(changed)) is not None
        assert check_trailer(io.BytesIO(sealed[:position])) is not None
    assert "no trailer" in str(check_trailer(io.BytesIO(sealed + b"x" * 60)))
    assert "SHA-256" in str(check_trailer(io.BytesIO(b"X" + sealed[1:])))
