"""How well near-duplicates are told from different images: what `embedkit.evaluation.find_duplicates` rests on.

    python -m benchmarks.near_duplicates [--assets ../shared] [--store STORE]

Of three sets of real images, 150 each are re-encoded (JPEG, quality 75 and 40), halved in size, and cropped by 2, 5 and
10 % of their sides, or by 5 % at one corner. The originals and one kind of variants are searched together. Recall is
the share of variants that are found with their original; precision the share of true pairs among all that are found,
where every pair of different originals counts as false, the few photographs that were taken twice too.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from embedkit import FeatureTable, extract
from embedkit.evaluation import find_duplicates

SETS = ("grocery", "pacs", "imagenet_sample")
COUNT = 150
VARIANTS = ("quality 75", "quality 40", "half size", "crop 2 %", "crop 5 %", "crop 10 %", "corner 5 %")


def write_variants(originals: list[Path], folder: Path) -> list[Path]:
    """Write each image in each variant; the name of the variant is the name of its folder."""
    written: list[Path] = []
    for number, path in enumerate(originals):
        image = Image.open(path).convert("RGB")
        width, height = image.size
        for name in VARIANTS:
            changed, quality = image, 92
            if name.startswith("quality"):
                quality = int(name.split()[1])
            elif name == "half size":
                changed, quality = image.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BICUBIC), 90
            elif name.startswith("corner"):
                changed = image.crop((0, 0, round(0.95 * width), round(0.95 * height)))
            else:
                cut = int(name.split()[1]) / 200
                box = (width * cut, height * cut, width * (1 - cut), height * (1 - cut))
                changed = image.crop(tuple(round(side) for side in box))
            file = folder / name / f"{number:03d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            changed.save(file, quality=quality)
            written.append(file)
    return written


def measure(assets: Path, data: str, folder: Path, store: Path) -> dict[str, Any]:
    root = assets / "data" / data
    with (root / "split.csv").open(newline="") as file:
        originals = [root / row["path"] for row in csv.DictReader(file)]
    chosen = random.Random(0).sample(range(len(originals)), COUNT)
    variants = write_variants([originals[place] for place in chosen], folder / data)
    manifest = folder / f"{data}.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("path",), *((path,) for path in [*originals, *variants])])
    extract(manifest, "pixels32", store=store, output=folder / "features.h5", force=True)
    table = FeatureTable.open(folder / "features.h5")
    _, same = np.unique(table.digests, axis=0, return_inverse=True)
    original_of = dict(
        zip(same[len(originals) :].tolist(), np.repeat(same[chosen], len(VARIANTS)).tolist(), strict=True)
    )
    kinds = np.array(["", *VARIANTS])[[0] * len(originals) + [1 + place for place in range(len(VARIANTS))] * COUNT]
    shares: dict[str, Any] = {}
    for name in VARIANTS:
        rows = np.flatnonzero((kinds == "") | (kinds == name))
        part = table[rows]
        started = time.monotonic()
        pairs = [pair for pair in find_duplicates(part, thorough=True).pairs(part) if pair.kind == "near"]
        seconds = time.monotonic() - started
        found = {(int(same[rows[pair.row]]), int(same[rows[pair.other_row]])) for pair in pairs}
        true = {(one, other) for one, other in found if original_of.get(other, -1) == one}
        shares[name] = {
            "recall": len({other for _, other in true}) / len(set(same[kinds == name].tolist())),
            "precision": len(true) / max(1, len(found)),
            "false": len(found) - len(true),
            "seconds": round(seconds, 2),
        }
    return {"data": data, "originals": len(originals), **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "near_duplicates.json")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for data in SETS:
            results.append(
                measure(arguments.assets.resolve(), data, Path(folder), arguments.store or Path(folder) / "store")
            )
            print(json.dumps(results[-1]), flush=True)
    record = {"variants of each kind": COUNT, "results": results}
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
