from __future__ import annotations

import logging
import os
import shutil
import threading
import time

import numpy as np
import pytest

from embedkit.images import ArchiveMember, StatMemo, digest_bytes, read_bytes
from embedkit.images import memo as memo_module

LONG_AGO = 10_000_000_000  # nanoseconds


@pytest.fixture
def settled(monkeypatch):
    """Let every file look as if it had been written long before a memo is made, which ctime would not allow."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + LONG_AGO)
    monkeypatch.setattr(memo_module, "file_system_time", lambda _: None)


def write(path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def remember(memo: StatMemo, *refs) -> None:
    for ref in refs:
        stat = os.stat(ref if isinstance(ref, str) else ref.archive)
        memo.record(ref, stat, digest_bytes(read_bytes(ref)))
    memo.save()


def recall(file, *refs) -> list[bytes | None]:
    digests, known = StatMemo(file).lookup(refs)
    assert digests.shape == (len(refs), 32)
    assert digests.dtype == np.uint8
    assert known.dtype == np.bool_
    assert not digests[~known].any()
    return [bytes(digest) if found else None for digest, found in zip(digests, known, strict=True)]


def test_unchanged_files_are_known(tmp_path, settled):
    memo = tmp_path / "memos" / "stat.npy"
    paths = [write(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(50)]
    remember(StatMemo(memo), *paths)
    absent = str(tmp_path / "absent.jpg")
    assert recall(memo, *paths, absent, *paths[:3]) == [
        *(digest_bytes(b"%d" % i) for i in range(50)),
        None,
        *(digest_bytes(b"%d" % i) for i in range(3)),
    ]
    assert recall(memo) == []


def test_a_relative_path_is_the_absolute_one(tmp_path, settled, monkeypatch):
    path = write(tmp_path / "a.jpg", b"a")
    remember(StatMemo(tmp_path / "m.npy"), path)
    monkeypatch.chdir(tmp_path)
    assert recall(tmp_path / "m.npy", "a.jpg") == [digest_bytes(b"a")]


def test_a_fresh_file_is_not_recorded(tmp_path):
    """Without `settled`: a rewrite within one tick of the clock cannot be seen, so nothing this young is believed."""
    path = write(tmp_path / "a.jpg", b"one")
    memo = StatMemo(tmp_path / "m.npy")
    (tmp_path / "a.jpg").write_bytes(b"two")
    remember(memo, path)
    assert recall(tmp_path / "m.npy", path) == [None]


@pytest.mark.parametrize(("seconds", "recorded"), [(1, False), (3, True)])
def test_fresh_means_two_seconds_the_coarsest_tick_in_use(tmp_path, monkeypatch, seconds, recorded):
    path = write(tmp_path / "a.jpg", b"one")
    now = os.stat(path).st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: now + seconds * 1_000_000_000)
    monkeypatch.setattr(memo_module, "file_system_time", lambda _: None)
    remember(StatMemo(tmp_path / "m.npy"), path)
    assert (recall(tmp_path / "m.npy", path) == [digest_bytes(b"one")]) == recorded


def test_a_rewrite_within_a_tick_is_never_taken_for_the_old_file(tmp_path, monkeypatch):
    """The clock of the file system stands still, so the status of the file stays the same over a rewrite."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    frozen = os.stat(path)
    monkeypatch.setattr(os, "stat", lambda *args, **kwargs: frozen)
    memo = StatMemo(tmp_path / "m.npy")
    memo.record(str(path), frozen, digest_bytes(b"one"))
    path.write_bytes(b"two")  # after it was read, before the memo is written
    memo.save()
    assert recall(tmp_path / "m.npy", str(path)) == [None]


def test_a_file_of_the_future_is_not_recorded(tmp_path, settled):
    path = write(tmp_path / "a.jpg", b"a")
    later = time.time_ns() + LONG_AGO
    os.utime(path, ns=(later, later))
    remember(StatMemo(tmp_path / "m.npy"), path)
    assert recall(tmp_path / "m.npy", path) == [None]


