"""A store for a test that does not care where it is."""

from __future__ import annotations

import atexit
import shutil
import tempfile

from embedkit.store import FeatureStore


def new_store() -> FeatureStore:
    """Make an empty store in a folder of its own, which goes with the process."""
    folder = tempfile.mkdtemp(prefix="embedkit-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return FeatureStore(folder)
