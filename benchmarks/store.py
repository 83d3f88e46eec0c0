"""The feature store against raw files and NumPy, as ratios; prints a table and keeps it as JSON.

    python -m benchmarks.store                      two minutes
    python -m benchmarks.store --repeats 21         calmer medians on a busy machine

Each row compares two ways to do the same work, a and b, in turns (a, b, a, b, ...); the ratio is the median of a over
the median of b. Goals are those of the project's design; a row without a goal is there to be known.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.fault_rows import make_spec
from embedkit.store import FeatureStore
from embedkit.store.parts import write_part

ROWS, WIDTH = 100_000, 768
PART_ROWS = 20_000
LOOK_UPS = 1_000_000

Work = Callable[[], object]


class Table:
    """Rows of a benchmark: measured, printed and kept.

    Parameters
    ----------
    repeats : int
        How often each of the two is measured.
    """

    def __init__(self, repeats: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self._repeats = repeats
        print(f"{'':44}{'store':>10}{'other':>10}{'ratio':>8}{'goal':>8}")

    def compare(self, name: str, store: Work, other: Work, goal: float | None = None, after: Work = int) -> None:
        """Measure two works in turns; `after` cleans up outside the measurement."""
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(self._repeats):
            for work, seconds in zip((store, other), times, strict=True):
                began = time.perf_counter()
                result = work()
                seconds.append(time.perf_counter() - began)
                del result
                after()
        ours, theirs = (statistics.median(seconds) for seconds in times)
        row = {"name": name, "store_seconds": ours, "other_seconds": theirs, "ratio": ours / theirs, "goal": goal}
        self.rows.append(row)
        met = "" if goal is None else f"{goal:8.1f}" + (" met" if ours / theirs <= goal else " MISSED")
        print(f"{name:44}{ours * 1e3:8.1f}ms{theirs * 1e3:8.1f}ms{ours / theirs:8.2f}{met}", flush=True)


def rows_of(count: int, width: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Return random digests and features."""
    chance = np.random.default_rng(0)
    return chance.integers(0, 256, (count, 32), dtype=np.uint8), chance.random((count, width), dtype=np.float32)


