"""The benchmarks that say something of the others, and the one of a GPU where there is none."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.all import COMMANDS, WITHOUT_GPU, page, slower

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


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_benchmark_takes_what_the_one_command_gives_it(name, monkeypatch, tmp_path):
    """Parsing comes before work everywhere: what is required and missing, or not known, shows there."""

    class ParsedError(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def stop(self, *given):
        raise ParsedError(parse(self, *given))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    for more in ("", COMMANDS[name][1], WITHOUT_GPU if name == "gpu" else ""):
        text = f"{COMMANDS[name][0]} {more}".format(file=tmp_path / "a.json", assets=tmp_path, store=tmp_path / "store")
        monkeypatch.setattr(sys, "argv", [name, *text.split()])
        with pytest.raises(ParsedError) as parsed:
            importlib.import_module(f"benchmarks.{name}").main()
        kept = parsed.value.args[0]
        assert tmp_path / "a.json" in (getattr(kept, "json", None), getattr(kept, "output", None))


def test_a_small_run_leaves_the_stored_results_alone(tmp_path):
    stored = {file: file.read_bytes() for file in (ROOT / "benchmarks" / "results").glob("*.json")}
    command = [sys.executable, "-m", "benchmarks.all", "--quick", "--only", "search", "--output", str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "not compared" in done.stdout
    assert {file.name for file in (tmp_path / "new").iterdir()} == {"search.json", "machine.json", "benchmarks.md"}
    facts = json.loads((tmp_path / "new" / "machine.json").read_text())["search"]
    assert {"processor", "cores", "load_before"} <= set(facts)
    assert "## search" in (tmp_path / "new" / "benchmarks.md").read_text()
    assert stored == {file: file.read_bytes() for file in (ROOT / "benchmarks" / "results").glob("*.json")}


def options_of_gpu(seconds=100.0):
    return argparse.Namespace(device="cpu", batch=4, quick=True, precision="fp32", until=time.monotonic() + seconds)


def test_a_step_that_fails_is_entered_and_the_rest_goes_on(monkeypatch, tmp_path):
    def broken(*given):
        raise RuntimeError("CUDA error: the launch timed out\nmore of it")

    monkeypatch.setattr(gpu, "decode_alone", broken)
    paths = gpu.many_photos(tmp_path / "photos", 6)
    row = {"network": "resnet10t", "precision": "fp32"}
    assert gpu.measure(row, paths, tmp_path, options_of_gpu()) is not None
    assert row["errors"] == {"decode": "RuntimeError: CUDA error: the launch timed out"}
    assert row["bottleneck"] == "eager"
    assert row["of_the_least"] == row["ours"] / row["eager"] > 0
    row = {"network": "no such network", "precision": "fp32"}
    assert gpu.measure(row, paths, tmp_path, options_of_gpu()) is None
    assert "no such network" in row["errors"]["backbone"]
    gpu.attempt(row, "late", options_of_gpu(30), broken, needs=45)
    assert row["errors"]["late"].startswith("not begun: ")


def test_steps_of_a_gpu_by_what_they_ask_of_one(monkeypatch):
    """With a device that is the CPU by another name, and a graph that notes how often it is played."""
    backbone = gpu.load_backbone(gpu.FeatureRequest("resnet10t", "random", precision="fp32", engine="torch"))
    played: list[str] = []

    class Graph:
        def replay(self):
            played.append("replay")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: played.append("wait"))
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: module)
    options = options_of_gpu()
    options.device = "cpu:0"  # no GPU, but not the name that means there is none
    assert gpu.cuda_graph(backbone, options) > 0
    assert played == ["replay"] * 4 + ["wait"] + ["replay"] * 4 + ["wait"]
    assert gpu.copy_alone(backbone, options) > 0
    assert gpu.eager(backbone, options) > 0
    assert gpu.compiled(backbone, options)["compiled"] > 0


def test_the_benchmark_of_gpus_runs_without_one(tmp_path):
    file = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--images", "24"]
    command += ["--sleep", "0.05", "--output", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    record = json.loads(file.read_text())
    measured, asleep = record["rows"]
    assert {"decode", "eager", "ours", "loop", "tuned loop", "of_the_least", "bottleneck", "drift"} <= set(measured)
    assert "errors" not in measured
    assert measured["bottleneck"] in ("decode", "eager")
    # A device that sleeps for 8 images cannot give more than it does; the rest of the run is start and end.
    assert asleep["eager"] == 8 / 0.05
    assert 0 < asleep["ours"] < asleep["eager"]
    assert asleep["stages"]["on_device"]
