"""Files, on the ground floor: committed whole or not at all, recognised, and read as if a stranger had written them.

Layer: above errors, below everything else. Standard library and NumPy only.
"""

from embedkit.files.budget import INFLATING, Budget, Kept, inflated_limit
from embedkit.files.commit import DISK, MAGIC, TRAILER, Buffer, Disk, check_trailer, commit_bytes, commit_to, seal
from embedkit.files.folder import Folder, NotRegularError, open_regular
from embedkit.files.identity import TICK_NS, FileIdentity, Verify, Witness
from embedkit.files.locks import locked
from embedkit.files.small import SMALL, parse_json, read_json, read_small, recall_json, remember_json, write_small
from embedkit.files.temporary import (
    TEMPORARY_PREFIX,
    UNKNOWN_HOME,
    file_system_time,
    home,
    is_abandoned,
    is_gone,
    remove_abandoned,
    temporary_name,
)

__all__ = [
    "Budget",
    "Buffer",
    "DISK",
    "Disk",
    "FileIdentity",
    "INFLATING",
    "Kept",
    "Folder",
    "MAGIC",
    "NotRegularError",
    "SMALL",
    "TEMPORARY_PREFIX",
    "TICK_NS",
    "TRAILER",
    "UNKNOWN_HOME",
    "Verify",
    "Witness",
    "check_trailer",
    "commit_bytes",
    "commit_to",
    "inflated_limit",
    "file_system_time",
    "home",
    "is_abandoned",
    "is_gone",
    "locked",
    "open_regular",
    "parse_json",
    "read_json",
    "read_small",
    "recall_json",
    "remember_json",
    "remove_abandoned",
    "seal",
    "temporary_name",
    "write_small",
]
