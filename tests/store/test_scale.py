"""Many rows in bounded memory: a small form, and with EMBEDKIT_SLOW=1 ten million rows of 768 (16 GB on the disk)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path: Path, rows: int, width: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.store_scale", "--folder", str(tmp_path)]
    command += ["--rows", str(rows), "--width", str(width)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for name in ("first_read", "second_read"):
        read = outcome[name]
        assert (read["missing"], read["invented"], read["wrong"]) == (0, 0, 0)
    return outcome


def test_a_store_of_many_rows_is_read_in_bounded_memory(tmp_path: Path) -> None:
    outcome = run(tmp_path, 300_000, 64)
    assert outcome["first_read"]["gathered_rows"] == 50_000


@pytest.mark.skipif(os.environ.get("EMBEDKIT_SLOW") != "1", reason="takes minutes and 16 GB: set EMBEDKIT_SLOW=1")
def test_ten_million_rows(tmp_path: Path) -> None:
    outcome = run(tmp_path, 10_000_000, 768)
    assert outcome["write"]["anonymous_mib"] < 2048
    for name in ("first_read", "second_read"):
        assert outcome[name]["anonymous_mib"] < 1536
    assert outcome["second_read"]["open_seconds"] < 30
