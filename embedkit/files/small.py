"""Small files beside the features (memos, leases, records, plans), which others may have damaged or made up.

Whatever is wrong with one, a reader learns it in one way: `UnreadableFileError`, or None where the file only saves
work. Writing replaces such a file whole, by one rename, without waiting for the disk: losing it costs work, no more.

Layer: files, above commit. Standard library and errors only.
"""

from __future__ import annotations

import json
import logging
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from embedkit.errors import UnreadableFileError
from embedkit.files.commit import Buffer
from embedkit.files.folder import Folder, open_regular
from embedkit.files.temporary import temporary_name

log = logging.getLogger("embedkit")

SMALL = 64 << 20
"""How many bytes a small file may have where nobody says."""

# The deepest of embedkit's own records has less than ten levels; Python's own stack ends near a thousand.
_MOST_LEVELS = 64

# A value takes about 100 bytes of memory and at least one comma or bracket of text.
_MOST_VALUES = 1 << 22


def read_small(path: str | os.PathLike[str], most: int = SMALL, *, follow: bool = True) -> bytes:
    """Read a regular file of at most so many bytes; without `follow` no link, as in a folder that others write to.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    UnreadableFileError
        It cannot be read, is no regular file, or is larger.
    """
    name = os.fspath(path)
    try:
        with open_regular(Path(name), follow=follow) as file:  # opening a pipe would wait for its writer
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise UnreadableFileError(f"{name} has more than {most} bytes, too many for a file of its kind")
            content = bytearray()
            while piece := file.read(size - len(content)):  # a writer gives it other bytes only as another file
                content += piece
            return bytes(content)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"{name} cannot be read: {error.strerror or error}") from error


def read_json(path: str | os.PathLike[str], most: int = SMALL, *, follow: bool = True) -> Any:
    """Read a small file of JSON; see `read_small`.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    UnreadableFileError
        As `read_small`, or it holds no JSON: cut short, not UTF-8, NaN or an infinity, nested too deeply.
    """
    try:
        return parse_json(read_small(path, most, follow=follow), max(_MOST_VALUES, most >> 6))
    except ValueError as error:
        if isinstance(error, UnreadableFileError):
            raise
        reason = "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise UnreadableFileError(f"{os.fspath(path)} holds no JSON: {reason}") from error


def parse_json(text: bytes | str, most_values: int = _MOST_VALUES, levels: int | None = _MOST_LEVELS) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    ValueError
        It is none, or holds NaN, an infinity, too many levels or more than `most_values`.
    """
    if isinstance(text, str):
        marks = text.count(",") + text.count("[") + text.count("{")
    else:
        marks = text.count(b",") + text.count(b"[") + text.count(b"{")
    if marks > most_values:
        raise ValueError(f"it has more than {most_values} values")
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"it has more than {levels or 'hundreds of'} levels") from None
    if levels is None:
        return value
    level = [value]
    for _ in range(levels):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return value
    raise ValueError(f"it has more than {levels} levels")


def recall_json(path: Path, consequence: str) -> Any:
    """Return what a file remembers; None where it is not there, and also where it is damaged, which is logged.

    Parameters
    ----------
    path : Path
    consequence : str
        What its loss costs, for the log: ``"the backbone is loaded again"``.
    """
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except UnreadableFileError as error:
        log.warning("%s: %s", error, consequence)
        return None


def write_small(path: Path, content: Buffer, folder: Folder | None = None) -> None:
    """Replace a small file, whole or not at all; `OSError` where that fails. Does not wait for the disk.

    Its mode is what the umask says and its group what the folder says, so that all who share a folder share it.
    """
    folder = folder or Folder(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    with folder.opened() as at:
        temporary = folder / temporary_name()
        name, target = (temporary, path) if at is None else (temporary.name, path.name)
        try:
            with open(os.open(name, flags, 0o666, dir_fd=at), "wb") as file:
                file.write(content)
            os.replace(name, target, src_dir_fd=at, dst_dir_fd=at)
        except BaseException:  # an interrupt, too, must leave no temporary
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=at)
            raise


def remember_json(path: Path, value: object) -> None:
    """Keep what saves work; a failure is logged and costs only that work.

    The folder of the file is made if need be, but nothing above it: that may be a file system which is gone.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        write_small(path, json.dumps(value, allow_nan=False).encode())
    except OSError as error:
        log.warning("%s is not remembered: %s", path, error)


def _parts(value: Any) -> list[Any]:
    inside = cast(dict[str, Any], value).values() if isinstance(value, dict) else cast(list[Any], value)
    return [part for part in inside if isinstance(part, dict | list)] if isinstance(value, dict | list) else []


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number
