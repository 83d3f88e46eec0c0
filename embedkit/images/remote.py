"""Images at URLs (``s3://``, ``gs://``, ``https://``, ``memory://``, ...), read through fsspec.

A remote image goes by its bytes like any other. Nothing is remembered of it between runs: a store of objects has no
stamps that a `StatMemo` could trust, so every run reads it again to know what it is.

Every way to fsspec leads through `file_system`, which asks `access` whether the URL may be followed.

Layer: images; above access. fsspec, imported with the first URL; it brings the protocols whose packages are installed.
"""

from __future__ import annotations

import importlib
import os
import posixpath
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from embedkit.errors import EmbedkitError, MissingExtraError, SourceNotFoundError, UsageError
from embedkit.images.access import RemoteReadError, check_url, is_url

_T = TypeVar("_T")

_usable: set[str] = set()  # protocols that fsspec was seen to have

# Seconds before the second and the third try. Most file systems try again by themselves too; that of https:// does not.
_PAUSES = (0.1, 0.5)
# What no further try changes.
_FINAL = (FileNotFoundError, PermissionError, MemoryError, EmbedkitError, RemoteReadError)


def locate(path: str, folder: str) -> str:
    """Return where a path or URL leads from a folder, which may be a URL too.

    Raises
    ------
    MissingExtraError, UsageError
        A URL that cannot be read on this machine at all.
    ForbiddenUrlError
        One that the user did not name, and data may not.
    """
    if is_url(path):
        check_url(path)
        if _protocol(path) not in _usable:
            file_system(path)
            _usable.add(_protocol(path))
        return path
    if not is_url(folder):
        return os.path.join(folder, path)
    url = posixpath.join(folder, path)
    check_url(url)  # a name with :: in it would make a chain
    return url


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it.

    Raises
    ------
    MissingExtraError
        fsspec, or the package that it needs for this protocol, is not installed.
    UsageError
        A protocol that fsspec does not know, or options that its file system refuses.
    ForbiddenUrlError
        One that the user did not name, and data may not.
    """
    check_url(url)
    protocol = _protocol(url)
    try:
        from fsspec.core import url_to_fs  # pyright: ignore[reportUnknownVariableType]
    except ImportError as error:
        raise MissingExtraError(f"{url}: reading {protocol}:// needs fsspec; pip install 'embedkit[remote]'") from error
    try:
        options = {"get_client": _web_client} if protocol.lower() in ("http", "https") else {}
        return cast("tuple[Any, str]", url_to_fs(url, **options))
    except ImportError as error:
        raise MissingExtraError(f"{url}: reading {protocol}:// needs one more package: {_one_line(error)}") from error
    except Exception as error:  # each protocol has errors of its own
        raise UsageError(
            f"{url}: cannot be read: {_one_line(error)}; expected a URL that fsspec understands"
        ) from error


async def _web_client(**options: Any) -> Any:
    web: Any = importlib.import_module("embedkit.images.web")  # it needs aiohttp
    return await web.web_client(**options)


def list_files(url: str) -> dict[str, int | None]:
    """List what lies at a URL: path relative to it -> size in bytes, in any depth; the path of a file itself is ``""``.

    Raises
    ------
    SourceNotFoundError
        Nothing there, or it cannot be listed.
    MissingExtraError, UsageError, ForbiddenUrlError
    """
    files, path = file_system(url)
    try:
        files.invalidate_cache(path)  # what was listed earlier in this process
        found = cast("dict[str, dict[str, Any]]", _persist(lambda: files.find(path, detail=True)))
    except Exception as error:
        raise SourceNotFoundError(f"{url}: cannot be listed: {_one_line(error)}") from error
    if not found:
        raise SourceNotFoundError(f"{url}: nothing there, expected a folder of images, a manifest or one image")
    return {_relative(name, path): entry.get("size") for name, entry in found.items()}


def match_files(pattern: str) -> list[str]:
    """List the URLs of the files that a pattern with ``*`` in it stands for, sorted.

    Raises
    ------
    SourceNotFoundError
        There is none, or they cannot be listed.
    MissingExtraError, UsageError, ForbiddenUrlError
    """
    folder = pattern[: pattern.index("*")].rpartition("/")[0]
    if not is_url(folder):
        raise UsageError(f"{pattern}: * in place of a bucket or server, expected its name")
    (files, path), (_, start) = file_system(pattern), file_system(folder)
    try:
        files.invalidate_cache(start)
        found = cast("list[str]", _persist(lambda: files.glob(path)))
    except Exception as error:
        raise SourceNotFoundError(f"{pattern}: cannot be listed: {_one_line(error)}") from error
    if not found:
        raise SourceNotFoundError(f"{pattern}: nothing matches, expected at least one file")
    return sorted(f"{folder}/{_relative(name, start)}" for name in found)


def read_range(url: str, start: int, end: int) -> bytes:
    """Return the bytes of a remote file from `start` up to `end`, fewer where it ends before.

    Raises
    ------
    FileNotFoundError, PermissionError, MemoryError
    RemoteReadError
        Anything else, after three tries.
    """

    def read() -> bytes:
        files, path = file_system(url)
        return cast(bytes, files.cat_file(path, start=start, end=end))

    data = _reading(read)
    if len(data) > end - start:
        raise RemoteReadError("cannot be read: its server sends the whole file where a part of it was asked for")
    return data


def size_of(url: str) -> int:
    """Return the size of a remote file in bytes, of which any part can be read.

    Raises
    ------
    FileNotFoundError, PermissionError, MemoryError
    RemoteReadError
        Anything else, after three tries; a server that sends whole files only.
    """

    def look() -> int:
        files, path = file_system(url)
        files.invalidate_cache(path)
        with files.open(path, "rb") as file:
            size: int = file.seek(0, os.SEEK_END)
            if size:
                # A web server that knows no ranges would send it all for each part; this finds it out for one byte.
                file.seek(size - 1)
                file.read(1)
        return size

    return _reading(look)


def read_text_file(url: str) -> bytes:
    """Return the bytes of a remote file that describes a source, such as a manifest.

    Raises
    ------
    SourceNotFoundError
        It cannot be read.
    MissingExtraError, UsageError, ForbiddenUrlError
    """
    files, path = file_system(url)
    try:
        return cast(bytes, _persist(lambda: files.cat_file(path)))
    except Exception as error:
        raise SourceNotFoundError(f"{url}: cannot be read: {_one_line(error)}") from error


def _reading(read: Callable[[], _T]) -> _T:
    try:
        return _persist(read)
    except (FileNotFoundError, PermissionError, MemoryError, RemoteReadError):
        raise
    except Exception as error:  # each protocol has errors of its own
        raise RemoteReadError(f"cannot be read: {_one_line(error)}") from error


def _persist(request: Callable[[], _T]) -> _T:
    """Make a request, again when it fails in a way that may pass."""
    for pause in _PAUSES:
        try:
            return request()
        except _FINAL:
            raise
        except Exception:
            time.sleep(pause)
    return request()


def _relative(name: str, folder: str) -> str:
    return name.removeprefix(folder.rstrip("/")).lstrip("/")


def _protocol(url: str) -> str:
    return url.partition("://")[0]


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
