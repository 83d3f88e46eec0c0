"""What the backbones that come from the package registry know: the numbers in docs/backbones.md.

    python -m benchmarks.backbones [--assets ../shared] [--store STORE]

Each is measured as a classifier of ImageNet's thousand classes (timm's own transform, fp32, one photo of every fifth
class) and as a frozen backbone, by `quick` on two sets of photos (fp32 torch, the test split).
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from PIL import Image

from embedkit import FeatureRequest, probe
from embedkit.backbones.bundled import PACKAGES

SETS = ("grocery", "pacs")


def classified(architecture: str, folder: Path) -> dict[str, Any]:
    """Name photos with the whole network, classifier included."""
    create: Any = timm.create_model
    data: Any = timm.data
    model = create(architecture).eval()
    model.load_state_dict(PACKAGES[architecture].read()[1])
    transform = data.create_transform(**data.resolve_model_data_config(model), is_training=False)
    with (folder / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = {1: 0, 5: 0}
    with torch.inference_mode():
        for row in rows:
            best = model(transform(Image.open(folder / row["path"]).convert("RGB"))[None])[0].topk(5).indices.tolist()
            for count in right:
                right[count] += int(row["class_index"]) in best[:count]
    return {"images": len(rows), "top1": right[1] / len(rows), "top5": right[5] / len(rows)}


def probed(architecture: str, folder: Path, store: Path) -> dict[str, Any]:
    request = FeatureRequest(architecture, "bundled", precision="fp32", engine="torch", device="cpu")
    results = probe(folder / "split.csv", request, store=store, floors=False).results
    best = max(results, key=lambda result: result.value)
    return {
        "value": best.value,
        "interval": list(best.interval),
        "estimator": best.estimator,
        "n_test": best.n_test,
        "logistic": next(result.value for result in results if result.estimator == "logistic"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "backbones.json")
    options = parser.parse_args()
    backbones: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        store = options.store or Path(scratch)
        for architecture, package in PACKAGES.items():
            record = {"package": str(package), "sha256": package.sha256}
            record |= classified(architecture, options.assets / "data" / "imagenet_sample")
            record |= {name: probed(architecture, options.assets / "data" / name, store) for name in SETS}
            backbones[architecture] = record
            print(
                f"| `{architecture}` | {record['top1']:.1%} | {record['top5']:.1%} | "
                + " | ".join(f"{record[name]['value']:.1%} ({record[name]['estimator']})" for name in SETS)
                + " |",
                flush=True,
            )
    libraries = {name: version(name) for name in ("torch", "timm", "scikit-learn", "pillow")}
    options.output.write_text(json.dumps({"backbones": backbones, "libraries": libraries}, indent=2) + "\n")


if __name__ == "__main__":
    main()
