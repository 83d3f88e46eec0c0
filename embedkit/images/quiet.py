"""Silence Pillow's warnings in the thread that decodes, and in no other.

Pillow warns about broken metadata while it decodes. Under ``-W error`` such a warning would turn a good image into a
failure, and otherwise it would be printed from the middle of a library. `warnings.catch_warnings` cannot help: it
replaces the filters of the whole process, so two threads that leave it in the wrong order leave the wrong filters.
Instead one filter is put in front of the others whose message pattern matches in decoding threads only. It stays:
taking it out would shift the list under a thread that is just walking it, which would then miss the next filter.

Layer: the bottom of images. Standard library only.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast


class _DecodingThreads:
    """In the place of a compiled pattern: matches every text, in a thread that is inside `quiet`."""

    # scikit-learn builds the filters of the parent anew in its workers, from their patterns: this one matches nothing.
    pattern = "(?!)"

    def __init__(self) -> None:
        self.local = threading.local()

    def match(self, text: str) -> bool:
        return bool(getattr(self.local, "depth", 0))

    def __reduce__(self) -> str:
        return "_DECODING"  # joblib sends the filters of the parent to its workers


_DECODING = _DecodingThreads()
_FILTER = ("ignore", _DECODING, Warning, None, 0)


@contextmanager
def quiet() -> Generator[None]:
    """Ignore the warnings of this thread, leaving those of other threads alone."""
    if getattr(sys.flags, "context_aware_warnings", False):  # Python 3.14 and later, where filters belong to a context
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
        return
    filters = cast(list[Any], warnings.filters)
    # Others may have put filters in front, or have replaced the list, since the last time.
    if not filters or filters[0] != _FILTER:
        filters.insert(0, _FILTER)
    _DECODING.local.depth = getattr(_DECODING.local, "depth", 0) + 1
    try:
        yield
    finally:
        _DECODING.local.depth -= 1
