"""Files, on the ground floor: committed whole or not at all, recognised, and read as if a stranger had written them.

Layer: above errors, below everything else. Standard library and NumPy only.
"""

from embedkit.files.budget import INFLATING, Budget, inflated_limit
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
    "Budget",
    "Buffer",
    "DISK",
    "Disk",
    "FileIdentity",
    "INFLATING",
    "MAGIC",
    "SMALL",
    "TEMPORARY_PREFIX",
    "TICK_NS",
    "TRAILER",
    "Witness",
    "check_trailer",
    "commit_bytes",
    "commit_to",
    "inflated_limit",
    "parse_json",
    "read_json",
    "read_small",
    "recall_json",
    "remember_json",
    "seal",
    "write_small",
]
