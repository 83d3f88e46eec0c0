"""How well near-duplicates are told from different images by features: what `embedkit.evaluation.duplicates` rests on.

    python -m benchmarks.near_duplicates [--assets ../shared] [--store STORE]

Of three sets of real images, 120 each are re-encoded (JPEG, quality 75 and 40), halved in size, and cropped by 2, 5 and
10 % of each side. Every variant is compared with all originals, every original with all others (byte-for-byte copies
left out), and the shares that the rule flags are written down: of variants it should be large, of originals small.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedkit import FeatureTable, extract
from embedkit.evaluation.duplicates import NEAR_COSINE, NEAR_RATIO

SETS = ("grocery", "pacs", "imagenet_sample")
MODELS = ("pixels32", "vit_tiny_patch16_224", "mobilenetv2_100")
VARIANTS = ("quality 75", "quality 40", "half size", "crop 2 %", "crop 5 %", "crop 10 %")


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
            else:
                cut = int(name.split()[1]) / 200
                box = (width * cut, height * cut, width * (1 - cut), height * (1 - cut))
                changed = image.crop(tuple(round(side) for side in box))
            file = folder / name / f"{number:03d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            changed.save(file, quality=quality)
            written.append(file)
    return written


def flagged(similarities: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    nearest = 1 + np.sort(-similarities, axis=1)[:, :10]  # distances, ascending
    return (nearest[:, 0] <= 1 - NEAR_COSINE) & (nearest[:, 0] <= NEAR_RATIO * nearest[:, 9])


def measure(assets: Path, data: str, model: str, folder: Path, store: Path) -> dict[str, Any]:
    root = assets / "data" / data
    with (root / "split.csv").open(newline="") as file:
        originals = [root / row["path"] for row in csv.DictReader(file)]
    variants = write_variants(random.Random(0).sample(originals, 120), folder / data)
    manifest = folder / f"{data}.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("path",), *((path,) for path in [*originals, *variants])])
    options: dict[str, Any] = {}
    if model != "pixels32":
        options = {"weights": str(assets / "weights" / f"{model}.safetensors"), "precision": "fp32", "engine": "torch"}
    extract(manifest, model, store=store, output=folder / "features.h5", force=True, **options)
    table = FeatureTable.open(folder / "features.h5")
    X = table.X.astype(np.float64) - table.X[: len(originals)].mean(axis=0, dtype=np.float64)
    X /= np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
    known, others = X[: len(originals)], X[len(originals) :]
    _, same = np.unique(table.digests[: len(originals)], axis=0, return_inverse=True)
    between = known @ known.T
    between[same[:, None] == same[None, :]] = -1
    found = flagged(others @ known.T)
    shares = {name: float(found[[path.parent.name == name for path in variants]].mean()) for name in VARIANTS}
    return {"data": data, "model": model, "different images": float(flagged(between).mean()), **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "near_duplicates.json")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for data in SETS:
            for model in MODELS:
                store = arguments.store or Path(folder) / "store"
                results.append(measure(arguments.assets.resolve(), data, model, Path(folder), store))
                print(json.dumps({name: v if isinstance(v, str) else round(v, 4) for name, v in results[-1].items()}))
    record = {"least cosine": NEAR_COSINE, "largest ratio": NEAR_RATIO, "results": results}
    arguments.output.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
