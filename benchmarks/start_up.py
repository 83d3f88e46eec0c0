"""How soon a new process computes, and how soon one answers that has nothing to compute.

    python -m benchmarks.start_up [--model resnet50] [--runs 5]

Side by side, in turn, in fresh processes: the first features of eight new images by torch in fp32, by OpenVINO where it
has to convert the network (the first process), and where it finds it in the store's memo (the second). Then the
commands that find everything: `extract`, `info`, `store info`, `predict`, and which of torch and timm they loaded.
Seconds from the start of the process to its answer, the median of all runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EMBED = """
import sys, numpy as np, embedkit
model, engine, precision, store, seed = sys.argv[1:]
images = np.random.default_rng(int(seed)).integers(0, 255, (8, 224, 224, 3), dtype=np.uint8)
options = {"engine": engine, "precision": precision, "device": "cpu", "store": store}
embedder = embedkit.ImageEmbedder(model, weights="random", **options)
assert embedder.transform(images).shape[0] == 8
"""
COMMAND = """
import sys
from embedkit_cli.main import main
try:
    main()
finally:
    print(sorted({"torch", "timm"} & set(sys.modules)), file=sys.stderr)
"""


def seconds(code: str, *arguments: str) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return time.perf_counter() - started, done.stderr


def first_features(model: str, runs: int, folder: Path) -> dict[str, Any]:
    taken: dict[str, list[float]] = {"torch": [], "openvino, first process": [], "openvino, second process": []}
    shared = {"torch": folder / "torch", "openvino": folder / "openvino"}
    for number in range(runs + 1):
        new = folder / f"new-{number}"
        cases = [("torch", "torch", shared["torch"]), ("openvino, second process", "openvino", shared["openvino"])]
        for name, engine, store in [*cases, ("openvino, first process", "openvino", new)]:
            took, _ = seconds(EMBED, model, engine, "fp32", str(store), str(number))
            if number:  # the first round fills the stores and the system's cache of files
                taken[name].append(took)
    return {name: {"median": statistics.median(times), "all": times} for name, times in taken.items()}


def found_everything(runs: int, folder: Path) -> dict[str, Any]:
    photos, generator = folder / "photos", np.random.default_rng(0)
    for number in range(200):
        path = photos / ("dark", "light")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 120, (64, 64, 3)) + 120 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    table, model = str(folder / "photos.h5"), str(folder / "model.skops")
    extract = ["extract", str(photos), "-o", table, "--device", "cpu"]
    commands = {
        "extract": extract,
        "info": ["info", table],
        "store info": ["store", "info"],
        "predict": ["predict", model, str(photos)],
    }
    for command in (extract, ["fit", table, "--estimator", "logistic", "-o", model], commands["predict"]):
        seconds(COMMAND, *command)
    taken: dict[str, Any] = {}
    for name, command in commands.items():
        ran = [seconds(COMMAND, *command) for _ in range(runs)]
        times = [took for took, _ in ran]
        loaded = ran[-1][1].strip().splitlines()[-1]
        taken[name] = {"median": statistics.median(times), "all": times, "loaded": loaded}
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "start_up.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["EMBEDKIT_STORE"] = str(Path(scratch, "store"))
        record: dict[str, Any] = {"model": options.model, "cores": os.cpu_count()}
        record["found everything"] = found_everything(options.runs, Path(scratch))
        record["first features"] = first_features(options.model, options.runs, Path(scratch))
    for part in ("first features", "found everything"):
        for name, measured in record[part].items():
            print(f"{name:<28} {measured['median']:6.2f} s   {measured.get('loaded', '')}")
    options.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
