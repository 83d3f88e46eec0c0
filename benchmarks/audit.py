"""How many planted faults the audit finds, in photographs of groceries and in PACS, and what cleanlab finds of them.

    python -m benchmarks.audit [--assets ../shared] [--store STORE] [--seeds 5] [--json FILE]

Wrong labels: 5 % of the images get another label, drawn from all others. The 5 % that are named first are counted;
cleanlab's scores are of the very probabilities that ours are. Labels that were wrong before count as false.
Copies: 2 % of the images are encoded again, halved in size, or cropped by 5 %; pairs that are named and were not
planted count as false.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit import FeatureRequest, FeatureTable, audit, extract
from embedkit.auditing import RANKINGS, out_of_fold, planted_labels, reduced
from embedkit.evaluation import mean_interval

SETS = ("grocery", "pacs")
UNSEEN = ("imagenet_sample/split.csv", "cifar10_wds/test-000000.tar")
"""Sets on which no threshold was chosen; copies are planted in them too."""

MODELS = ("vit_tiny_patch16_224", "mobilenetv2_100")


def table_of(assets: Path, data: str, model: str, store: Path, folder: Path) -> Path:
    file = folder / f"{data}-{model}.h5"
    request = FeatureRequest(model, str(assets / "weights" / f"{model}.safetensors"))
    extract(assets / "data" / data / "split.csv", request, output=file, store=store, force=True)
    return file


def of_cleanlab(y: npt.NDArray[np.intp], probabilities: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[Any]]:
    from cleanlab.rank import get_label_quality_scores

    scores: dict[str, npt.NDArray[Any]] = {}
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        for adjusted in (False, True):
            if adjusted and method == "confidence_weighted_entropy":
                continue  # cleanlab refuses it
            name = method + (", adjusted" if adjusted else "")
            scores[name] = get_label_quality_scores(y, probabilities, method=method, adjust_pred_probs=adjusted)
    return scores


def labels(table: FeatureTable, seeds: int) -> dict[str, Any]:
    y = np.unique(table.y, return_inverse=True)[1]
    recalls: dict[str, list[float]] = {}
    seconds = 0.0
    for seed in range(seeds):
        wrong, rows = planted_labels(y, np.random.default_rng(seed))
        start = time.perf_counter()
        X = reduced(table.X)
        found = out_of_fold(X, wrong, random_state=seed)
        seconds += time.perf_counter() - start
        others = {name: -out_of_fold(X, wrong, ranking=name, random_state=seed).doubt for name in RANKINGS[1:]}
        for name, score in {"embedkit": -found.doubt, **others, **of_cleanlab(wrong, found.probabilities)}.items():
            named = np.argsort(score, kind="stable")[: len(rows)]
            recalls.setdefault(name, []).append(float(np.isin(named, rows).mean()))
    means = {name: round(float(np.mean(values)), 4) for name, values in recalls.items()}
    best = max((name for name in means if name not in ("embedkit", *RANKINGS)), key=lambda name: means[name])
    gains = {name: np.array(recalls[name]) - np.array(recalls["embedkit"]) for name in RANKINGS[1:]}
    return {
        "recall_at_5_percent": means,
        "best_of_cleanlab": best,
        "gain_of_ranking": {
            name: [round(float(end), 4) for end in (gain.mean(), *mean_interval(gain))] for name, gain in gains.items()
        },
        "ratio_to_best": round(means["embedkit"] / means[best], 4),
        "seconds": round(seconds / seeds, 2),
    }


def copies(file: Path, store: Path, seeds: int, model: str | None = None) -> dict[str, Any]:
    checks = [
        audit(file, model=model or (), self_check=True, store=store, random_state=seed).self_check
        for seed in range(seeds)
    ]
    near = [check["near-duplicate"] for check in checks]
    return {
        "planted": sum(one.planted for one in near),
        "found": sum(one.found for one in near),
        "recall": round(float(np.mean([one.recall for one in near])), 4),
        "precision": round(float(np.mean([one.precision for one in near])), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", action="store_true", help="wrong labels alone; the rest of --json stays")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    known = asked.labels and asked.json and asked.json.exists()
    measured: dict[str, Any] = json.loads(asked.json.read_text()) if known else {}
    for data in asked.sets.split(","):
        for model in asked.models.split(","):
            file = table_of(asked.assets, data, model, asked.store, asked.store)
            found = measured.setdefault(f"{data}, {model}", {})
            found["label"] = labels(FeatureTable.open(file), asked.seeds)
            if not asked.labels:
                found["near-duplicate"] = copies(file, asked.store, min(asked.seeds, 2))
            print(json.dumps({f"{data}, {model}": measured[f"{data}, {model}"]}, indent=2), flush=True)
    for data in () if asked.labels else UNSEEN:
        found = copies(asked.assets / "data" / data, asked.store, 2, "pixels32")
        measured[f"{data}, pixels"] = {"near-duplicate": found}
        print(data, found, flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
