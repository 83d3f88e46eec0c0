"""What `gap` says of faults that are planted between two halves of the photographs of PACS.

    python -m benchmarks.gap_planted PACS.h5 --images FOLDER [--seeds 2] [--json OUT]

swapped    the labels of dogs and horses are exchanged in the source
mixed      the labels of dogs and horses are dealt anew among them in the source
inverted   the backbone has seen the negatives of the source's, or of the target's images
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from embedkit import FeatureTable
from embedkit.selection import DomainTable, default_adapters, measure_gap
from embedkit.tables import TableHead


def half(table: FeatureTable, X: Any, y: Any, rows: Any, name: str) -> DomainTable:
    some = table[rows]
    head = TableHead(spec=some.spec, keys=some.keys, digests=some.digests, labels=y[rows].tolist())
    return DomainTable(name=name, table=FeatureTable(head, X[rows].astype(some.spec.dtype)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    whole = FeatureTable.open(asked.file)
    table = whole[np.flatnonzero(whole.columns["domain"] == "photo")]
    X, y = table.X, np.asarray(table.y)
    negatives = [ImageOps.invert(Image.open(asked.images / key).convert("RGB")) for key in table.keys]
    with tempfile.TemporaryDirectory() as store:
        inverted = np.asarray(table.embedder(store=store).transform(negatives))
    found: list[dict[str, Any]] = []
    for seed in range(asked.seeds):
        rng = np.random.default_rng(seed)
        one, other = np.array_split(rng.permutation(len(X)), 2)
        swapped = np.where(y == "dog", "horse", np.where(y == "horse", "dog", y))
        mixed, two = y.copy(), np.flatnonzero((y == "dog") | (y == "horse"))
        mixed[two] = rng.permutation(mixed[two])
        planted = {
            "nothing": (X, y, X),
            "swapped": (X, swapped, X),
            "mixed": (X, mixed, X),
            "inverted source": (inverted, y, X),
            "inverted target": (X, y, inverted),
        }
        for name, (of_source, labels, of_target) in planted.items():
            source, target = half(table, of_source, labels, one, "one"), half(table, of_target, y, other, "other")
            gap = measure_gap(source, target, model="m", adapters=default_adapters())
            found.append(
                {"planted": name, "seed": seed, "verdict": gap.verdict, "p": gap.p_values, "evidence": gap.evidence}
            )
            print(f"{name}, seed {seed}: {gap.evidence}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
