"""open_file: a file to read at any place, local or at a URL.

A remote file is read in blocks, which readers share: the members of an archive are small and are wanted one after the
other by many threads, so that one request serves several of them.

Layer: images; above remote. Standard library only.
"""

from __future__ import annotations

import io
import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from embedkit.files import open_regular
from embedkit.images.access import is_url
from embedkit.images.remote import RemoteReadError, read_range, size_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 2 << 20
"""What one request asks for; a longer read is one request of its own, and is not shared."""

_BLOCKS_KEPT = 16


def open_file(path: str, *, anew: bool = False) -> io.RawIOBase:
    """Open a file for reading at any place.

    Parameters
    ----------
    path : str
        Or a URL. Nothing is asked of its server before something is read.
    anew : bool
        Forget what was read of a URL before: it may hold something else by now.

    Raises
    ------
    OSError
        A local file that cannot be opened. Reading a remote one raises what `read_range` raises.
    """
    if not is_url(path):
        return open_regular(Path(path))
    if anew:
        _recent.forget(path)
    return RemoteFile(path)


class RemoteFile(io.RawIOBase):
    """A remote file. A read returns all that was asked for, less only at the end of the file."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._place = 0
        self._size: int | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte to be read."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place; one relative to the end asks the server for the size, once."""
        if whence == os.SEEK_END and self._size is None:
            self._size = size_of(self._url)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size or 0}[whence]
        if base + offset < 0:
            raise OSError(f"{self._url}: there is nothing before its first byte")  # as a local file has it
        self._place = base + offset
        return self._place

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer, as far as there are bytes."""
        target = memoryview(buffer).cast("B")
        end = self._place + len(target)
        if self._size is not None:
            end = min(end, self._size)
        filled = 0
        while self._place < end:
            part = self._read(end)
            if not part:
                if self._size is not None:
                    raise RemoteReadError(f"cannot be read: it ends at byte {self._place:,} of {self._size:,}")
                break
            target[filled : filled + len(part)] = part
            filled += len(part)
            self._place += len(part)
        return filled

    def _read(self, end: int) -> bytes | memoryview:
        """Return bytes from this place on, at most up to `end`; none only where the file ends."""
        if end - self._place >= BLOCK_BYTES:
            return read_range(self._url, self._place, end)
        number, start = divmod(self._place, BLOCK_BYTES)
        block = _recent.get(self._url, number, self._size)
        return memoryview(block)[start : start + end - self._place]


class _Blocks:
    """The blocks of remote files that were read last; each is asked for once, however many threads wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: dict[tuple[str, int], Future[bytes]] = {}  # the one used last comes last

    def get(self, url: str, number: int, size: int | None) -> bytes:
        """Return a block of a file, whose size may be unknown."""
        key = (url, number)
        with self._lock:
            known = self._blocks.pop(key, None)
            block = self._blocks[key] = known or Future[bytes]()
            while len(self._blocks) > _BLOCKS_KEPT:
                del self._blocks[next(iter(self._blocks))]
        if known is None:
            start, end = number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES
            try:
                block.set_result(read_range(url, start, end))
            except BaseException as error:
                block.set_exception(error)
            # One that came short is served to those who wait, but not kept: the next may get all of it.
            if block.exception() is not None or len(block.result()) < min(end, size or end) - start:
                with self._lock:
                    if self._blocks.get(key) is block:
                        del self._blocks[key]
        return block.result()

    def forget(self, url: str) -> None:
        """Drop the blocks of a file."""
        with self._lock:
            for key in [key for key in self._blocks if key[0] == url]:
                del self._blocks[key]


# Of the whole process, since readers of one archive know nothing of each other. It saves requests, and holds nothing
# that could not be read again; opening a source reads its archives anew.
_recent = _Blocks()
