"""Where features are kept when nobody says where.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def default_store() -> Path:
    """Return the store of this user: ``EMBEDKIT_STORE``, or a folder in the user's cache folder."""
    chosen = os.environ.get("EMBEDKIT_STORE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/embedkit/store").expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "embedkit" / "store"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "embedkit" / "store"
