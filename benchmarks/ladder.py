"""The ladder of `embedkit finetune` on real photographs: what each rung is worth, over seeds, and what it costs.

    python -m benchmarks.ladder [RUN ...] [--assets ../shared] [--store STORE] [--folder FOLDER] [--data grocery,pacs]
                                [--seeds 0,1,2] [--json FILE]

A run is a command that is typed as it stands below; each is a process of its own, beside nothing else if its times are
to mean anything, and its report is kept in `--folder`: one that is there is not made again. Without `--store` a seed
begins with an empty one, so that its time holds the passes of the blocks before. Variants (mixup, ema, lite0, ...) are
tested against `cached` of the same seed by McNemar's test on the same tested images, which chose nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.evaluation import mcnemar_test

TINY = ("--model", "vit_tiny_patch16_224", "--weights", "{assets}/weights/vit_tiny_patch16_224.safetensors")
MOBILE = ("--model", "mobilenetv2_100", "--weights", "{assets}/weights/mobilenetv2_100.safetensors")
LITE = ("--model", "tf_efficientnet_lite0", "--weights", "bundled")
SHORT = ("--epochs", "8", "--trial-epochs", "3", "--rates", "3e-4")

RUNS: dict[str, tuple[str, ...]] = {
    "cached": TINY,
    "lora": (*TINY, "--until", "lora", "--skip", "head,cached"),
    "bias": (*TINY, "--until", "bias", "--skip", "head,cached,lora"),
    "gradual": (*TINY, "--until", "gradual", "--skip", "head,cached,lora,bias"),
    "full": (*TINY, "--until", "full", "--skip", "head,cached,lora,bias,gradual", *SHORT),
    "mixup": (*TINY, "--skip", "head", "--mixup", "0.2"),
    "ema": (*TINY, "--skip", "head", "--ema-decay", "0.99"),
    "lite0 stages": (*LITE, "--skip", "head"),
    "mobilenetv2 stages": (*MOBILE, "--skip", "head"),
}
"""What each is given beside the data and the seed."""

AGAINST = "cached"


def climbed(run: str, data: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the report of a run, from its file or by running it."""
    file = options.folder / f"{data}-{run.replace(' ', '-')}-{seed}.json"
    took: dict[str, float] = {}
    if not file.exists():
        with tempfile.TemporaryDirectory() as empty:
            store = options.store or empty
            given = [one.format(assets=options.assets) for one in RUNS[run]]
            target = options.assets / "data" / data / "split.csv"
            command = [sys.executable, "-m", "embedkit_cli", "finetune", str(target), *given]
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run([*command, "--seed", str(seed), "--store", str(store), "-o", str(file)], check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = {
            "seconds": time.monotonic() - started,
            "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "from_an_empty_store": float(options.store is None),
        }
        file.with_suffix(".took").write_text(json.dumps(took))
    elif file.with_suffix(".took").exists():
        took = json.loads(file.with_suffix(".took").read_text())
    return {"run": run, "data": data, "seed": seed, "took": took, "report": json.loads(file.read_text())}


def right_of(rung: dict[str, Any]) -> np.ndarray:
    rows = rung["rows"]
    return np.asarray(rows["y_true"]) == np.asarray(rows["y_pred"])


def row_of(one: dict[str, Any], beside: dict[str, Any] | None) -> dict[str, Any]:
    """Return the last rung of a run beside the frozen probe, and beside `cached` of the same seed."""
    first, last = one["report"]["rungs"][0], one["report"]["rungs"][-1]
    tuned = last["chosen"] if last["supported"] else None
    p = None
    if beside is not None and beside is not one:
        p = mcnemar_test(right_of(last), right_of(beside["report"]["rungs"][-1])).p_value
    return {
        "run": one["run"],
        "data": one["data"],
        "seed": one["seed"],
        "frozen": first["value"],
        "accuracy": last["value"],
        "low": last["interval"][0],
        "high": last["interval"][1],
        "p_against_frozen": mcnemar_test(right_of(last), right_of(first)).p_value,
        "p_against_cached": p,
        "tuned": "nothing" if tuned is None else f"last {tuned['depth']}, {tuned['rate']:g}, share {tuned['alpha']:g}",
        "recommended": one["report"]["recommended"],
        "parameters": last["trained_parameters"],
        "rung_cpu_seconds": last["cpu_seconds"],
        "prefix_seconds": one["report"]["prefix_seconds"],
        "peak_megabytes": last["peak_bytes"] / 1e6,
        **one["took"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=[AGAINST], metavar="RUN", help=", ".join(RUNS))
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("ladder"))
    parser.add_argument("--data", default="grocery,pacs")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    for data in options.data.split(","):
        for seed in map(int, options.seeds.split(",")):
            for run in options.runs:
                found.append(climbed(run, data, seed, options))
    beside = {(one["data"], one["seed"]): one for one in found if one["run"] == AGAINST}
    rows = [row_of(one, beside.get((one["data"], one["seed"]))) for one in found]
    print(f"{'run':<18} {'data':<8} seed  frozen  tuned  95 % interval   p          against cached  what")
    for row in rows:
        p = "" if row["p_against_cached"] is None else f"p {row['p_against_cached']:.2g}"
        print(
            f"{row['run']:<18} {row['data']:<8} {row['seed']:>4}  {row['frozen']:6.1%}  {row['accuracy']:5.1%}  "
            f"{row['low']:.1%} - {row['high']:.1%}  {row['p_against_frozen']:<9.2g}  {p:<14}  {row['tuned']}"
        )
    means: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        means.setdefault((row["data"], row["run"]), []).append(row["accuracy"])
    for (data, run), values in means.items():
        print(f"{data}, {run}: mean of {len(values)} seeds {np.mean(values):.1%}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
