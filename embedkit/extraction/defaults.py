"""Where features are kept when nobody says where.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import os
from pathlib import Path


def default_store() -> Path:
    """Return the store of this user: ``EMBEDKIT_STORE``, or a folder in the user's cache folder."""
    chosen = os.environ.get("EMBEDKIT_STORE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("embedkit", appauthor=False) / "store"
