"""Which committed files have been seen to match their names.

A committed file is compared with the length and the SHA-256 in its name before anything else looks into it. Hashing
takes a second for a gigabyte or two, so what was found whole is remembered by device, inode, size, modification and
change time: in this process, and with ``verify="first"`` also in ``checked.json`` beside the files.

The memo is derived: deleting it costs hashing and nothing else. The racy rule is held against the moment at which
hashing began, by the clock of the file system that sets the files' times.

Layer: above layout. Standard library, errors, files and specs only.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path

from embedkit.errors import DamagedPartError, StoreError, UnreadableFileError, UsageError
from embedkit.files import (
    FileIdentity,
    Folder,
    NotRegularError,
    Verify,
    file_system_time,
    open_regular,
    read_json,
    write_small,
)
from embedkit.store.layout import CHECKED, CommittedName

# What a disk says when it cannot return what was written. Other errors (permissions, open files) are no damage.
_DAMAGE = {errno.EIO, getattr(errno, "EUCLEAN", errno.EIO), getattr(errno, "EBADMSG", errno.EIO)}

# hashlib lets other threads run while it hashes; more threads than this wait for the disk.
_THREADS = 4


class CheckedFiles:
    """The committed files of one folder that were seen to match their names.

    Parameters
    ----------
    folder : Folder or Path
    verify : {"first", "always", "size"}
        ``"first"``: hash a file unless this process or the memo has seen it whole. ``"always"``: hash it once in every
        process, whatever the memo says. ``"size"``: compare lengths only; a flipped bit is served.
    """

    def __init__(self, folder: Folder | Path, verify: Verify) -> None:
        if verify not in ("first", "always", "size"):
            raise UsageError(f"verify is {verify!r}; expected 'first', 'always' or 'size'")
        self._folder = Folder.of(folder)
        self._verify = verify
        self._seen: dict[str, FileIdentity] = {}
        self._remembered: dict[str, FileIdentity] = self._load() if verify == "first" else {}

    def check(self, name: str) -> None:
        """Make sure that a file matches its name.

        Raises
        ------
        FileNotFoundError
            It is gone.
        DamagedPartError
            Its length or its bytes are others than its name says, or the disk cannot read it.
        StoreError
            It cannot be opened.
        """
        path = self._folder / name
        try:
            with open_regular(path, follow=False) as file:
                self._check_open(path, file)
        except FileNotFoundError:
            raise
        except StoreError:
            raise
        except OSError as error:
            raise reading_error(path, error) from error

    def check_all(self, names: Iterable[str]) -> dict[str, DamagedPartError | FileNotFoundError]:
        """Check many files, several at a time, and remember the outcome; return what is wrong with some of them."""

        def wrong(name: str) -> DamagedPartError | FileNotFoundError | None:
            try:
                self.check(name)
            except (DamagedPartError, FileNotFoundError) as error:
                return error
            return None

        names = list(names)
        memorable = self._verify == "first" and any(name not in self._remembered for name in names)
        began = file_system_time(self._folder) if memorable else None
        with ThreadPoolExecutor(_THREADS) as threads:
            found = {name: error for name, error in zip(names, threads.map(wrong, names), strict=True) if error}
        if began is not None:
            self._remember(names, began)
        return found

    def remembered(self, name: str) -> FileIdentity | None:
        """Return as what a file was seen to match its name, if that may be believed by others; see `identity`."""
        return self._remembered.get(name)

    def _check_open(self, path: Path, file: FileIO) -> None:
        claim = CommittedName.parse(path.name)
        if claim is None:
            raise DamagedPartError(f"{path} has no name of a committed file")
        identity = FileIdentity.of(os.fstat(file.fileno()))
        if identity.size != claim.length:
            raise damaged(path, f"it has {identity.size} bytes, and its name says {claim.length}")
        if identity in (self._seen.get(path.name), self._remembered.get(path.name)):
            return
        if self._verify != "size" and hashlib.file_digest(file, "sha256").hexdigest() != claim.sha256:
            raise damaged(path, "its bytes do not have the SHA-256 in its name")
        self._seen[path.name] = identity

    def _load(self) -> dict[str, FileIdentity]:
        try:
            checked = read_json(self._folder / CHECKED, follow=False)["checked"]
            return {name: FileIdentity(*map(int, entry)) for name, entry in checked.items()}
        except (FileNotFoundError, UnreadableFileError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return {}

    def _remember(self, names: Iterable[str], began: int) -> None:
        """Add to the memo what is now known to be whole and was not touched since hashing began."""
        seen = {name: self._seen[name] for name in names if name in self._seen}
        new = {name: entry for name, entry in seen.items() if entry.older_than(began)}
        if all(self._remembered.get(name) == entry for name, entry in new.items()):
            return
        entries = {**self._load(), **new}  # others may have added theirs
        there = set(self._folder.names())
        self._remembered = {name: entry for name, entry in entries.items() if name in there}
        with suppress(OSError):  # a store that is only readable is checked again by the next process
            content = json.dumps({"checked": self._remembered}, indent=0).encode()
            write_small(self._folder / CHECKED, content, self._folder)


def damaged(path: Path, reason: str) -> DamagedPartError:
    """Return the error that names a damaged file."""
    error = DamagedPartError(
        f"{path} is damaged: {reason}; run `embedkit store repair` to set it aside, then extract again what it held"
    )
    error.filename = str(path)
    error.strerror = reason
    return error


def reading_error(path: Path, error: OSError) -> StoreError:
    """Return what an OSError while reading a committed file means: damage, or a reader who may not or cannot."""
    if error.errno in _DAMAGE:
        return damaged(path, f"it cannot be read ({error.strerror})")
    if error.errno == errno.ELOOP or isinstance(error, NotRegularError):
        return damaged(path, "it is a link or no regular file")
    return StoreError(f"cannot read {path}: {error.strerror or error}; check permissions and limits, and run again")
