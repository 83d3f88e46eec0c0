"""What `select` costs and how far its choice is behind the best, over seeds; and what scores would have chosen.

    python -m benchmarks.selection [--assets ../shared] [--store STORE] [--data grocery,pacs] [--seeds 20] [--json FILE]

Seven networks, each with its own output and two layers. Features are computed once, into the store; the seeds then
replay the rounds, and count the images that each would have passed. What is true of a candidate is its accuracy on the
tested images by a full ``quick`` with logistic regression. Beside the regret of the choice stands that of the choice
that training images make at the full cost: no method that leaves tested images alone can be expected to do better. A
file that is there already is gone on with: what is true is not computed again.

Scores are judged by the same truth, on all training images, and timed against the ridge probe of the rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit import FeatureRequest, FeatureTable, extract
from embedkit.evaluation import mcnemar_test
from embedkit.probes import quick
from embedkit.selection import agreement_with, halve, held_out_rows, score_all

LAYERS = (None, -1, -2)


def networks(assets: Path) -> dict[str, FeatureRequest]:
    weights = assets / "weights"
    settled: dict[str, Any] = {"precision": "fp32", "engine": "torch"}
    return {
        **{
            f"tf_efficientnet_lite{size}": FeatureRequest(f"tf_efficientnet_lite{size}", "bundled", **settled)
            for size in (0, 1, 2)
        },
        **{
            name: FeatureRequest(name, weights / f"{name}.safetensors", **settled)
            for name in ("mobilenetv2_100", "vit_tiny_patch16_224")
        },
        **{
            f"{name} random": FeatureRequest(name, "random", **settled)
            for name in ("tf_efficientnet_lite0", "vit_tiny_patch16_224")
        },
    }


def tables_of(assets: Path, data: str, store: str | None, folder: Path) -> dict[tuple[str, int | None], FeatureTable]:
    found: dict[tuple[str, int | None], FeatureTable] = {}
    for name, request in networks(assets).items():
        for layer in LAYERS:
            file = folder / f"{data} {name} {layer}.h5"
            asked = dataclasses.replace(request, layer=layer)
            extract(assets / "data" / data / "split.csv", asked, output=file, store=store)
            found[name, layer] = FeatureTable.open(file)
    return found


def truth_of(table: FeatureTable, known: dict[str, Any] | None) -> dict[str, Any]:
    """Return the accuracy on the tested images, and which of them are named right."""
    if known is not None:
        return known
    result = quick(table, "logistic", model="").result
    assert result.rows is not None
    right = np.asarray(result.rows.y_true) == np.asarray(result.rows.y_pred)
    return {"value": result.value, "seconds": result.fit_seconds, "right": "".join("01"[int(one)] for one in right)}


def replay(
    features: dict[str, npt.NDArray[np.float32]], classes: npt.NDArray[np.intp], images: int, seed: int, thorough: bool
) -> dict[str, Any]:
    """Run the rounds once; return the network that is left, who was dropped, and the share of images looked at."""
    network_of = {name: name.partition(" | ")[0] for name in features}
    looked: dict[str, int] = {}

    def given(names: Any, rows: npt.NDArray[np.intp]) -> dict[str, npt.NDArray[np.float32]]:
        looked.update(dict.fromkeys(names, len(rows)))
        return {name: X[rows] for name, X in features.items() if network_of[name] in names}

    rounds: list[tuple[int, int]] = []
    found = halve(
        network_of,
        classes,
        given,
        lambda rows: rows,
        thorough=thorough,
        seed=seed,
        finished=lambda number, rows, left: rounds.append((rows, len(left))),
    )
    looked[found.leader] = images
    return {
        "network": found.leader,
        "left": [one.name for one in found.standings if one.dropped is None],
        "cost": sum(looked.values()) / (images * len(set(network_of.values()))),
        "expected_regret": found.regret,
        "rounds": rounds,
    }


def apart(one: str, other: str) -> float:
    """Return McNemar's p-value of two strings of right and wrong."""
    return mcnemar_test(*([mark == "1" for mark in marks] for marks in (one, other))).p_value


