"""The one way in which embedkit puts a file on disk: whole, or not at all.

A file is written under a temporary name in the folder where it will stay, flushed to the disk, and given its final name
by one rename. The rename is the commit: a process that dies, a full disk or a failing write before it leaves at most a
temporary file, which every reader ignores; after it the file is there, with all its bytes, for ever.

A **trailer** of 48 bytes may follow the content (behind the end of an HDF5 file, where HDF5 never looks): the magic
``EMBEDKIT``, the number of bytes before the trailer (unsigned 64 bits, little endian) and their SHA-256. With it a file
that a user renames can still say whether it is whole.

`Disk` is the seam: all calls that change the disk go through it, so that tests replay every prefix of them and make any
of them fail.

Layer: files. Standard library and errors only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from embedkit.errors import EmbedkitError, StoreWriteError
from embedkit.files.folder import Folder
from embedkit.files.temporary import remove_abandoned, temporary_name

TRAILER = struct.Struct("<8sQ32s")
"""Magic, number of bytes before the trailer, SHA-256 of those bytes: 48 bytes."""

MAGIC = b"EMBEDKIT"

Buffer = bytes | bytearray | memoryview

# Large writes make large pages in the operating system's cache, which are faster to read through a map; an interrupt
# is answered between two of them.
_PIECE = 64 << 20

# Errors of os.link on file systems without hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Disk:
    """The calls that change a disk, one method each, so that a test can log them, slow them down or make them fail.

    `at` is a descriptor of the open folder in which a path lies; then its last name alone counts.
    """

    def create(self, path: Path, at: int | None = None) -> int:
        """Create a file that must not exist; return its descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        return os.open(_named(path, at), flags, 0o666, dir_fd=at)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write some of the bytes; return how many."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Wait until the bytes of a file are on the disk."""
        os.fsync(descriptor)

    def rename(self, source: Path, target: Path, at: int | None = None, to: int | None = None) -> None:
        """Give a file its final name, in place of whatever has it; `to` is the target's folder, else that of both."""
        to = at if to is None else to
        os.replace(_named(source, at), _named(target, to), src_dir_fd=at, dst_dir_fd=to)

    def link(self, source: Path, target: Path, at: int | None = None) -> None:
        """Give a file a second name that must not exist."""
        os.link(_named(source, at), _named(target, at), src_dir_fd=at, dst_dir_fd=at)

    def sync_folder(self, folder: Path, at: int | None = None) -> None:
        """Wait until the names in a folder are on the disk."""
        if os.name == "nt":  # Windows cannot open a folder; NTFS journals names by itself
            return
        descriptor = os.open(folder, os.O_RDONLY) if at is None else at
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network file systems have no such operation
                raise
        finally:
            if at is None:
                os.close(descriptor)

    def remove(self, path: Path, at: int | None = None) -> None:
        """Remove a file or a link; one that is gone already is fine."""
        with suppress(FileNotFoundError):
            os.unlink(_named(path, at), dir_fd=at)


DISK = Disk()
"""The real disk (it has no state)."""


def commit_bytes(
    folder: Folder | Path,
    name_of: Callable[[int, str], str],
    chunks: Iterable[Buffer],
    *,
    sealed: bool = True,
    disk: Disk = DISK,
) -> Path:
    """Put a new file into a folder under a name that depends on its bytes; when this returns it is there for ever.

    Parameters
    ----------
    folder : Folder or Path
        Where the file goes; must exist.
    name_of : callable (length, sha256) -> str
        The final name, from the number of bytes in the whole file and their SHA-256 in 64 hexadecimal digits. Equal
        names mean equal bytes, so that a file of this name may be replaced.
    chunks : iterable of bytes-like objects
        The content, in order.
    sealed : bool
        Append the trailer.
    disk : Disk
        The calls that change the disk.

    Returns
    -------
    Path
        The committed file.

    Raises
    ------
    StoreWriteError
        The disk is full, the folder read-only or gone, a write failed. No temporary is left, and files committed before
        are intact.
    """
    folder = Folder.of(folder)

    def publish(temporary: Path, length: int, digest: str, at: int | None) -> Path:
        target = folder / name_of(length, digest)
        disk.rename(temporary, target, at)
        return target

    try:
        return _commit(folder, chunks, sealed, disk, publish)
    except EmbedkitError:  # from the chunks, not from the disk
        raise
    except OSError as error:
        raise _write_error(error, folder.path, "what was committed before is intact") from error


