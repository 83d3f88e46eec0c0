from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from embedkit.errors import DamagedPartError, StoreError, UsageError
from embedkit.files import FileIdentity, Verify
from embedkit.store import checked as checked_module
from embedkit.store.checked import CheckedFiles
from embedkit.store.layout import committed_name


class Hashing:
    """Counts how often a file is hashed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self._digest = hashlib.file_digest
        monkeypatch.setattr(checked_module.hashlib, "file_digest", self)

    def __call__(self, *arguments: object) -> object:
        self.times += 1
        return self._digest(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    return Hashing(monkeypatch)


def make_file(folder: Path, content: bytes = b"content") -> Path:
    path = folder / committed_name("part", len(content), hashlib.sha256(content).hexdigest())
    path.write_bytes(content)
    return path


def next_tick(folder: Path, after: Path) -> None:
    """Wait until the clock of the file system has moved on."""
    probe = folder / "probe"
    while True:
        probe.write_bytes(b"")
        if probe.stat().st_mtime_ns > after.stat().st_ctime_ns:
            probe.unlink()
            return
        time.sleep(0.001)


def check(folder: Path, path: Path, verify: Verify = "first") -> str | None:
    """Check a file as a new process would; return what is wrong."""
    wrong = CheckedFiles(folder, verify).check_all([path.name])
    return str(wrong[path.name]) if wrong else None


def test_first_hashes_once_for_all_processes(tmp_path: Path, hashing: Hashing) -> None:
    path = make_file(tmp_path)
    next_tick(tmp_path, path)
    for _ in range(3):
        assert check(tmp_path, path) is None
    assert hashing.times == 1


def test_always_hashes_once_in_every_process(tmp_path: Path, hashing: Hashing) -> None:
    path = make_file(tmp_path)
    next_tick(tmp_path, path)
    check(tmp_path, path)
    one = CheckedFiles(tmp_path, "always")
    one.check(path.name)
    one.check(path.name)
    assert check(tmp_path, path, "always") is None
    assert hashing.times == 3


def test_size_hashes_never_and_compares_lengths(tmp_path: Path, hashing: Hashing) -> None:
    path = make_file(tmp_path)
    path.write_bytes(b"CONTENT")
    assert check(tmp_path, path, "size") is None
    path.write_bytes(b"CONTENT!")
    assert "has 8 bytes, and its name says 7" in str(check(tmp_path, path, "size"))
    assert hashing.times == 0
    assert not (tmp_path / "checked.json").exists()


def test_deleting_or_damaging_the_memo_costs_hashing_and_nothing_else(tmp_path: Path, hashing: Hashing) -> None:
    path = make_file(tmp_path)
    next_tick(tmp_path, path)
    memo = tmp_path / "checked.json"
    for number, content in enumerate([None, b"", b"{}", b'{"checked": {"x": [1]}}', b'{"checked": 3}', b"\xff"]):
        check(tmp_path, path)
        assert hashing.times == number + 1
        if content is None:
            memo.unlink()
        else:
            memo.write_bytes(content)
    assert check(tmp_path, path) is None


def rewrite_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"CONTENT")


def rename_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"CONTENT")
    other.replace(path)


def restore_the_modification_time(path: Path) -> None:
    before = path.stat()
    rewrite_in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def copy_with_its_times(path: Path) -> None:
    before = path.stat()
    rename_over(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite_in_place, rename_over, restore_the_modification_time, copy_with_its_times])
@pytest.mark.parametrize("verify", ["first", "always"])
def test_a_change_of_equal_length_is_found(tmp_path: Path, change, verify: Verify) -> None:
    path = make_file(tmp_path)
    next_tick(tmp_path, path)
    assert check(tmp_path, path) is None
    change(path)
    for _ in range(2):
        found = check(tmp_path, path, verify)
        assert found is not None
        assert path.name in found
        assert "SHA-256" in found
        assert "repair" in found


def test_a_rewrite_within_the_tick_of_the_last_change_is_found(tmp_path: Path, monkeypatch) -> None:
    """The clock of the file system stands still: the rewritten file has the times that were remembered."""
    path = make_file(tmp_path)
    status = path.stat()
    monkeypatch.setattr(checked_module, "file_system_time", lambda _: max(status.st_mtime_ns, status.st_ctime_ns))
    frozen = FileIdentity(1, 2, 7, status.st_mtime_ns, status.st_ctime_ns)
    monkeypatch.setattr(FileIdentity, "of", lambda _: frozen)
    assert check(tmp_path, path) is None
    rewrite_in_place(path)
    assert check(tmp_path, path) is not None


def test_the_memo_keeps_what_others_found_and_drops_what_is_gone(tmp_path: Path, hashing: Hashing) -> None:
    one, two, three = (make_file(tmp_path, content) for content in (b"one", b"two", b"three"))
    next_tick(tmp_path, three)
    left, right = CheckedFiles(tmp_path, "first"), CheckedFiles(tmp_path, "first")
    left.check_all([one.name, three.name])
    right.check_all([two.name])
    three.unlink()
    four = make_file(tmp_path, b"four")
    next_tick(tmp_path, four)
    left.check_all([four.name])
    remembered = json.loads((tmp_path / "checked.json").read_text())["checked"]
    assert remembered.keys() == {one.name, two.name, four.name}


def test_a_folder_that_is_only_readable_is_checked_without_a_memo(tmp_path: Path, monkeypatch) -> None:
    path = make_file(tmp_path)
    monkeypatch.setattr(checked_module, "file_system_time", lambda _: None)
    assert check(tmp_path, path) is None
    assert not (tmp_path / "checked.json").exists()


def test_gone_damaged_and_unreadable_are_three_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_file(tmp_path)
    one = CheckedFiles(tmp_path, "first")

    def failing(number: int):
        def open_(*_: object, **__: object):
            raise OSError(number, os.strerror(number))

        return open_

    with monkeypatch.context() as patch:
        patch.setattr(checked_module, "open_regular", failing(5))
        with pytest.raises(DamagedPartError, match="cannot be read"):
            one.check(path.name)
        patch.setattr(checked_module, "open_regular", failing(24))
        with pytest.raises(StoreError, match="Too many open files.*limits") as caught:
            one.check(path.name)
        assert not isinstance(caught.value, DamagedPartError), "a limit of this process is no damage"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        one.check(path.name)


def test_another_way_to_verify_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'first', 'always' or 'size'"):
        CheckedFiles(tmp_path, "never")  # type: ignore[arg-type]
