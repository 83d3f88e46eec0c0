"""The benchmarks that say something of the others, and the one of a GPU where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from benchmarks.all import page, slower

ROOT = Path(__file__).parent.parent


def test_what_got_slower_is_told_by_name_whatever_the_order_of_rows():
    before = {"rows": [{"name": "a", "ours_s": 1.0}, {"name": "b", "ours_s": 1.0, "images_per_second": 90.0}]}
    now = {"rows": [{"name": "b", "ours_s": 1.2, "images_per_second": 30.0}, {"name": "a", "ours_s": 4.0}]}
    assert slower(before, now) == [
        "rows[b].images_per_second: 90 before, 30 now (3.00 times)",
        "rows[a].ours_s: 1 before, 4 now (4.00 times)",
    ]
    assert slower(now, before) == []
    assert slower(None, now) == []


def test_the_page_has_every_result_and_no_broken_table():
    lines = page().splitlines()
    stored = {file.stem for file in (ROOT / "benchmarks" / "results").glob("*.json")} - {"machine"}
    assert {line.removeprefix("## ") for line in lines if line.startswith("## ")} == stored
    for above, line in pairwise(lines):
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|")


def test_the_benchmark_of_gpus_runs_without_one(tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.gpu",
        "--device",
        "cpu",
        "--quick",
        "--images",
        "24",
        "--sleep",
        "0.05",
    ]
    done = subprocess.run(
        [*command, "--sleep", "0.05", "--output", str(tmp_path / "gpu.json")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    measured, asleep = record["rows"]
    assert {"decode", "eager", "ours", "loop", "tuned loop", "of_the_least", "bottleneck"} <= set(measured)
    assert measured["bottleneck"] in ("decode", "eager")
    # A device that sleeps for 8 images cannot give more than it does; the rest of the run is start and end.
    assert asleep["eager"] == 8 / 0.05
    assert 0 < asleep["ours"] < asleep["eager"]
    assert asleep["stages"]["on_device"]
