"""How much a file may become in memory: one rule for everything whose inflated size the file itself decides.

A file of some megabytes can say that it holds gigabytes, and mean it: compressed zeros, or a header that promises an
array. Declared sizes are checked before anything is read, and streams are cut where their declared size ends. What is
held at one moment by all threads together is bounded too, by `Budget.hold`.

Layer: above errors. Standard library only.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, nullcontext

_FREE_BYTES = 256 << 20
_RATIO = 8


def inflated_limit(stored: int) -> int:
    """Return how many bytes may come out of a file of `stored` bytes: 256 MiB, or 8 times its size if that is more."""
    return max(_FREE_BYTES, _RATIO * stored)


class Budget:
    """Bytes that may be held at one moment, by all threads of the process together.

    Only a thread that holds nothing waits: none waits for itself, nor two for each other. What a thread has for a while
    and is no more than a 256th of the total is not counted: counting costs more than it is worth.

    Parameters
    ----------
    total : int
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._small = total // 256
        self._held = 0
        self._waiting = 0
        self._lock = threading.RLock()  # entered as it is, not by way of the condition: that is Python
        self._changed = threading.Condition(self._lock)
        self._mine = _Mine()

    def hold(self, size: int = 0) -> AbstractContextManager[None]:
        """Wait until `size` bytes are free, and hold them; one that is larger than the total waits to be alone.

        What the thread takes within, by `take`, is given back at the end too.
        """
        return _Hold(self, size)

    def hold_large(self, size: int) -> AbstractContextManager[None]:
        """Do what `hold` does, around what takes nothing within: then a small size costs nothing."""
        return _NOTHING if size <= self._small else _Hold(self, size)

    def take(self, size: int) -> None:
        """Take bytes until the end of what the thread has opened by `hold`; without that, do nothing."""
        mine = self._mine
        if size <= self._small or not mine.depth:
            return
        with self._lock:
            if not mine.size:
                self._waiting += 1
                try:
                    self._changed.wait_for(lambda: self._held + size <= self.total or not self._held)
                finally:
                    self._waiting -= 1
            self._held += size
            mine.size += size

    def keep(self, size: int) -> Kept | None:
        """Hold bytes for as long as what is returned lives, if they are free at once; else return None."""
        with self._lock:
            if self._held + size > self.total:
                return None
            self._held += size
        return Kept(self, size)

    def enter(self, size: int) -> int:
        """Begin what `hold` holds; return what the thread held before."""
        before = self._mine.size
        self._mine.depth += 1
        try:
            self.take(size)
        except BaseException:
            self.leave(before)
            raise
        return before

    def leave(self, before: int) -> None:
        """End it."""
        mine = self._mine
        mine.depth -= 1
        size, mine.size = mine.size - before, before
        if size:
            self.give_back(size)

    def give_back(self, size: int) -> None:
        """Let others have bytes."""
        with self._lock:
            self._held -= size
            if self._waiting:
                self._changed.notify_all()


class _Hold(AbstractContextManager[None]):
    """One `Budget.hold`: several an image, under the interpreter's lock, so it is no generator."""

    __slots__ = ("_before", "_budget", "_size")

    def __init__(self, budget: Budget, size: int) -> None:
        self._budget = budget
        self._size = size

    def __enter__(self) -> None:
        self._before = self._budget.enter(self._size)

    def __exit__(self, *_: object) -> None:
        self._budget.leave(self._before)


_NOTHING = nullcontext()


class Kept:
    """Bytes that are held while this lives."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: Budget, size: int) -> None:
        self._budget = budget
        self._size = size

    def __del__(self) -> None:
        self._budget.give_back(self._size)


class _Mine(threading.local):
    """What one thread holds, and how many `hold` it is in."""

    size = 0
    depth = 0


INFLATING = Budget(max(1 << 30, (192 << 20) * (os.cpu_count() or 1)))
"""What all threads of the process read, inflate and decode at one moment; more where there are many cores."""
