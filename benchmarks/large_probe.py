"""Probes of features larger than memory: peak memory and seconds of `embedkit probe` on a file of a million rows.

    python -m benchmarks.large_probe [--rows 1000000] [--classes 100] [--folder /tmp] [--estimators ridge,lda,knn,...]

Writes one file of random features (768 numbers a row; 3 GB for a million rows), probes it with each estimator in a
process of its own, and removes it. Memory is the largest resident set of that process, as the kernel counts it
(getrusage), pages of mapped files included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedkit.specs import BackboneSpec, DecodeSpec, FeatureSpec, PreprocessSpec
from embedkit.tables import TableHead, write_feature_file

WIDTH, BATCH = 768, 16_384


def make_file(path: Path, rows: int, classes: int) -> None:
    random = np.random.default_rng(0)
    centres = random.standard_normal((classes, WIDTH)).astype(np.float32)
    y = random.integers(0, classes, rows)
    spec = FeatureSpec(
        backbone=BackboneSpec(architecture="synthetic", weights="none", width=WIDTH),
        preprocess=PreprocessSpec(
            input_size=(224, 224),
            interpolation="bicubic",
            crop_pct=1.0,
            crop_mode="center",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        decode=DecodeSpec(),
    )
    head = TableHead(
        spec=spec,
        keys=[f"images/{row:08d}.jpg" for row in range(rows)],
        digests=random.integers(0, 256, (rows, 32), dtype=np.uint8),
        labels=[f"class{label:03d}" for label in y],
        split=np.where(random.random(rows) < 0.02, "test", "train").tolist(),
    )

    def batches() -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, rows, BATCH):
            noise = random.standard_normal((min(BATCH, rows - start), WIDTH), dtype=np.float32)
            yield 0.2 * centres[y[start : start + BATCH]] + 2 * noise

    write_feature_file(path, head, batches())


def probe(path: Path, estimator: str) -> dict[str, object]:
    code = "from embedkit_cli.main import main; main()"
    command = [sys.executable, "-c", code, "probe", str(path), "--estimator", estimator, "--no-floors", "--json"]
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        output.seek(0)
        report = json.loads(output.read() or b"{}")
    [result] = report.get("results", [{}])
    return {
        "estimator": estimator,
        "exit_code": process.returncode,
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        **{name: result.get(name) for name in ("value", "params", "n_train", "n_test", "converged")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--estimators", default="ridge,lda,knn,pca+logistic,logistic")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "large_probe.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="embedkit-large-") as folder:
        path = Path(folder) / "large.h5"
        make_file(path, arguments.rows, arguments.classes)
        results: list[dict[str, object]] = []
        record = {
            "rows": arguments.rows,
            "width": WIDTH,
            "classes": arguments.classes,
            "file_gb": round(path.stat().st_size / 1e9, 2),
            "cores": os.cpu_count(),
            "results": results,
        }
        for estimator in arguments.estimators.split(","):
            results.append(probe(path, estimator))
            print(json.dumps(results[-1]), flush=True)
            arguments.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
