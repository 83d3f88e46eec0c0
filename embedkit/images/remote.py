"""Images at URLs (``s3://``, ``gs://``, ``https://``, ``memory://``, ...), read through fsspec.

A remote image goes by its bytes like any other. Nothing is remembered of it between runs: a store of objects has no
stamps that a `StatMemo` could trust, so every run reads it again to know what it is.

Layer: images, its bottom. fsspec, imported with the first URL; it brings the protocols whose packages are installed.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any, cast

from embedkit.errors import MissingExtraError, SourceNotFoundError, UnreadableImageError, UsageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_usable: set[str] = set()  # protocols that fsspec was seen to have


def is_url(text: str) -> bool:
    """Say whether a text begins like a URL (``https://``, ``s3://``)."""
    return _URL.match(text) is not None


def locate(path: str, folder: str) -> str:
    """Return where a path or URL leads from a folder, which may be a URL too.

    Raises
    ------
    MissingExtraError, UsageError
        A URL that cannot be read on this machine at all.
    """
    if is_url(path):
        if _protocol(path) not in _usable:
            file_system(path)
            _usable.add(_protocol(path))
        return path
    return posixpath.join(folder, path) if is_url(folder) else os.path.join(folder, path)


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it.

    Raises
    ------
    MissingExtraError
        fsspec, or the package that it needs for this protocol, is not installed.
    UsageError
        A protocol that fsspec does not know, or options that its file system refuses.
    """
    protocol = _protocol(url)
    try:
        from fsspec.core import url_to_fs  # pyright: ignore[reportUnknownVariableType]
    except ImportError as error:
        raise MissingExtraError(f"{url}: reading {protocol}:// needs fsspec; pip install 'embedkit[remote]'") from error
    try:
        return cast("tuple[Any, str]", url_to_fs(url))
    except ImportError as error:
        raise MissingExtraError(f"{url}: reading {protocol}:// needs one more package: {_one_line(error)}") from error
    except Exception as error:  # each protocol has errors of its own
        raise UsageError(
            f"{url}: cannot be read: {_one_line(error)}; expected a URL that fsspec understands"
        ) from error


def list_files(url: str) -> dict[str, int | None]:
    """List what lies at a URL: path relative to it -> size in bytes, in any depth; the path of a file itself is ``""``.

    Raises
    ------
    SourceNotFoundError
        Nothing there, or it cannot be listed.
    MissingExtraError, UsageError
    """
    files, path = file_system(url)
    try:
        found = cast("dict[str, dict[str, Any]]", files.find(path, detail=True))
    except Exception as error:
        raise SourceNotFoundError(f"{url}: cannot be listed: {_one_line(error)}") from error
    if not found:
        raise SourceNotFoundError(f"{url}: nothing there, expected a folder of images, a manifest or one image")
    base = path.rstrip("/")
    return {name.removeprefix(base).lstrip("/"): entry.get("size") for name, entry in found.items()}


def read_remote(url: str, limit: int) -> bytes:
    """Return the first `limit` + 1 bytes at a URL, which is all of a file within the limit.

    Raises
    ------
    UnreadableImageError
    """
    try:
        files, path = file_system(url)
        return cast(bytes, files.cat_file(path, start=0, end=limit + 1))
    except FileNotFoundError as error:
        raise UnreadableImageError("no such file") from error
    except PermissionError as error:
        raise UnreadableImageError("permission denied") from error
    except MemoryError as error:
        raise UnreadableImageError("not enough memory to read it") from error
    except Exception as error:  # each protocol has errors of its own
        raise UnreadableImageError(f"cannot be read: {_one_line(error)}") from error


def read_text_file(url: str) -> bytes:
    """Return the bytes of a remote file that describes a source, such as a manifest.

    Raises
    ------
    SourceNotFoundError
        It cannot be read.
    MissingExtraError, UsageError
    """
    files, path = file_system(url)
    try:
        return cast(bytes, files.cat_file(path))
    except Exception as error:
        raise SourceNotFoundError(f"{url}: cannot be read: {_one_line(error)}") from error


def _protocol(url: str) -> str:
    return url.partition("://")[0]


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
