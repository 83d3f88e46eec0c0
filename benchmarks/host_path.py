"""What the host does for an image beside its pixels, most of it under the interpreter's lock: images of 32 x 32.

    python -m benchmarks.host_path [--images 8000] [--rounds 3]
    python -m benchmarks.host_path --before ../other-checkout     the same, in turns with another checkout
    python -m benchmarks.host_path --photos photos/               real photos, without the network all the same

The network gives zeros, so that all that is measured is what feeds it: reading, hashing, looking up, claiming,
decoding, putting batches together, committing. Each run is a process of its own with as many cores as threads, and
gives images a second and the seconds of processor an image, in all and, by ticks of the clock, in user and in system
mode. What is under the lock is bounded from above by the time in user mode less that of hashing and decoding the same
images in a loop, which give the lock up: a steady measure, also on a machine that others use. With py-spy (``pip
install py-spy``) every run is done once more under it, which samples who holds the lock: that includes the time in
which the holder waits for a core, so it is right on a machine that is quiet. One over the time under the lock is the
most that all cores together can reach.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

THREADS = (1, 2, 4, 8, 16)
WIDTH = 64
"""Of the features: so few that what is done with them is nothing beside an image."""
RATE = 250
"""Samples a second."""


def child(folder: str, threads: int, store: str, side: int) -> None:
    """Extract once in this process, and print what it took."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import dataclasses

    import numpy as np

    from embedkit.backbones import FeatureRequest, load_backbone
    from embedkit.backbones.batching import BatchRunner
    from embedkit.extraction import run
    from embedkit.images import open_source
    from embedkit.store import FeatureStore

    importlib.import_module("torch")  # here, so that its import is not counted

    class Nothing:
        module = None

        def __call__(self, pixels: Any) -> Any:
            return np.zeros((len(pixels), WIDTH), np.float32)

    request = FeatureRequest("pixels32", weights="none")
    backbone = load_backbone(request)
    geometry: dict[str, Any] = {"input_size": (side, side), "crop_pct": 1.0 if side == 32 else 0.95}
    preprocess = dataclasses.replace(
        backbone.preprocess, resize="fast", interpolation="bicubic", crop_mode="center", **geometry
    )
    runner = BatchRunner(Nothing(), 128, fixed=True)
    spec = dataclasses.replace(backbone.spec, width=WIDTH)
    backbone = dataclasses.replace(backbone, spec=spec, preprocess=preprocess, runner=runner)
    source = open_source(folder)
    began, processor, used = time.perf_counter(), time.process_time(), os.times()
    done = run(source, request, FeatureStore(store), backbone=backbone)
    wall, after = time.perf_counter() - began, os.times()
    assert done.forward_passes == len(source)
    found = {"images": len(source), "wall": wall, "processor": time.process_time() - processor}
    found["native"] = native_seconds(source) if side == 32 else 0.0
    print(json.dumps(found | {"user": after.user - used.user, "system": after.system - used.system}))


def native_seconds(source: Any) -> float:
    """Return how long decoding and hashing the images alone take, in user mode."""
    import hashlib

    import simplejpeg

    contents = [Path(path).read_bytes() for path in source.images]
    before = time.process_time()
    for data in contents:
        hashlib.sha256(data)
        simplejpeg.decode_jpeg(data, "RGB")
    return time.process_time() - before


def measure(checkout: Path, folder: Path, threads: int, scratch: Path, *, spy: list[str] | None = None) -> Any:
    store = scratch / "store"
    shutil.rmtree(store, ignore_errors=True)
    call = f"({str(folder)!r}, {threads}, {str(store)!r}, {32 if folder.parent == scratch else 224})"
    code = f"import runpy; runpy.run_path({str(Path(__file__).resolve())!r})['child']{call}"
    paths = [str(checkout), str(checkout / "cli")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    environment.pop("OPENBLAS_CORETYPE", None)
    done = subprocess.run(
        [*(spy or []), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=checkout,
    )
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])


def under_lock(checkout: Path, folder: Path, threads: int, scratch: Path) -> dict[str, Any]:
    """Sample for how long the lock is held, and where."""
    raw = scratch / "raw.txt"
    record = ["py-spy", "record", "--gil", "--format", "raw", "--rate", str(RATE), "--output", str(raw), "--"]
    found = measure(checkout, folder, threads, scratch, spy=record)
    holding: Counter[str] = Counter()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        if "extraction/runner.py" in stack or "concurrent/futures/thread.py" in stack:
            holding[stack.split(";")[-1]] += int(count)
    total = sum(holding.values())
    return {
        "sampled_ms_under_lock": 1e3 * total / RATE / found["images"],
        "samples": total,
        "where": {name: round(count / max(total, 1), 3) for name, count in holding.most_common(12)},
    }


def summary(checkout: str, threads: int, taken: list[Any]) -> dict[str, Any]:
    """Return the medians of several runs, in milliseconds an image."""

    def median(*parts: str) -> float:
        return statistics.median(
            1e3 * (one[parts[0]] - sum(one[less] for less in parts[1:])) / one["images"] for one in taken
        )

    return {
        "checkout": checkout,
        "threads": threads,
        "images": taken[0]["images"],
        "images_per_second": 1e3 / median("wall"),
        "processor_ms": median("processor"),
        "user_ms": median("user"),
        "system_ms": median("system"),
        "ms_under_lock_at_most": median("user", "native"),
    }


def make_images(folder: Path, count: int) -> None:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number:06}.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--before", type=Path, help="another checkout, measured in turns")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "host_path.json")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    checkouts = {"now": Path(__file__).resolve().parent.parent}
    if options.before:
        checkouts = {"before": options.before.resolve(), **checkouts}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = options.photos or scratch / "images"
        if not options.photos:
            make_images(folder, options.images)
        for threads in (count for count in THREADS if count <= cores):
            taken: dict[str, list[Any]] = {checkout: [] for checkout in checkouts}
            for _ in range(options.rounds):
                for checkout, path in checkouts.items():
                    taken[checkout].append(measure(path, folder, threads, scratch))
            for checkout, path in checkouts.items():
                row = summary(checkout, threads, taken[checkout])
                if shutil.which("py-spy"):
                    row |= under_lock(path, folder, threads, scratch)
                rows.append(row)
                print(
                    f"{checkout:<7}{threads:3} threads {row['images_per_second']:8.0f} images/s   ms an image: "
                    f"{row['processor_ms']:.3f}, user {row['user_ms']:.3f}, system {row['system_ms']:.3f}, "
                    f"under the lock at most {row['ms_under_lock_at_most']:.3f}, "
                    f"sampled {row.get('sampled_ms_under_lock', float('nan')):.3f}",
                    flush=True,
                )
    record = {
        "machine": {"cores": cores, "python": platform.python_version(), "load": os.getloadavg()[0]},
        "goal": "0.06 ms an image under the lock",
        "expected": "0.1 to 0.2 ms before",
        "rows": rows,
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
