"""A folder that others may write to, used so that no link in it leads anywhere and no lost mount goes unnoticed.

A store may be shared, or may come from a stranger. Whoever opens ``STORE/features/<fingerprint>/part-...`` by that path
follows every symbolic link on the way, and removes, creates or reads what a stranger chose. And when the file system
that held the store is gone, the same path means the disk underneath.

So a `Folder` is opened anew for each use: its root by the path that the user named (links are the user's own there),
compared with what it was when it was opened first, and from there step by step without following links. What happens
in it happens relative to the open folder, by name.

Layer: files. Standard library and errors only.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from embedkit.errors import StoreFormatError, StoreLostError

# Windows opens no folders and has no links that users without rights could make.
BY_FOLDER = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
"""Whether folders can be opened, and files by their names in an open folder."""
_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
# A named pipe would keep its opener waiting for somebody to write into it.
_FILE_FLAGS = (
    os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


class NotRegularError(OSError):
    """What was to be read as a file is a folder, a pipe or a device."""


class Identity(NamedTuple):
    """What a root must stay: device and inode, and the name of a file that is in it.

    A folder that was emptied keeps its inode, and one that was made anew may get that of the one before.
    """

    device: int
    inode: int
    marker: str


class Folder:
    """A folder below a root that somebody named.

    Parameters
    ----------
    root : Path
        Reached as any path is.
    names : tuple of str
        The way from the root to the folder, on which no link is followed.
    identity : Identity, optional
        What the root must be; by default whatever is there.
    """

    __slots__ = ("_identity", "_names", "_root", "path")

    def __init__(self, root: Path, names: tuple[str, ...] = (), identity: Identity | None = None) -> None:
        self._root = root
        self._names = names
        self._identity = identity
        self.path = root.joinpath(*names)

    @classmethod
    def of(cls, folder: Folder | Path) -> Folder:
        """Return a folder that somebody named by its path as one."""
        return folder if isinstance(folder, Folder) else cls(folder)

    @classmethod
    def pinned(cls, root: Path, marker: str) -> Folder:
        """Return a root that must stay the folder that it is now, with a file in it.

        Raises
        ------
        OSError
            It is not there.
        """
        status = os.stat(root)
        return cls(root, (), Identity(status.st_dev, status.st_ino, marker))

    def __repr__(self) -> str:
        return f"Folder({str(self.path)!r})"

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def name(self) -> str:
        """The last name."""
        return self.path.name

    def child(self, *names: str) -> Folder:
        """Return a folder in this one; it need not exist."""
        return Folder(self._root, (*self._names, *names), self._identity)

    def above(self) -> Folder:
        """Return the folder that this one is in."""
        return Folder(self._root, self._names[:-1], self._identity) if self._names else Folder(self._root.parent)

    def way(self) -> list[Folder]:
        """Return the folders from the one below the root to this one."""
        return [Folder(self._root, self._names[:depth], self._identity) for depth in range(1, len(self._names) + 1)]

    @contextmanager
    def opened(self) -> Generator[int | None]:
        """Open the folder; what is done by ``dir_fd=`` of what is yielded is done in it, whatever happens to its path.

        Yields
        ------
        int or None
            A descriptor; None where the operating system has no such thing, then paths must do.

        Raises
        ------
        FileNotFoundError
            It is not there.
        StoreFormatError
            A link is on the way.
        StoreLostError
            Its root is not what it was.
        """
        if not BY_FOLDER:
            self._check_by_path()
            yield None
            return
        descriptor = self._open()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def check_same(self, descriptor: int | None) -> None:
        """Make sure that the path still leads to a folder opened before.

        Raises
        ------
        StoreLostError
            It does not: what was done in the folder is not where its path says.
        """
        try:
            with self.opened() as now:
                if descriptor is None or now is None or os.path.sameopenfile(descriptor, now):
                    return
        except FileNotFoundError:
            pass
        raise _lost(self.path)

    def exists(self) -> bool:
        """Say whether it is there."""
        with suppress(FileNotFoundError), self.opened():
            return True
        return False

    def make(self) -> None:
        """Make the folder if it is not there; never what is above it.

        Raises
        ------
        FileNotFoundError
            What is above it is not there.
        """
        if not self._names:
            with suppress(FileExistsError):
                os.mkdir(self.path)
            return
        with self.above().opened() as above, suppress(FileExistsError):
            os.mkdir(self._names[-1] if above is not None else self.path, dir_fd=above)

    def remove(self) -> None:
        """Remove the folder, which must be empty."""
        with self.above().opened() as above:
            os.rmdir(self._names[-1] if above is not None else self.path, dir_fd=above)

    def names(self) -> list[str]:
        """List what is in it, unsorted; nothing where it is not there."""
        with suppress(FileNotFoundError), self.opened() as here:
            return os.listdir(self.path if here is None else here)
        return []

    def folders(self) -> list[str]:
        """List the folders in it, links to folders left out."""
        with (
            suppress(FileNotFoundError),
            self.opened() as here,
            os.scandir(self.path if here is None else here) as entries,
        ):
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return []

    def stat(self, name: str) -> os.stat_result:
        """Return the status of what has a name in it, of a link itself."""
        with self.opened() as here:
            return status_in(here, self.path / name)

    def stats(self, names: list[str]) -> dict[str, os.stat_result]:
        """Return the status of those of many names that are there."""
        found: dict[str, os.stat_result] = {}
        with suppress(FileNotFoundError), self.opened() as here:
            for name in names:
                with suppress(FileNotFoundError):
                    found[name] = status_in(here, self.path / name)
        return found

    def open_file(self, name: str) -> FileIO:
        """Open a regular file in it for reading.

        Raises
        ------
        FileNotFoundError
            It is not there.
        OSError
            It cannot be opened, or is a link, a pipe or a folder (`NotRegularError`, ``ELOOP``).
        """
        with self.opened() as here:
            path = self.path / name
            return _checked(os.open(path.name if here is not None else path, _FILE_FLAGS, dir_fd=here), path)

    def touch(self, name: str, at: float | None = None) -> None:
        """Make an empty file, or set the times of one that is there to now, or to a time in seconds."""
        with self.opened() as here:
            path = self.path / name
            flags = os.O_WRONLY | os.O_CREAT | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
            descriptor = os.open(path.name if here is not None else path, flags, 0o666, dir_fd=here)
            try:
                os.utime(descriptor if os.utime in os.supports_fd else path, None if at is None else (at, at))
            finally:
                os.close(descriptor)

    def refuse_link(self, name: str) -> None:
        """Refuse a name that is a link, for those who can only open by path.

        Raises
        ------
        StoreFormatError
        """
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(self.stat(name).st_mode):
                raise _link(self.path / name)

    def _open(self) -> int:
        here = self._open_root()
        try:
            if self._identity is not None:
                status = os.fstat(here)
                if (status.st_dev, status.st_ino) != self._identity[:2] or not _is_in(self._identity.marker, here):
                    raise _lost(self._root)
            for depth, name in enumerate(self._names, 1):
                try:
                    below = os.open(name, _FOLDER_FLAGS | _NO_FOLLOW, dir_fd=here)
                except OSError as error:
                    if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(name, here):
                        raise _link(self._root.joinpath(*self._names[:depth])) from None
                    error.filename = str(self._root.joinpath(*self._names[:depth]))  # opened by its last name only
                    raise
                os.close(here)
                here = below
        except BaseException:
            os.close(here)
            raise
        return here

    def _open_root(self) -> int:
        try:
            return os.open(self._root, _FOLDER_FLAGS)
        except FileNotFoundError:
            if self._identity is not None:
                raise _lost(self._root) from None
            raise

    def _check_by_path(self) -> None:
        try:
            status = os.stat(self._root)
        except FileNotFoundError:
            if self._identity is not None:
                raise _lost(self._root) from None
            raise
        if self._identity is not None and (
            (status.st_dev, status.st_ino) != self._identity[:2] or not (self._root / self._identity.marker).exists()
        ):
            raise _lost(self._root)
        for depth in range(1, len(self._names) + 1):
            step = self._root.joinpath(*self._names[:depth])
            if step.is_symlink():
                raise _link(step)
        os.stat(self.path)


def _is_in(name: str, here: int) -> bool:
    try:
        os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def status_in(descriptor: int | None, path: Path) -> os.stat_result:
    """Return the status of a path in an open folder, of a link itself."""
    return os.stat(path.name if descriptor is not None else path, dir_fd=descriptor, follow_symlinks=False)


def open_regular(path: Path, *, follow: bool = True) -> FileIO:
    """Open a file for reading, if it is a regular one: a pipe would keep its reader waiting.

    Parameters
    ----------
    path : Path
    follow : bool
        Open what a link leads to; a file in a store is opened without.

    Raises
    ------
    OSError
        It cannot be opened, or is a folder, a pipe or (without `follow`) a link.
    """
    return _checked(os.open(path, _FILE_FLAGS & (~_NO_FOLLOW if follow else ~0)), path)


def _checked(descriptor: int, path: Path) -> FileIO:
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(errno.EINVAL, "it is no regular file", str(path))
        return FileIO(descriptor, "rb", closefd=True)
    except BaseException:
        os.close(descriptor)
        raise


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _link(path: Path) -> StoreFormatError:
    return StoreFormatError(
        f"{path} is a symbolic link, expected none inside a store: put there what it leads to, or remove it"
    )


def _lost(path: Path) -> StoreLostError:
    return StoreLostError(
        f"{path} is no longer the folder that was opened: a file system was unmounted, or the folder was moved or made "
        "anew; what was acknowledged before is where it was written. Bring it back, and run again"
    )
