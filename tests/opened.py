"""What a stretch of code opens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_watchers: list[list[str]] = []
_installed = False


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Give a list that fills with the names of all files that this process opens, by Python or by `os.open`."""
    global _installed
    if not _installed:  # an audit hook stays for good
        sys.addaudithook(_watch)
        _installed = True
    opened: list[str] = []
    _watchers.append(opened)
    try:
        yield opened
    finally:
        _watchers.remove(opened)


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        for opened in _watchers:
            opened.append(str(arguments[0]))
