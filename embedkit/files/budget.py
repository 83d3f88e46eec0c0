"""How much a file may become in memory: one rule for everything whose inflated size the file itself decides.

A file of some megabytes can say that it holds gigabytes, and mean it: compressed zeros, or a header that promises an
array. Declared sizes are checked before anything is read, and streams are cut where their declared size ends. What is
held at one moment by all threads together is bounded too, by `Budget.hold`.

Layer: above errors. Standard library only.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

_FREE_BYTES = 256 << 20
_RATIO = 8


def inflated_limit(stored: int) -> int:
    """Return how many bytes may come out of a file of `stored` bytes: 256 MiB, or 8 times its size if that is more."""
    return max(_FREE_BYTES, _RATIO * stored)


class Budget:
    """Bytes that may be held at one moment, by all threads of the process together.

    Parameters
    ----------
    total : int
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Generator[None]:
        """Wait until `size` bytes are free, and hold them; one that is larger than the total waits to be alone."""
        with self._changed:
            self._changed.wait_for(lambda: self._held + size <= self.total or not self._held)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()


INFLATING = Budget(1 << 30)
"""What all threads of the process inflate at one moment."""
