"""What decoding has to say about a kind of file, once in a process and not once a file.

Layer: the bottom of images. Standard library only.
"""

from __future__ import annotations

import logging
import threading

_log = logging.getLogger("embedkit")
_lock = threading.Lock()
_said: set[str] = set()


def say_once(text: str) -> None:
    """Log a warning, unless it was logged before; from any thread."""
    with _lock:
        if text in _said:
            return
        _said.add(text)
    _log.warning("%s", text)