def commit_to(
    path: Path,
    chunks: Iterable[Buffer],
    *,
    sealed: bool = True,
    overwrite: bool = True,
    disk: Disk = DISK,
    folder: Folder | None = None,
) -> None:
    """Put a file under a name that a user chose, whole or not at all.

    What processes that were killed have left beside it is removed.

    Parameters
    ----------
    path : Path
        The final name; its folder must exist.
    chunks : iterable of bytes-like objects
        The content, in order.
    sealed : bool
        Append the trailer.
    overwrite : bool
        Replace what has the name. Without, an existing file is an error even when it appears while this one is written.
    disk : Disk
        The calls that change the disk.
    folder : Folder, optional
        The folder of the path, where it is one of a store.

    Raises
    ------
    FileExistsError
        `overwrite` is false and the name is taken.
    StoreWriteError
        The disk is full, the folder read-only or gone, a write failed. What had the name before still has it.
    """
    folder = folder or Folder(path.parent)

    def publish(temporary: Path, length: int, digest: str, at: int | None) -> Path:
        if overwrite:
            disk.rename(temporary, path, at)
        else:
            _rename_to_free_name(temporary, path, disk, at)
        return path

    try:
        remove_abandoned(folder)
        _commit(folder, chunks, sealed, disk, publish)
    except (EmbedkitError, FileExistsError):
        raise
    except OSError as error:
        raise _write_error(error, path, "a file that had this name before is unchanged") from error


def seal(image: bytes) -> bytes:
    """Return the bytes with their trailer behind them."""
    return image + TRAILER.pack(MAGIC, len(image), hashlib.sha256(image).digest())


def check_trailer(file: BinaryIO) -> str | None:
    """Compare the bytes of a sealed file with its trailer.

    Parameters
    ----------
    file : binary file open for reading
        Read from its beginning to its end.

    Returns
    -------
    str or None
        What is wrong (``"it has no trailer"``, ...), or None when every byte is as it was written.
    """
    size = file.seek(0, os.SEEK_END)
    if size < TRAILER.size:
        return f"it has {size} bytes, fewer than the {TRAILER.size} of a trailer"
    file.seek(size - TRAILER.size)
    magic, length, expected = TRAILER.unpack(file.read(TRAILER.size))
    if magic != MAGIC:
        return "it has no trailer: it was cut off, or another program wrote to it"
    if length != size - TRAILER.size:
        return f"it has {size - TRAILER.size} bytes before the trailer, which says {length}"
    file.seek(0)
    if _digest(file, length) != expected:
        return "its bytes do not match the SHA-256 in its trailer"
    return None


def _commit(
    folder: Folder,
    chunks: Iterable[Buffer],
    sealed: bool,
    disk: Disk,
    publish: Callable[[Path, int, str, int | None], Path],
) -> Path:
    with folder.opened() as at:
        temporary = folder / temporary_name()
        try:
            length, digest = _write(temporary, chunks, sealed, disk, at)
            target = publish(temporary, length, digest, at)
        except BaseException:  # an interrupt, too, must leave no temporary
            with suppress(OSError):  # the reason worth reporting is the first one
                disk.remove(temporary, at)
            raise
        disk.sync_folder(folder.path, at)
        folder.check_same(at)  # what is not where its path says was not committed
    return target


def _write(path: Path, chunks: Iterable[Buffer], sealed: bool, disk: Disk, at: int | None) -> tuple[int, str]:
    """Write and sync a new file; return its length and SHA-256, computed on the way."""
    running, length = hashlib.sha256(), 0
    descriptor = disk.create(path, at)
    try:
        for piece in _pieces(chunks):
            running.update(piece)
            _write_all(descriptor, piece, disk)
            length += len(piece)
        if sealed:
            trailer = TRAILER.pack(MAGIC, length, running.digest())
            running.update(trailer)
            _write_all(descriptor, memoryview(trailer), disk)
            length += len(trailer)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    return length, running.hexdigest()


def _pieces(chunks: Iterable[Buffer]) -> Iterator[memoryview]:
    for chunk in chunks:
        view = memoryview(chunk)
        if view.nbytes == 0:  # cast() refuses zeros in a shape
            continue
        view = view.cast("B")
        for start in range(0, len(view), _PIECE):
            yield view[start : start + _PIECE]


def _write_all(descriptor: int, data: memoryview, disk: Disk) -> None:
    while data:
        written = disk.write(descriptor, data)
        if written <= 0:
            raise OSError(errno.EIO, "the disk accepts no more bytes")
        data = data[written:]


def _rename_to_free_name(temporary: Path, path: Path, disk: Disk, at: int | None) -> None:
    try:
        disk.link(temporary, path, at)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without hard links there is no atomic "unless it exists": look first, and accept the gap of microseconds.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        disk.rename(temporary, path, at)
    else:
        disk.remove(temporary, at)


def _named(path: Path, at: int | None) -> str | Path:
    return path if at is None else path.name


def _digest(file: BinaryIO, length: int) -> bytes:
    running = hashlib.sha256()
    while length > 0 and (piece := file.read(min(length, 1 << 20))):
        running.update(piece)
        length -= len(piece)
    return running.digest()


def _write_error(error: OSError, path: Path, consequence: str) -> StoreWriteError:
    reason = error.strerror or str(error) or type(error).__name__
    failure = StoreWriteError(f"cannot write to {path}: {reason} ({consequence}); {_remedy(error.errno)}")
    failure.errno = error.errno
    return failure


def _remedy(number: int | None) -> str:
    match number:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return "free some space, or raise the limit, and run again"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return "make the folder writable, or name another one"
        case errno.ENOENT | errno.ENOTDIR:
            return "the folder must exist"
        case _:
            return "check the disk and run again"
