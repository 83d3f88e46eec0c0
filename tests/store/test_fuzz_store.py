"""Some hundred changed files, a dozen of each kind; `python -m benchmarks.fuzz` is the long form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.fuzz import MUST_BE_0

ROOT = Path(__file__).resolve().parents[2]


def test_a_changed_file_is_refused_or_makes_no_difference() -> None:
    """In a process without threads, since it forks."""
    command = [sys.executable, "-m", "benchmarks.fuzz", "--mutations", "12"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert {"marker", "checked.json", "part", "undecodable", "memo", "feature_file", "plan"} <= counts.keys()
    for kind, outcomes in counts.items():
        assert sum(outcomes.values()) == 12, kind
        assert {name: outcomes[name] for name in MUST_BE_0 if outcomes.get(name)} == {}, (kind, done.stderr)
        assert outcomes.get("refused", 0) + outcomes.get("right", 0) >= 5, kind
    assert done.returncode == 0
