"""By what a file is recognised as untouched, in one spelling, and the rule that says when that may be believed.

A file rewritten within one tick of the clock that stamps it looks untouched. So what was seen in a file is only
remembered when both its times are older than the moment before it was read: git's racy rule
(Documentation/technical/racy-git).

Layer: the bottom of files. Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from embedkit.files.folder import open_regular

TICK_NS = 2_000_000_000
"""The granularity of times on FAT, the coarsest in use; local Linux file systems tick every 1 to 10 ms."""


Verify = Literal["first", "always", "size"]
"""When a file is compared with the digest it was committed with. ``"first"``: unless it was seen whole since its last
change. ``"always"``: each time it is opened. ``"size"``: never; only its length is, and a flipped bit is served."""


class FileIdentity(NamedTuple):
    """By what a file is recognised as untouched; times in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileIdentity:
        """Return the identity in a status."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> FileIdentity | None:
        """Return the identity of what is at a path now; None where nothing can be seen there."""
        try:
            return cls.of(os.stat(path))
        except (OSError, ValueError):  # ValueError: no path at all, such as one with a zero in it
            return None

    def older_than(self, moment: int) -> bool:
        """Say whether the file was left alone since before a moment, in nanoseconds of the clock that stamps it."""
        return max(self.modified, self.changed) < moment


@dataclass(frozen=True, slots=True)
class Witness:
    """What a file held when it was read, and by what it is recognised.

    Attributes
    ----------
    path : str
    identity : FileIdentity or None
        None where the racy rule forbids to trust it.
    sha256 : str
        64 hexadecimal digits.
    """

    path: str
    identity: FileIdentity | None
    sha256: str

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Witness:
        """Read a file; `OSError` where that fails."""
        began, name = time.time_ns(), os.path.abspath(path)
        with open_regular(Path(name)) as file:
            identity = FileIdentity.of(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(name, identity if identity.older_than(began - TICK_NS) else None, digest)

    def again(self) -> Witness | None:
        """Return a witness that the file still holds the same bytes, read only where it was touched; None if not."""
        if self.identity is not None and FileIdentity.at(self.path) == self.identity:
            return self
        try:
            found = Witness.of(Path(self.path))
        except OSError:
            return None
        return found if found.sha256 == self.sha256 else None

    def to_dict(self) -> dict[str, Any]:
        """Return the witness as JSON values."""
        return {"path": self.path, "stat": self.identity and list(self.identity), "sha256": self.sha256}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Witness:
        """Build a witness from `to_dict`'s record; `KeyError`, `TypeError` or `ValueError` where it is none."""
        stat = record["stat"]
        return cls(str(record["path"]), stat and FileIdentity(*map(int, stat)), str(record["sha256"]))
