"""The short forms of the fault runs; `python -m benchmarks.store_faults` is the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.store_faults import MUST_BE_0

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        ("kills", {"kills": 12, "kills_inside_a_commit": 4, "rows_acknowledged": 50}),
        ("prefixes", {"beginnings_replayed": 60, "torn_files_tried": 50}),
        ("failures", {"calls_failed": 25}),
        ("flips", {"flips": 150}),
        ("traffic", {"rows_written": 1000, "rows_read": 1000, "packs_and_gcs": 10}),
        ("mounts", {"mounts_lost": 3, "rows_acknowledged": 12}),
        ("links", {"links_tried": 9}),
        ("clocks", {"rows_acknowledged": 100}),
        ("signals", {"signals": 6, "rows_acknowledged": 50}),
    ],
)
def test_no_row_is_lost_or_wrong(fault: str, counted: dict[str, int]) -> None:
    counts = run(fault)
    assert {name: counts[name] for name in MUST_BE_0 if counts.get(name)} == {}
    for name, least in counted.items():
        assert counts[name] >= least


def test_full_and_read_only_disks_are_ordinary_errors() -> None:
    counts = run("full_disks")
    assert {name: counts[name] for name in MUST_BE_0 if counts.get(name)} == {}
    assert counts["file_size_limit"] == "EFBIG"
    if "skipped" in counts["read_only"]:
        pytest.skip(f"only under a file size limit: {counts['read_only']}")
    assert (counts["full_file_system"], counts["no_inodes"], counts["read_only"]) == ("ENOSPC", "ENOSPC", "EROFS")


def run(fault: str) -> dict[str, Any]:
    """Run a fault in a process without threads, since it forks."""
    command = [sys.executable, "-m", "benchmarks.store_faults", "--short", fault]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])[fault]