def test_changed_files_are_unknown(tmp_path, settled):
    memo = tmp_path / "m.npy"
    names = ["rewritten", "copied over", "renamed over", "restored mtime", "touched", "longer", "same"]
    paths = {name: write(tmp_path / name, b"one") for name in names}
    remember(StatMemo(memo), *paths.values())
    before = {name: os.stat(path) for name, path in paths.items()}
    time.sleep(0.02)  # more than a tick of local file systems

    (tmp_path / "rewritten").write_bytes(b"two")
    other = write(tmp_path / "other", b"two")
    os.utime(other, ns=(before["same"].st_atime_ns, before["same"].st_mtime_ns))
    shutil.copy2(other, paths["copied over"])  # cp -p: same inode, old mtime
    os.replace(other, paths["renamed over"])
    (tmp_path / "restored mtime").write_bytes(b"two")
    stat = before["restored mtime"]
    os.utime(paths["restored mtime"], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert os.stat(paths["restored mtime"]).st_mtime_ns == stat.st_mtime_ns
    os.utime(paths["touched"])
    with open(paths["longer"], "ab") as file:
        file.write(b"r")

    found = dict(zip(names, recall(memo, *paths.values()), strict=True))
    assert found == {name: digest_bytes(b"one") if name == "same" else None for name in names}


def test_an_exchanged_link_is_unknown(tmp_path, settled):
    write(tmp_path / "a", b"a")
    write(tmp_path / "b", b"b")
    link = tmp_path / "link"
    link.symlink_to("a")
    remember(StatMemo(tmp_path / "m.npy"), str(link))
    assert recall(tmp_path / "m.npy", str(link)) == [digest_bytes(b"a")]
    link.unlink()
    link.symlink_to("b")
    assert recall(tmp_path / "m.npy", str(link)) == [None]


def test_members_are_known_as_long_as_their_archive_is_unchanged(tmp_path, settled):
    archive = write(tmp_path / "a.tar", b"onetwo")
    members = [ArchiveMember(archive, "1", 0, 3, 3), ArchiveMember(archive, "2", 3, 3, 3)]
    remember(StatMemo(tmp_path / "m.npy"), *members)
    assert recall(tmp_path / "m.npy", *members, archive) == [digest_bytes(b"one"), digest_bytes(b"two"), None]
    time.sleep(0.02)
    (tmp_path / "a.tar").write_bytes(b"twoone")
    assert recall(tmp_path / "m.npy", *members) == [None, None]


def test_a_newer_record_replaces_the_older(tmp_path, settled):
    memo = tmp_path / "m.npy"
    path = write(tmp_path / "a.jpg", b"one")
    other = write(tmp_path / "b.jpg", b"b")
    remember(StatMemo(memo), path, other)
    time.sleep(0.02)
    write(tmp_path / "a.jpg", b"two")
    remember(StatMemo(memo), path)
    assert recall(memo, path, other) == [digest_bytes(b"two"), digest_bytes(b"b")]
    assert np.load(memo).shape == (12, 2)


def test_two_writers_keep_the_entries_of_both(tmp_path, settled):
    memo = tmp_path / "m.npy"
    paths = [write(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(4)]
    first, second = StatMemo(memo), StatMemo(memo)
    remember(first, *paths[:2])
    remember(second, *paths[2:])
    assert None not in recall(memo, *paths)


def test_writers_at_once_leave_a_whole_memo(tmp_path, settled):
    memo = tmp_path / "m.npy"
    paths = [write(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(40)]
    threads = [threading.Thread(target=remember, args=(StatMemo(memo), *paths[i::8])) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = recall(memo, *paths)
    assert [digest for digest in found if digest is not None]
    assert all(digest in (None, digest_bytes(b"%d" % i)) for i, digest in enumerate(found))
    assert [name for name in os.listdir(tmp_path) if name.startswith(".tmp")] == []


def test_a_deleted_memo_is_an_empty_one(tmp_path, settled):
    memo = tmp_path / "m.npy"
    path = write(tmp_path / "a.jpg", b"a")
    remember(StatMemo(memo), path)
    memo.unlink()
    assert recall(memo, path) == [None]


@pytest.mark.parametrize(
    "damage", ["truncated", "cut in the header", "empty", "text", "pickle", "other array", "folder"]
)
def test_a_memo_that_is_none_is_logged_and_replaced(tmp_path, settled, caplog, damage):
    memo = tmp_path / "m.npy"
    path = write(tmp_path / "a.jpg", b"a")
    remember(StatMemo(memo), path)
    whole = memo.read_bytes()
    memo.unlink()
    if damage == "folder":
        memo.mkdir()
    elif damage == "other array":
        np.save(memo, np.zeros((3, 3)))
    elif damage == "pickle":
        np.save(memo, np.array([{}], dtype=object))
    else:
        memo.write_bytes(
            {"truncated": whole[:-8], "cut in the header": whole[:20], "empty": b"", "text": b"hello"}[damage]
        )
    with caplog.at_level(logging.WARNING, "embedkit"):
        assert recall(memo, path) == [None]
    assert str(memo) in caplog.text
    if damage != "folder":
        remember(StatMemo(memo), path)
        assert recall(memo, path) == [digest_bytes(b"a")]


def test_no_flipped_bit_gives_a_wrong_digest(tmp_path, settled):
    memo = tmp_path / "m.npy"
    paths = [write(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(3)]
    remember(StatMemo(memo), *paths)
    whole = memo.read_bytes()
    start = whole.index(b"\n") + 1
    lost = 0
    for at in range(start, len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        memo.write_bytes(damaged)
        for i, digest in enumerate(recall(memo, *paths)):
            assert digest in (None, digest_bytes(b"%d" % i))
            lost += digest is None
    assert lost >= len(whole) - start


def test_a_memo_that_cannot_be_written_is_only_logged(tmp_path, settled, caplog):
    path = write(tmp_path / "a.jpg", b"a")
    write(tmp_path / "file", b"")
    memo = StatMemo(tmp_path / "file" / "m.npy")
    with caplog.at_level(logging.WARNING, "embedkit"):
        remember(memo, path)
    assert "cannot be written" in caplog.text


def test_nothing_recorded_writes_nothing(tmp_path):
    StatMemo(tmp_path / "m.npy").save()
    assert list(tmp_path.iterdir()) == []


def test_odd_paths(tmp_path, settled):
    memo = tmp_path / "m.npy"
    path = write(tmp_path / "a\udcff\n\\.jpg", b"odd")
    remember(StatMemo(memo), path)
    assert recall(memo, path, "a\x00b", "") == [digest_bytes(b"odd"), None, None]


def lie(path) -> None:
    """Change the bytes of a file and nothing else, as a program does that writes through a mapping made long before."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"X")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("count", [1, 5])
def test_a_file_that_lies_is_found_and_the_memo_thrown_away(tmp_path, settled, monkeypatch, caplog, count):
    """Its times are as they were: only reading it again tells."""
    memo = tmp_path / "m.npy"
    paths = [write(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(count)]
    remember(StatMemo(memo), *paths)
    stats = {path: os.stat(path) for path in paths}
    lie(paths[-1])
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: stats.get(path) or real(path, **more))
    with caplog.at_level(logging.WARNING, "embedkit"):
        assert recall(memo, *paths) == [None] * count
    assert paths[-1] in caplog.text
    assert not memo.exists()


def test_a_run_reads_few_of_the_remembered_files_again(tmp_path, settled, monkeypatch):
    paths = [write(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(40)]
    remember(StatMemo(tmp_path / "m.npy"), *paths)
    read: list[object] = []
    monkeypatch.setattr(memo_module, "read_bytes", lambda ref: read.append(ref) or read_bytes(ref))
    memo = StatMemo(tmp_path / "m.npy")
    assert memo.lookup(paths)[1].all()
    assert memo.lookup(paths)[1].all()
    assert 4 <= len(read) <= 8
    newest = sorted(paths, key=lambda path: os.stat(path).st_mtime_ns)[-4:]
    assert {os.stat(path).st_mtime_ns for path in newest} <= {os.stat(path).st_mtime_ns for path in read}


def test_a_memo_is_readable_by_all_who_share_the_store(tmp_path, settled):
    mask = os.umask(0o002)
    try:
        remember(StatMemo(tmp_path / "m.npy"), write(tmp_path / "a.jpg", b"a"))
    finally:
        os.umask(mask)
    assert os.stat(tmp_path / "m.npy").st_mode & 0o777 == 0o664


def test_the_clock_of_the_file_system_counts_too(tmp_path):
    """This machine's clock is hours ahead of the file server's: a file that was just written is no old one."""
    path = write(tmp_path / "a.jpg", b"a")
    with pytest.MonkeyPatch.context() as patch:
        real = time.time_ns
        patch.setattr(time, "time_ns", lambda: real() + 6 * 3600 * 10**9)
        remember(StatMemo(tmp_path / "m.npy"), path)
    assert recall(tmp_path / "m.npy", path) == [None]
