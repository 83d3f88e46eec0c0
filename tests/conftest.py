from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with real weights and images; tests that need it skip, saying so, where it is absent."""
    folder = (ROOT / os.environ.get("EMBEDKIT_TEST_ASSETS", "../shared")).resolve()
    if not (folder / "weights" / "README.md").is_file():
        pytest.skip(f"real weights and images are absent: no {folder}/weights (set EMBEDKIT_TEST_ASSETS)")
    return folder
