"""Files, on the ground floor: committed whole or not at all, recognised, and read as if a stranger had written them.

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
from embedkit.files.identity import TICK_NS, FileIdentity, Witness
from embedkit.files.small import SMALL, parse_json, read_json, read_small, recall_json, remember_json, write_small

__all__ = [
    "Buffer",
    "DISK",
    "Disk",
    "FileIdentity",
    "MAGIC",
    "SMALL",
    "TEMPORARY_PREFIX",
    "TICK_NS",
    "TRAILER",
    "Witness",
    "check_trailer",
    "commit_bytes",
    "commit_to",
    "parse_json",
    "read_json",
    "read_small",
    "recall_json",
    "remember_json",
    "seal",
    "write_small",
]
