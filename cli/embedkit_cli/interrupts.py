"""Ctrl-C before the command line is there, and after it has done its work.

Layer: cli, its bottom. Standard library only, and little of it: it is what is imported first.
"""

import os
import signal
from types import FrameType


def leave(number: int, frame: FrameType | None) -> None:
    """End at once: there is nothing yet, or nothing any more, that had to be put in order."""
    os._exit(128 + number)


def leave_at_once() -> None:
    """Let Ctrl-C end the process without a traceback while the rest is imported, where it would end it at all."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
