"""Locks between processes: one holder, also beside filelock's, and nothing made outside the folder."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from embedkit.errors import StoreLostError
from embedkit.files import Folder, locked


def test_one_at_a_time_and_again_when_it_is_given_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for _ in range(2):
        with locked(folder, "a.lock", timeout=0) as first, locked(folder, "a.lock", timeout=0.05, poll=0.01) as second:
            assert (first, second) == (True, False)
    with locked(folder, "a.lock", timeout=0) as mine, locked(folder, "b.lock", timeout=0) as other:
        assert mine
        assert other


def test_it_keeps_filelock_out_and_filelock_it(tmp_path: Path) -> None:
    """Older releases lock by filelock, in stores that newer ones share."""
    with FileLock(tmp_path / "a.lock"), locked(Folder(tmp_path), "a.lock", timeout=0) as held:
        assert not held
    with locked(Folder(tmp_path), "a.lock", timeout=0) as held, (tmp_path / "a.lock").open("r+") as file:
        assert held
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_it_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from embedkit.files import Folder, locked\n"
        "with locked(Folder(Path(sys.argv[1])), 'a.lock', timeout=0) as held:\n"
        "    print(held, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    died = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True)
    assert (died.returncode, died.stdout) == (-9, b"True\n"), died.stderr
    with locked(Folder(tmp_path), "a.lock", timeout=0) as held:
        assert held


def test_a_link_is_not_followed_and_a_lost_folder_not_made_again(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / "precious").write_text("precious")
    (store / "a.lock").symlink_to(tmp_path / "precious")
    (store / "b.lock").symlink_to(tmp_path / "nothing")
    (store / "marker").touch()
    folder = Folder.pinned(store, "marker")
    for name in ("a.lock", "b.lock"):
        with pytest.raises(OSError, match="symbolic") as error, locked(folder, name, timeout=0):
            pass
        assert error.value.errno == errno.ELOOP
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()
    store.rename(tmp_path / "gone")
    for make in (lambda: None, store.mkdir):
        make()
        with pytest.raises(StoreLostError), locked(folder, "a.lock", timeout=None):
            pass
    assert os.listdir(store) == []


def test_a_lock_on_a_file_that_lost_its_name_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some remove the file when they are done, just before it is locked here."""
    real, removed = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append((tmp_path / "a.lock").unlink())
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(Folder(tmp_path), "a.lock", timeout=1, poll=0.01) as held:
        assert held
        assert (tmp_path / "a.lock").exists()


def test_who_shares_a_folder_shares_its_locks(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        with locked(Folder(tmp_path), "a.lock", timeout=0):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a.lock").stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_no_lock_and_keeps_nobody_waiting(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.lock")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from embedkit.files import Folder, locked\n"
            "try:\n"
            "    with locked(Folder(Path(sys.argv[1])), 'a.lock', timeout=0) as held: print(held)\n"
            "except OSError: print('refused')",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() in ("refused", "True"), done.stderr
