"""A file that is never on disk: what libraries write to it is handed on piece by piece.

Layer: the bottom of tables. Standard library only.
"""

from __future__ import annotations

import io
from typing import Any


class Pipe(io.RawIOBase):
    """A file that hands on what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._position

    def write(self, data: Any) -> int:
        """Keep bytes until they are taken; return how many."""
        piece = bytes(data)
        self._written.append(piece)
        self._position += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        piece = b"".join(self._written)
        self._written.clear()
        return piece
