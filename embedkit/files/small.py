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
import stat
import uuid
from pathlib import Path
from typing import Any, cast

from embedkit.errors import UnreadableFileError
from embedkit.files.commit import TEMPORARY_PREFIX, Buffer

log = logging.getLogger("embedkit")

SMALL = 64 << 20
"""How many bytes a small file may have where nobody says."""

# The deepest of embedkit's own records has less than ten levels; Python's own stack ends near a thousand.
_MOST_LEVELS = 64


def read_small(path: str | os.PathLike[str], most: int = SMALL) -> bytes:
    """Read a regular file of at most so many bytes.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    UnreadableFileError
        It cannot be read, is no regular file, or is larger.
    """
    name = os.fspath(path)
    try:
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise UnreadableFileError(f"{name} is no regular file")
        if status.st_size > most:
            raise UnreadableFileError(f"{name} has more than {most} bytes, too many for a file of its kind")
        with open(name, "rb") as file:
            return file.read(status.st_size)  # a writer gives it other bytes only as another file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"{name} cannot be read: {error.strerror or error}") from error


def read_json(path: str | os.PathLike[str], most: int = SMALL) -> Any:
    """Read a small file of JSON.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    UnreadableFileError
        As `read_small`, or it holds no JSON: cut short, not UTF-8, NaN or an infinity, nested too deeply.
    """
    try:
        return parse_json(read_small(path, most))
    except ValueError as error:
        if isinstance(error, UnreadableFileError):
            raise
        raise UnreadableFileError(f"{os.fspath(path)} holds no JSON: {error}") from error


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text; `ValueError` for NaN, infinities, too many levels, or anything that is none."""
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"it has more than {_MOST_LEVELS} levels") from None
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return value
    raise ValueError(f"it has more than {_MOST_LEVELS} levels")


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


def write_small(path: Path, content: Buffer) -> None:
    """Replace a small file, whole or not at all; `OSError` where that fails. Does not wait for the disk."""
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:  # an interrupt, too, must leave no temporary
        temporary.unlink(missing_ok=True)
        raise


def remember_json(path: Path, value: object) -> None:
    """Keep what saves work, in a folder that is made if need be; a failure is logged and costs only that work."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
