"""Silence Pillow's warnings in the thread that decodes, and in no other.

Pillow warns about broken metadata while it decodes. Under ``-W error`` such a warning would turn a good image into a
failure, and otherwise it would be printed from the middle of a library. `warnings.catch_warnings` cannot help: it
replaces the filters of the whole process, so two threads that leave it in the wrong order leave the wrong filters.
Instead one filter is put in front of the others whose message pattern matches in decoding threads only; it is taken out
when the last of them is done.

Layer: the bottom of images. Standard library only.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, cast


class _DecodingThreads:
    """In the place of a compiled pattern: matches every text, in a thread that is inside `quiet`."""

    def __init__(self) -> None:
        self.local = threading.local()

    def match(self, text: str) -> bool:
        return bool(getattr(self.local, "depth", 0))

    def __reduce__(self) -> str:
        # joblib sends the filters of the parent to its workers.
        return "_DECODING"


_DECODING = _DecodingThreads()
_FILTER = ("ignore", _DECODING, Warning, None, 0)
_lock = threading.Lock()
_threads_inside = 0


@contextmanager
def quiet() -> Generator[None]:
    """Ignore the warnings of this thread, leaving those of other threads alone."""
    if getattr(sys.flags, "context_aware_warnings", False):  # Python 3.14 and later, where they belong to the thread
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _threads_inside
    with _lock:
        filters = _filters()
        # Someone may have put other filters in front, or have replaced the list, since the last thread came in.
        if not filters or filters[0] is not _FILTER:
            filters.insert(0, _FILTER)
        _threads_inside += 1
    _DECODING.local.depth = getattr(_DECODING.local, "depth", 0) + 1


def _leave() -> None:
    global _threads_inside
    _DECODING.local.depth -= 1
    with _lock:
        _threads_inside -= 1
        if not _threads_inside:
            filters = _filters()
            with suppress(ValueError):
                while True:
                    filters.remove(_FILTER)


def _filters() -> list[Any]:
    return cast(list[Any], warnings.filters)