def writing(table: Table, folder: Path) -> None:
    """Commit a part of 61 MB, against the same bytes written raw, hashed and synced."""
    digests, features = rows_of(PART_ROWS, WIDTH)
    store = FeatureStore(folder / "write").features(make_spec(WIDTH))
    raw = folder / "raw"

    def commit() -> None:
        writer = store.writer(commit_bytes=1 << 40)
        for first in range(0, PART_ROWS, 64):
            writer.add(digests[first : first + 64], features[first : first + 64])
        writer.commit()

    def write_raw() -> None:
        left = features.reshape(-1).view(np.uint8).data
        hashlib.sha256(left).digest()
        descriptor = os.open(raw, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
        os.close(descriptor)

    def clean() -> None:
        for path in (*store.folder.glob("part-*"), raw):
            path.unlink(missing_ok=True)

    commit()
    clean()
    table.compare("write a part / raw bytes + SHA-256 + fsync", commit, write_raw, 1.5, clean)


def reading(table: Table, folder: Path) -> None:
    """Read 307 MB whole and by a random tenth, from one part and from five."""
    digests, features = rows_of(ROWS, WIDTH)
    np.save(folder / "features.npy", features)
    mapped = np.load(folder / "features.npy", mmap_mode="r")
    rows = np.random.default_rng(1).choice(ROWS, ROWS // 10, replace=False)
    wanted = digests[rows]
    for parts, part_bytes in (("one part", 1 << 40), ("five parts", 64 << 20)):
        path = folder / parts
        with FeatureStore(path).features(make_spec(WIDTH)).writer(commit_bytes=part_bytes) as writer:
            for first in range(0, ROWS, 1000):
                writer.add(digests[first : first + 1000], features[first : first + 1000])
        store = FeatureStore(path).features(make_spec(WIDTH))
        if store.get(wanted).tobytes() != mapped[rows].tobytes():
            raise RuntimeError("the store returns other rows than were written")
        table.compare(
            f"read all rows in order, {parts} / np.load",
            lambda store=store: store.get(digests),
            lambda: np.load(folder / "features.npy"),
            1.1,
        )
        table.compare(
            f"gather a random 10 %, {parts} / np.memmap",
            lambda store=store: store.get(wanted),
            lambda: np.asarray(mapped[rows]),
            1.2 if parts == "one part" else None,
        )
        table.compare(
            f"  of which looking up its digests, {parts}",
            lambda store=store: store.contains(wanted),
            lambda: np.asarray(mapped[rows]),
        )

        def first_use(path: Path = path) -> object:
            for memo in path.rglob("checked.json"):
                memo.unlink()
            return FeatureStore(path).features(make_spec(WIDTH)).get(digests)

        table.compare(
            f"first use with its SHA-256, {parts} / np.load", first_use, lambda: np.load(folder / "features.npy")
        )


def looking_up(table: Table, folder: Path) -> None:
    """Look a million digests up among a million, against a binary search of their prefixes alone."""
    digests, _ = rows_of(LOOK_UPS, 1)
    features = np.zeros((LOOK_UPS, 8), np.float16)
    with FeatureStore(folder / "keys").features(make_spec(8, "float16")).writer(commit_bytes=4 << 20) as writer:
        for first in range(0, LOOK_UPS, 10_000):
            writer.add(digests[first : first + 10_000], features[first : first + 10_000])
    store = FeatureStore(folder / "keys").features(make_spec(8, "float16"))
    asked = np.random.default_rng(1).permutation(digests)
    if not store.contains(asked).all():
        raise RuntimeError("the store misses rows that were written")
    prefixes = np.sort(digests[:, :8].copy().view(np.uint64)[:, 0])
    keys = asked[:, :8].copy().view(np.uint64)[:, 0]
    for name, wanted, found in (("at random", asked, keys), ("in stored order", digests, keys)):
        table.compare(
            f"look 1 M digests up, {name} / np.searchsorted",
            lambda wanted=wanted: store.contains(wanted),
            lambda found=found: np.searchsorted(prefixes, found),
            3.0,
        )


def warm_start(table: Table, folder: Path) -> None:
    """Start a process, open the store and read 1,000 rows, against a process that maps an array."""
    np.save(folder / "asked.npy", rows_of(ROWS, WIDTH)[0][:1000])
    ours = (
        "import numpy as np, sys; from embedkit.store import FeatureStore;"
        "store = FeatureStore(sys.argv[1]); features = store.features(store.spec(store.fingerprints()[0]));"
        "features.get(np.load(sys.argv[2]))"
    )
    theirs = "import numpy as np, sys; np.load(sys.argv[1], mmap_mode='r')[np.arange(1000)]"

    def run(code: str, *arguments: Path) -> None:
        subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)

    table.compare(
        "warm start of a process / np.load(mmap_mode)",
        lambda: run(ours, folder / "five parts", folder / "asked.npy"),
        lambda: run(theirs, folder / "features.npy"),
    )


def small_parts(table: Table, folder: Path) -> None:
    """Open 50,000 rows in 2,500 parts for the second time and look all of them up, against the same rows packed."""
    digests, features = rows_of(50_000, 64)
    spec = make_spec(64)
    for name, rows in (("many", 20), ("packed", 50_000)):
        place = FeatureStore(folder / name).features(spec).folder
        place.mkdir(parents=True)
        for first in range(0, len(digests), rows):
            write_part(place, spec, digests[first : first + rows], [features[first : first + rows]])

    def open_again(name: str) -> None:
        if not FeatureStore(folder / name).features(spec).contains(digests).all():
            raise RuntimeError("the store misses rows that were written")

    time.sleep(0.1)  # what was written within the clock's last tick is not remembered
    began = time.perf_counter()
    open_again("many")
    print(f"the first opening of 2,500 parts takes {time.perf_counter() - began:.2f} s")
    table.compare("open 2,500 parts again / one part", lambda: open_again("many"), lambda: open_again("packed"))


def main() -> None:
    parser = argparse.ArgumentParser(description="The feature store against raw files and NumPy.")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--folder", type=Path, help="where to put 1 GB of files (default: the temporary folder)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "store.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        table = Table(options.repeats)
        for benchmark in (writing, reading, looking_up, warm_start, small_parts):
            benchmark(table, Path(folder))
    load = os.getloadavg()[1]
    print(f"{os.cpu_count()} cores, load {load:.1f}")
    options.output.parent.mkdir(exist_ok=True)
    record = {
        "machine": {"cores": os.cpu_count(), "load_5_minutes": load, "platform": platform.platform()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "repeats": options.repeats,
        "rows": table.rows,
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
