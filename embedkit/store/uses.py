"""When the parts of a folder were last used, so that `gc` can let go of what nobody has asked for in the longest time.

    last-use      {"used": {"<part>": <seconds>, ...}}; its modification time is the last use of the fingerprint

Seconds are those of the clock of the file system, which all hosts share. The file is a memo: what it does not know was
last used when it was committed, and a record that is lost makes `gc` choose worse, no more. A use is noted to the hour.

Layer: above layout.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from contextlib import suppress

from embedkit.errors import EmbedkitError, UnreadableFileError
from embedkit.files import Folder, file_system_time, read_json, write_small
from embedkit.store.layout import LAST_USE, CommittedName

# A use is noted again after so long, and noted uses are written together.
_SECONDS, _PAUSE = 3600.0, 10.0


class Uses:
    """The parts of a folder that a reader has used.

    Parameters
    ----------
    folder : Folder
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._noted: dict[str, float] = {}
        self._new: set[str] = set()
        self._saved = -_PAUSE
        self._lock = threading.Lock()

    def note(self, names: Iterable[str]) -> None:
        """Note that parts are used now; it is written at once, or with the next ones."""
        now = time.monotonic()
        with self._lock:
            for name in names:
                if now - self._noted.get(name, -_SECONDS) >= _SECONDS:
                    self._noted[name] = now
                    self._new.add(name)
            due = bool(self._new) and now - self._saved >= _PAUSE
        if due:
            self.save()

    def save(self) -> None:
        """Write what was noted. A store that is only readable is used without a note."""
        with self._lock:
            new, self._new, self._saved = self._new, set(), time.monotonic()
        if new and (now := file_system_time(self._folder)) is not None:
            note_uses(self._folder, dict.fromkeys(new, now / 1e9))


def read_uses(folder: Folder) -> dict[str, float]:
    """Return when parts were last used, in seconds of the file system's clock, of those for which that is known."""
    try:
        used = read_json(folder / LAST_USE, follow=False)["used"]
        return {
            name: float(seconds)
            for name, seconds in used.items()
            if isinstance(seconds, int | float) and CommittedName.parse(name)
        }
    except (FileNotFoundError, UnreadableFileError, KeyError, TypeError, AttributeError, OverflowError):
        return {}


def note_uses(folder: Folder, used: dict[str, float], *, anew: bool = True) -> None:
    """Add to what is known of the parts that are still there; where nothing is used `anew`, the fingerprint is not."""
    with suppress(OSError, EmbedkitError):
        before = folder.stats([LAST_USE]).get(LAST_USE)
        there = set(folder.names())
        kept = {name: seconds for name, seconds in {**read_uses(folder), **used}.items() if name in there}
        write_small(folder / LAST_USE, json.dumps({"used": kept}, indent=0).encode(), folder)
        if not anew:
            folder.touch(LAST_USE, max(used.values()) if before is None else before.st_mtime)
