"""Files that are not committed yet, and whose they are.

A temporary file is called ``.tmp-<pid>-<home>-<id>``: the process that writes it, 16 hexadecimal digits that say under
which kernel and in which process namespace that is, and something random. So whoever comes next can tell whether its
writer is still there, and remove what a killed one has left.

Layer: files. Standard library and errors only.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

from embedkit.files.folder import Folder

TEMPORARY_PREFIX = ".tmp-"
"""How every file begins that is not committed yet."""

UNKNOWN_HOME = bytes(32)
"""The home of a process where the operating system does not tell."""

_TEMPORARY = re.compile(r"\.tmp-([0-9]+)-([0-9a-f]{16})-[0-9a-f]{32}")


def temporary_name() -> str:
    """Return a new name for a file that is not committed yet."""
    return f"{TEMPORARY_PREFIX}{os.getpid()}-{home().hex()[:16]}-{uuid.uuid4().hex}"


@functools.cache
def home() -> bytes:
    """Return what processes have in common that see each other by their ids, 32 bytes; 0 where Linux does not tell."""
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text()
        return hashlib.sha256((kernel + os.readlink("/proc/self/ns/pid")).encode()).digest()
    except OSError:
        return UNKNOWN_HOME


def is_gone(process: int) -> bool:
    """Say whether a process of this kernel and namespace has ended (a zombie has)."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    except (OSError, IndexError):
        return False
    return state in "ZX"


def is_abandoned(name: str) -> bool:
    """Say whether a name is that of a temporary file whose writer is known to have ended."""
    found = _TEMPORARY.fullmatch(name)
    return found is not None and found[2] == home().hex()[:16] and home() != UNKNOWN_HOME and is_gone(int(found[1]))


def remove_abandoned(folder: Folder) -> None:
    """Remove the temporary files in a folder that dead processes have left; what cannot be removed stays."""
    with suppress(OSError), folder.opened() as at:
        for name in os.listdir(folder.path if at is None else at):
            if is_abandoned(name):
                with suppress(OSError):
                    os.unlink(name if at is not None else folder / name, dir_fd=at)


def file_system_time(folder: Folder | Path) -> int | None:
    """Return the time by the clock that stamps the files of a folder, in nanoseconds; None if nothing can be written.

    The clock of a file server may be hours away from this machine's.
    """
    folder = Folder.of(folder)
    try:
        with folder.opened() as at:
            probe = folder / temporary_name()
            named = probe if at is None else probe.name
            os.close(os.open(named, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=at))
            try:
                return os.stat(named, dir_fd=at, follow_symlinks=False).st_mtime_ns
            finally:
                os.unlink(named, dir_fd=at)
    except OSError:
        return None