def measure(
    assets: Path, data: str, store: str | None, seeds: int, thorough_seeds: int, folder: Path, known: dict[str, Any]
) -> dict[str, Any]:
    tables = {f"{name} | {layer}": one for (name, layer), one in tables_of(assets, data, store, folder).items()}
    first = next(iter(tables.values()))
    assert first.split is not None
    assert first.y is not None
    choosing = np.flatnonzero(first.split == "train")
    classes = np.unique(first.y[choosing], return_inverse=True)[1].astype(np.intp)
    features = {name: np.asarray(one.X[choosing], np.float32) for name, one in tables.items()}
    truths = {name: truth_of(one, known.get("truth", {}).get(name)) for name, one in tables.items()}
    values = {name: one["value"] for name, one in truths.items()}
    best = max(values, key=lambda name: values[name])
    started = time.monotonic()
    full = {name: float(held_out_rows(X, classes, np.arange(len(X))).mean()) for name, X in features.items()}
    probe_seconds = (time.monotonic() - started) / len(features)
    at_full_cost = max(full, key=lambda name: full[name])
    runs: dict[str, list[dict[str, Any]]] = {}
    for mode, count in (("default", seeds), ("thorough", thorough_seeds)):
        runs[mode] = []
        for seed in range(count):
            run = replay(features, classes, len(first), seed, mode == "thorough")
            mine = [name for name in run["left"] if name.startswith(f"{run['network']} | ")]
            chosen = max(mine, key=lambda name: full[name])
            runs[mode].append(
                {
                    **run,
                    "seed": seed,
                    "chosen": chosen,
                    "regret": values[best] - values[chosen],
                    "p_value": apart(truths[best]["right"], truths[chosen]["right"]),
                    "best_dropped": best not in run["left"],
                    "best_by_training_dropped": at_full_cost not in run["left"],
                }
            )
            print(data, mode, seed, chosen, f"{run['cost']:.3f}", f"{100 * runs[mode][-1]['regret']:.1f}", flush=True)
    scores = {
        name: {
            **dataclasses.asdict(agreement_with(given, values)),
            "seconds": seconds / len(features),
            "probe_fits": seconds / len(features) / probe_seconds,
        }
        for name, (given, seconds) in score_all(features, classes).items()
    }
    scores["probes of the rounds"] = {**dataclasses.asdict(agreement_with(full, values)), "seconds": probe_seconds}
    return {
        "images": len(first),
        "candidates": len(tables),
        "best": best,
        "truth": truths,
        "by_training_at_full_cost": {
            "chosen": at_full_cost,
            "regret": values[best] - values[at_full_cost],
            "p_value": apart(truths[best]["right"], truths[at_full_cost]["right"]),
        },
        "summary": {mode: summary(found) for mode, found in runs.items() if found},
        "runs": runs,
        "scores": scores,
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    regrets = [run["regret"] for run in runs]
    return {
        "seeds": len(runs),
        "mean_cost": float(np.mean([run["cost"] for run in runs])),
        "largest_cost": float(max(run["cost"] for run in runs)),
        "mean_regret": float(np.mean(regrets)),
        "largest_regret": float(max(regrets)),
        "within_one_point": float(np.mean([regret <= 0.01 + 1e-9 for regret in regrets])),
        "best_by_training_dropped": float(np.mean([run["best_by_training_dropped"] for run in runs])),
        "best_dropped": float(np.mean([run["best_dropped"] for run in runs])),
        "told_apart_from_the_best": float(np.mean([run["p_value"] <= 0.05 for run in runs])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store")
    parser.add_argument("--data", default="grocery,pacs")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--thorough-seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kept = json.loads(options.json.read_text("utf-8")) if options.json is not None and options.json.exists() else {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in options.data.split(","):
            kept[data] = measure(
                options.assets,
                data,
                options.store,
                options.seeds,
                options.thorough_seeds,
                Path(folder),
                kept.get(data, {}),
            )
            if options.json is not None:
                options.json.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
            print(json.dumps({**kept[data]["summary"], **kept[data]["by_training_at_full_cost"]}, indent=1), flush=True)


if __name__ == "__main__":
    main()
