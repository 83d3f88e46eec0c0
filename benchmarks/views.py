"""What random views gain with a frozen network, at few shots and on all training rows, over seeds.

    python -m benchmarks.views [--assets ../shared] [--store STORE] [--data grocery,pacs] [--shots 4,8] [--seeds 8]
                               [--views 4] [--json FILE]

`probe_views` itself, as `embedkit probe --views` calls it. For each seed so many training images a class are drawn
anew; the tested images stay. A p-value of few shots is of a sign-flip test of the differences of the
seeds, that of one seed McNemar's as the report has it, corrected for both ways.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from embedkit import FeatureRequest, probe_views
from embedkit.evaluation import paired_permutation_test


def with_shots(manifest: Path, shots: int | None, seed: int, folder: Path) -> Path:
    """Write a manifest of so many training images a class, and of all tested ones."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    of_class: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        if row["split"] == "train":
            of_class[row["label"]].append(row)
    draws = np.random.default_rng(seed)
    kept = [row for row in rows if row["split"] == "test"]
    for one in of_class.values():
        kept += [one[place] for place in draws.permutation(len(one))[:shots]]
    out = folder / f"{manifest.parent.name}-{shots}-{seed}.csv"
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split"))
        writer.writerows((manifest.parent.resolve() / row["path"], row["label"], row["split"]) for row in kept)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store")
    parser.add_argument("--data", default="grocery,pacs")
    parser.add_argument("--shots", default="4,8")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    request = FeatureRequest("tf_efficientnet_lite0", "bundled", precision="fp32", engine="torch")
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in options.data.split(","):
            manifest = options.assets / "data" / data / "split.csv"
            for shots in (None, *map(int, options.shots.split(","))):
                found: dict[str, list[float]] = defaultdict(list)
                p: dict[str, float] = {}
                for seed in range(1 if shots is None else options.seeds):
                    part = with_shots(manifest, shots, seed, Path(folder))
                    # The seed of the views stays, so that the tested images pass once; rows are drawn anew.
                    report = probe_views(part, request, views=options.views, store=options.store)
                    found["images"].append(report.singles[0].value)
                    for one, gain in zip(report.fused, report.gains, strict=True):
                        found[gain.way].append(one.value)
                        p[gain.way] = gain.p
                for way, values in found.items():
                    differences = np.subtract(values, found["images"])
                    if len(values) > 1 and differences.any():
                        p[way] = float(paired_permutation_test(np.asarray(values), np.asarray(found["images"])).p_value)
                    lines.append(
                        {
                            "data": data,
                            "shots": "all" if shots is None else shots,
                            "way": way,
                            "accuracy": float(np.mean(values)),
                            "gain": float(differences.mean()),
                            "p": p.get(way),
                            "seeds": len(values),
                        }
                    )
                    print(json.dumps(lines[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
