"""A feature store of many rows: what writing, opening, looking up and reading take in seconds and in memory.

    python -m benchmarks.store_scale                            ten million rows of 768 float16 (16 GB on the disk)
    python -m benchmarks.store_scale --rows 100000 --width 32   something smaller

Row i has digest i of a seeded sequence and i itself in its first features, so that every row read is checked. Memory is
the highest anonymous memory of a process (what is mapped from files can be dropped at any time, and is not counted).
The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from benchmarks.fault_rows import make_spec, start, wait
from embedkit.specs import Dtype
from embedkit.store.feature_store import FeatureStore

BLOCK = 1 << 16


def digests_of(block: int) -> npt.NDArray[np.uint8]:
    """Return the digests of a block of rows."""
    return np.random.default_rng(block).integers(0, 256, (BLOCK, 32), dtype=np.uint8)


def features_of(rows: npt.NDArray[np.int64], width: int, dtype: Dtype) -> npt.NDArray[Any]:
    """Return the features of rows: their number in base 1,000, exact in float16, then ones."""
    features = np.ones((len(rows), width), dtype)
    for column, unit in enumerate((1, 1_000, 1_000_000)):
        features[:, column] = rows // unit % 1_000
    return features


def write(folder: Path, rows: int, width: int, dtype: Dtype, outcome: dict[str, Any]) -> None:
    """Write all rows, by the block."""
    features = FeatureStore(folder / "store").features(make_spec(width, dtype))
    with features.writer(commit_bytes=256 << 20) as writer:
        for first in range(0, rows, BLOCK):
            numbers = np.arange(first, min(rows, first + BLOCK))
            writer.add(digests_of(first // BLOCK)[: len(numbers)], features_of(numbers, width, dtype))
    outcome["parts"] = len(list(features.folder.glob("part-*")))
    outcome["bytes"] = sum(path.stat().st_size for path in features.folder.glob("part-*"))


def read(folder: Path, rows: int, width: int, dtype: Dtype, outcome: dict[str, Any]) -> None:
    """Open the store, look up rows at random, read some of them and all of them."""

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        outcome[f"{name}_seconds"] = round(time.perf_counter() - began, 3)
        return result

    features = FeatureStore(folder / "store").features(make_spec(width, dtype))
    timed("open", features.refresh)
    chance = np.random.default_rng(0)
    asked = chance.integers(0, rows, min(rows, 1_000_000))
    digests = np.empty((len(asked), 32), np.uint8)
    for block in np.unique(asked // BLOCK):
        here = np.flatnonzero(asked // BLOCK == block)
        digests[here] = digests_of(block)[asked[here] % BLOCK]
    outcome["missing"] = int((~timed("look_up", lambda: features.contains(digests))).sum())
    outcome["invented"] = int(timed("look_up_absent", lambda: features.contains(digests[:, ::-1])).sum())
    some = slice(0, min(len(asked), 50_000))
    got = timed("gather", lambda: features.get(digests[some]))
    outcome["gathered_rows"] = len(got)
    outcome["wrong"] = int((got != features_of(asked[some], width, dtype)).any(axis=1).sum())

    def scan() -> int:
        wrong = 0
        for first in range(0, rows, BLOCK):
            numbers = np.arange(first, min(rows, first + BLOCK))
            wanted = digests_of(first // BLOCK)[: len(numbers)]
            for batch, expected in zip(features.batches(wanted, 4096), _batches(numbers, 4096), strict=True):
                wrong += int((batch[:, :3] != features_of(expected, 3, dtype)).any(axis=1).sum())
        return wrong

    outcome["wrong"] += timed("scan", scan)


def measured(job: Callable[..., None], folder: Path, name: str, *arguments: Any) -> dict[str, Any]:
    """Run a job in a process of its own; return its outcome with its time and its highest anonymous memory."""
    result = folder / f"{name}.json"

    def run() -> None:
        outcome: dict[str, Any] = {}
        highest, done = [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.01):
                highest[0] = max(highest[0], anonymous_memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.perf_counter()
        try:
            job(folder, *arguments, outcome)
        finally:
            done.set()
            watcher.join()
        outcome["seconds"] = round(time.perf_counter() - began, 1)
        outcome["anonymous_mib"] = highest[0] >> 20
        result.write_text(json.dumps(outcome))

    if wait(start(run)):
        raise RuntimeError(f"{name} was killed")
    return cast(dict[str, Any], json.loads(result.read_text()))


def anonymous_memory() -> int:
    """Return the bytes of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


def scale(folder: Path, rows: int, width: int, dtype: Dtype) -> dict[str, Any]:
    """Write a store, then read it in a new process: for the first time, and again."""
    outcome: dict[str, Any] = {"rows": rows, "width": width, "dtype": dtype}
    for name, job in (("write", write), ("first_read", read), ("second_read", read)):
        outcome[name] = measured(job, folder, name, rows, width, dtype)
        print(f"{name}: {outcome[name]}", file=sys.stderr, flush=True)
    return outcome


def _batches(numbers: npt.NDArray[np.int64], rows: int) -> Iterator[npt.NDArray[np.int64]]:
    for first in range(0, len(numbers), rows):
        yield numbers[first : first + rows]


def main() -> None:
    parser = argparse.ArgumentParser(description="What a store of many rows takes in time and memory.")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--dtype", choices=["float16", "float32"], default="float16")
    parser.add_argument("--folder", type=Path, help="where to put the store (default: the system's temporary folder)")
    parser.add_argument("--output", type=Path, help="write the outcome to a JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        outcome = scale(Path(folder), options.rows, options.width, options.dtype)
    print(json.dumps(outcome))
    if options.output:
        options.output.write_text(json.dumps(outcome, indent=1) + "\n")


if __name__ == "__main__":
    main()
