from __future__ import annotations

import os
from pathlib import Path

import pytest

# Tests run in several processes at once (see pyproject.toml): a thread for each core in each of them only gets in the
# way. Read when NumPy and torch are imported, so also by what the tests start.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with real weights and images; tests that need it skip, saying so, where it is absent."""
    folder = (ROOT / os.environ.get("EMBEDKIT_TEST_ASSETS", "../shared")).resolve()
    if not (folder / "weights" / "README.md").is_file():
        pytest.skip(f"real weights and images are absent: no {folder}/weights (set EMBEDKIT_TEST_ASSETS)")
    return folder
