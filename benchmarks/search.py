"""Exact search against faiss-cpu's exact index (`IndexFlatIP`), and its cells, in one run.

    python -m benchmarks.search [--rows 200000] [--width 384] [--queries 1,32,1000] [--repeats 3] [--json FILE]

Rows are drawn around 2,000 centres, as features of classes are. Ours reads them from a feature file on disk (in the
system's cache), part by part; faiss has a copy in memory, normalised beforehand, which its times do not count. Ratios
are ours to faiss of rows searched in a second, medians of repeats that take turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from embedkit import FeatureTable, NearestImages
from embedkit.specs import BackboneSpec, DecodeSpec, FeatureSpec, PreprocessSpec
from embedkit.tables import TableHead

K = 10


def feature_file(X: npt.NDArray[np.float32], file: Path) -> FeatureTable:
    spec = FeatureSpec(
        backbone=BackboneSpec(architecture="drawn", width=X.shape[1], weights="none"),
        preprocess=PreprocessSpec(
            input_size=(1, 1),
            interpolation="bicubic",
            crop_pct=1.0,
            crop_mode="center",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        decode=DecodeSpec(),
    )
    digests = np.zeros((len(X), 32), np.uint8)
    digests[:, :8] = np.arange(len(X), dtype=np.uint64)[:, None].view(np.uint8)
    head = TableHead(spec=spec, keys=[str(row) for row in range(len(X))], digests=digests)
    FeatureTable(head, X).write(file)
    return FeatureTable.open(file, verify="size")


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def recall(found: npt.NDArray[Any], exact: npt.NDArray[Any]) -> float:
    return float(np.mean([len({*one} & {*two}) / K for one, two in zip(found.tolist(), exact.tolist(), strict=True)]))


def measure(rows: int, width: int, counts: list[int], repeats: int, folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2000, width)).astype(np.float32)
    X = centres[rng.integers(2000, size=rows)] + 0.7 * rng.standard_normal((rows, width), np.float32)
    table = feature_file(X, folder / "rows.h5")
    queries = X[rng.choice(rows, max(counts), replace=False)] + 0.3 * rng.standard_normal(
        (max(counts), width), np.float32
    )
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    del X
    flat = faiss.IndexFlatIP(width)
    flat.add(unit)
    asked = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    ours = NearestImages(K).fit(table)
    runs: list[dict[str, Any]] = []
    for count in counts:
        took: dict[str, list[float]] = {"embedkit": [], "faiss": []}
        found = exact = np.empty(0)
        for _ in range(repeats):
            time_ours, (_, found) = seconds(lambda count=count: ours.kneighbors(queries[:count]))
            time_faiss, (_, exact) = seconds(lambda count=count: flat.search(asked[:count], K))
            took["embedkit"].append(time_ours)
            took["faiss"].append(time_faiss)
        mid = {name: statistics.median(values) for name, values in took.items()}
        runs.append(
            {
                "queries": count,
                "recall": recall(found, exact),
                "rows_per_second": {name: round(rows * count / value) for name, value in mid.items()},
                "ratio": round(mid["faiss"] / mid["embedkit"], 3),
            }
        )
    build, cells = seconds(lambda: NearestImages(K, method="faiss").fit(table))
    one_pass, (_, exact) = seconds(lambda: ours.kneighbors(queries))
    looked, (_, found) = seconds(lambda: cells.kneighbors(queries))
    return {
        "rows": rows,
        "width": width,
        "exact": runs,
        "cells": {
            "queries": max(counts),
            "recall": recall(found, exact),
            "start_in_exact_passes": round(build / one_pass, 2),
            "speed_ratio_to_exact": round(one_pass / looked, 2),
        },
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "versions": {"faiss": faiss.__version__, "numpy": np.__version__, "python": sys.version.split()[0]},
        "threads": faiss.omp_get_max_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--queries", default="1,32,1000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = [int(part) for part in asked.queries.split(",")]
        measured = measure(asked.rows, asked.width, counts, asked.repeats, Path(folder))
    written = json.dumps(measured, indent=2)
    print(written)
    if asked.json:
        asked.json.write_text(written + "\n")


if __name__ == "__main__":
    main()
