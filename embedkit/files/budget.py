"""How much a file may become in memory: one rule for everything whose inflated size the file itself decides.

A file of some megabytes can say that it holds gigabytes, and mean it: compressed zeros, or a header that promises an
array. Declared sizes are checked before anything is read, and streams are cut where their declared size ends. What is
held at one moment by all threads together is bounded too, by `Budget.hold`.

Layer: above errors. Standard library only.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager

_FREE_BYTES = 256 << 20
_RATIO = 8


def inflated_limit(stored: int) -> int:
    """Return how many bytes may come out of a file of `stored` bytes: 256 MiB, or 8 times its size if that is more."""
    return max(_FREE_BYTES, _RATIO * stored)


class Budget:
    """Bytes that may be held at one moment, by all threads of the process together.

    Only a thread that holds nothing waits: none waits for itself, nor two for each other.

    Parameters
    ----------
    total : int
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._changed = threading.Condition()
        self._mine = _Mine()

    @contextmanager
    def hold(self, size: int = 0) -> Generator[None]:
        """Wait until `size` bytes are free, and hold them; one that is larger than the total waits to be alone.

        What the thread takes within, by `take`, is given back at the end too.
        """
        before = self._mine.size
        self._mine.depth += 1
        try:
            self.take(size)
            yield
        finally:
            self._mine.depth -= 1
            with self._changed:
                self._held -= self._mine.size - before
                self._mine.size = before
                self._changed.notify_all()

    def take(self, size: int) -> None:
        """Take bytes until the end of what the thread has opened by `hold`; without that, do nothing."""
        if not self._mine.depth:
            return
        with self._changed:
            if not self._mine.size:
                self._changed.wait_for(lambda: self._held + size <= self.total or not self._held)
            self._held += size
            self._mine.size += size

    def keep(self, size: int, owner: object) -> bool:
        """Hold bytes for as long as an object lives, if they are free at once; say whether they were."""
        with self._changed:
            if self._held + size > self.total:
                return False
            self._held += size
        weakref.finalize(owner, self._give_back, size).atexit = False
        return True

    def _give_back(self, size: int) -> None:
        with self._changed:
            self._held -= size
            self._changed.notify_all()


class _Mine(threading.local):
    """What one thread holds, and how many `hold` it is in."""

    size = 0
    depth = 0


INFLATING = Budget(max(1 << 30, (192 << 20) * (os.cpu_count() or 1)))
"""What all threads of the process read, inflate and decode at one moment; more where there are many cores."""
