"""Locks between processes, as files in a folder that others may write to.

As `filelock` has it, ``flock`` of an empty file; but the file is opened in the open folder, by its name: a link of that
name is not followed, and nothing is made where the folder is no longer what it was.

Layer: files. Standard library only; filelock where folders cannot be opened (Windows).
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from embedkit.files.folder import BY_FOLDER, Folder

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def locked(folder: Folder, name: str, *, timeout: float | None, poll: float = 0.05) -> Generator[bool]:
    """Hold a lock; it goes with the process.

    Parameters
    ----------
    folder : Folder
    name : str
        Of the file, which stays.
    timeout : float or None
        Seconds to wait for another holder; None waits for ever.
    poll : float
        Seconds between two tries.

    Yields
    ------
    bool
        Whether the lock is held.

    Raises
    ------
    OSError
        The file cannot be opened or locked at all: read-only, a link, no such folder, no locks on this file system.
    StoreLostError, StoreFormatError
        As `Folder.opened`.
    """
    if not BY_FOLDER:
        with _locked_by_path(folder, name, timeout, poll) as held:
            yield held
        return
    until = None if timeout is None else time.monotonic() + timeout
    while (descriptor := _try(folder, name)) is None and (until is None or time.monotonic() < until):
        time.sleep(poll)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)  # which gives the lock back


def _try(folder: Folder, name: str) -> int | None:
    """Return the descriptor of a file that is locked now; None where another has it."""
    import fcntl

    with folder.opened() as here:
        descriptor = os.open(name, _FLAGS | os.O_CLOEXEC, 0o666, dir_fd=here)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Some remove such a file when they are done; a lock on one without its name keeps nobody out.
            mine, named = os.fstat(descriptor), os.stat(name, dir_fd=here, follow_symlinks=False)
            if (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None


@contextmanager
def _locked_by_path(folder: Folder, name: str, timeout: float | None, poll: float) -> Generator[bool]:
    from filelock import FileLock, Timeout

    folder.refuse_link(name)
    lock = FileLock(folder / name)
    try:
        lock.acquire(timeout=-1 if timeout is None else timeout, poll_interval=poll)
    except Timeout:
        yield False
        return
    except NotImplementedError as error:
        raise OSError(str(error)) from error
    try:
        yield True
    finally:
        lock.release()
