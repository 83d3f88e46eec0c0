"""The largest memory of this process since a moment, and whether memory has ended.

Layer: adaptation. Standard library.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path


class Peak:
    """Measures from its making on where the system can forget an earlier peak (Linux); else since the process began."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM (proc(5))

    def read(self) -> int:
        """Return bytes; 0 where the system does not say."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        try:
            import resource
        except ImportError:
            return 0
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


_ENDED = ("out of memory", "not enough memory", "allocate memory")
"""What torch says of CPUs and of accelerators."""


def memory_ended(error: BaseException) -> bool:
    """Whether an error says that memory has ended."""
    return isinstance(error, MemoryError) or any(said in str(error).lower() for said in _ENDED)
