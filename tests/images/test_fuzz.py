"""Damaged files, in a process with little memory: no crash, no hang, every one accounted for.

The long form, 8,000 files a seed: ``EMBEDKIT_SLOW=1 pytest tests/images/test_fuzz.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")  # not on Windows

SCRIPT = Path(__file__).with_name("fuzzing.py")
ROOT = SCRIPT.parents[2]
SLOW = os.environ.get("EMBEDKIT_SLOW") == "1"


@pytest.mark.parametrize("seed", range(3) if SLOW else [0])
def test_every_damaged_file_is_accounted_for(seed):
    count = 8000 if SLOW else 2000
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), str(seed), str(count), "2000"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    summary = json.loads(finished.stdout)
    outcomes = summary["outcomes"]
    assert sum(outcomes.values()) == count
    assert outcomes["undecodable"] > count / 4
    assert outcomes["decoded"] > count / 4
    assert outcomes.get("out of memory", 0) < count / 100
    for reason, _ in summary["reasons"]:
        assert len(reason) < 140
        assert reason.isprintable()
    assert "Warning" not in finished.stderr
