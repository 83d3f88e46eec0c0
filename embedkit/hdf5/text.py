"""Text that the fixed-length strings of HDF5 can hold: valid Unicode, without NUL, not endless.

Layer: the bottom of the store. Standard library and errors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from embedkit.errors import UsageError

MAX_TEXT = 1 << 20
"""Longest text, in bytes of UTF-8."""


def encode_text(value: str, what: str) -> bytes:
    """Return the UTF-8 of a text.

    Parameters
    ----------
    value : str
    what : str
        What the message calls it, such as ``"key"``.

    Raises
    ------
    UsageError
        It holds a NUL or a lone surrogate (of a file name that is not Unicode), or more than `MAX_TEXT` bytes.
    """
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"the {what} {value!r} is not valid Unicode; rename it") from error
    if b"\0" in data:
        raise UsageError(f"the {what} {value!r} holds a NUL character, which HDF5 cannot store; remove it")
    if len(data) > MAX_TEXT:
        raise UsageError(f"the {what} {value[:40]!r}... has {len(data)} bytes; at most {MAX_TEXT} are allowed")
    return data


def check_text(values: Sequence[str], what: str) -> None:
    """Raise UsageError unless all values are text that `encode_text` accepts."""
    try:
        # A million texts one by one take half a second; together a few milliseconds.
        together = "".join(values)
    except TypeError:
        wrong = next(value for value in values if not isinstance(cast(object, value), str))
        raise UsageError(f"a {what} is {wrong!r}; expected text, and '' where there is none") from None
    if "\0" in together or not _is_unicode(together) or max(map(len, values), default=0) > MAX_TEXT // 4:
        for value in values:
            encode_text(value, what)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
