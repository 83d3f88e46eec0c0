"""Files, on the ground floor: committed whole or not at all.

Layer: above errors, below everything else. Standard library and NumPy only.
"""

from embedkit.files.commit import (
    DISK,
    MAGIC,
    TEMPORARY_PREFIX,
    TRAILER,
    Buffer,
    Disk,
    check_trailer,
    commit_bytes,
    commit_to,
    seal,
)

__all__ = [
    "Buffer",
    "DISK",
    "Disk",
    "MAGIC",
    "TEMPORARY_PREFIX",
    "TRAILER",
    "check_trailer",
    "commit_bytes",
    "commit_to",
    "seal",
]
