"""Networks that were converted once, kept for the next process: converting takes seconds, reading one back none.

    MEMO/network-<key>      the length of the description, the description (XML), the weights, the trailer of `files`

The key is the digest of all that a conversion depends on, versions of libraries included. A memo: what is damaged, or
not there, is converted again, and the oldest go when they take too much room.

Layer: backbones. Standard library, errors, files and specs only.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from embedkit.errors import UnreadableFileError
from embedkit.files import (
    TRAILER,
    Folder,
    check_trailer,
    read_small,
    remove_abandoned,
    seal,
    write_small,
)
from embedkit.specs import Json, canonical_json

_log = logging.getLogger("embedkit")

ROOM = 2 << 30
"""How many bytes the kept networks of one store may take together."""

_LENGTH = struct.Struct("<Q")


class Conversion:
    """The place of one converted network.

    Parameters
    ----------
    memo_folder : Path
    key : mapping
        All that the conversion depends on; JSON values.
    """

    def __init__(self, memo_folder: Path, key: Mapping[str, Json]) -> None:
        digest = hashlib.sha256(canonical_json(dict(key)).encode()).hexdigest()
        self.path = memo_folder / f"network-{digest[:32]}"

    def is_kept(self) -> bool:
        """Return whether there is a file; whether it is whole shows when it is read."""
        return self.path.is_file()

    def read(self) -> tuple[bytes, memoryview] | None:
        """Return description and weights; None where there are none that can be trusted."""
        try:
            content = read_small(self.path, ROOM, follow=False)
        except FileNotFoundError:
            return None
        except UnreadableFileError as error:
            _log.warning("%s: the network is converted again", error)
            return None
        reason = check_trailer(io.BytesIO(content))
        if reason is not None:
            _log.warning("%s: %s: the network is converted again", self.path, reason)
            return None
        with suppress(OSError):
            os.utime(self.path)  # what is used stays longest
        (length,) = _LENGTH.unpack_from(content)
        start = _LENGTH.size + length
        return content[_LENGTH.size : start], memoryview(content)[start : len(content) - TRAILER.size]

    def keep(self, description: bytes, weights: bytes) -> None:
        """Keep a network, unless it needs more room than there is; a failure costs the next process its conversion."""
        content = seal(b"".join([_LENGTH.pack(len(description)), description, weights]))
        if len(content) > ROOM:
            return
        try:
            self.path.parent.mkdir(exist_ok=True)
            write_small(self.path, content)
            self._make_room()
        except OSError as error:
            _log.warning("the converted network is not kept: %s", error)

    def _make_room(self) -> None:
        folder = self.path.parent
        remove_abandoned(Folder(folder))
        stats = [(path, path.stat()) for path in folder.glob("network-*")]
        room = ROOM
        for path, stat in sorted(stats, key=lambda one: one[1].st_mtime_ns, reverse=True):
            room -= stat.st_size
            if room < 0:
                path.unlink(missing_ok=True)
