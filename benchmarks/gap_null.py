"""How p-values of a gap are spread where there is none: two halves of one data set, over and over.

    python -m benchmarks.gap_null FILE.h5 [--seeds 200] [--rows 300] [--json OUT]

Each seed draws rows of the feature file at random and parts them into halves. Where p-values are uniform, the shares
below 0.05, 0.1, 0.25, 0.5 and 0.75 are those numbers, but for the chance of so many seeds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.stats

from embedkit import FeatureTable
from embedkit.selection import mmd, proxy_a_distance

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    X = FeatureTable.open(asked.file).X.astype(np.float64)
    X = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    found: dict[str, list[float]] = {"proxy-a": [], "mmd": []}
    for seed in range(asked.seeds):
        rows = X[np.random.default_rng(seed).permutation(len(X))[: asked.rows]]
        halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        found["proxy-a"].append(proxy_a_distance(*halves, permutations=99, seed=seed).p_value)
        found["mmd"].append(mmd(*halves, permutations=99, seed=seed).p_value)
    said = {
        name: {
            "shares": {str(level): float(np.mean(np.array(values) <= level)) for level in LEVELS},
            "kolmogorov_smirnov_p": float(scipy.stats.kstest(np.array(values) - 0.005, "uniform").pvalue),
        }
        for name, values in found.items()
    }
    record = {"file": Path(asked.file).name, "seeds": asked.seeds, "rows": asked.rows, "found": said}
    print(json.dumps(record, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
