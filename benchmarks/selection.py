"""What `select` costs and how far its choice is behind the best, over seeds; and what scores would have chosen.

    python -m benchmarks.selection [--assets ../shared] [--store STORE] [--data grocery,pacs,cifar10_wds] [--seeds 20]
                                   [--json FILE]

Seven networks, each with its own output and two layers. Features are computed once, into the store; then `select`
itself is called with each seed. How far its choice is behind is measured twice:

by test     accuracy on the tested images by a full ``quick`` with logistic regression. Of a few hundred images it is
            known to 1.5 points or so, and the best of many is the luckiest, too
expected    its mean over ``--splits`` splits that are drawn anew from all images, by class (and domain). Only of data
            sets whose images are exchangeable: photographs in bursts, as in grocery, would be on both sides

Beside the regret of the choice stands that of the choice that training images make at the full cost: no method that
leaves tested images alone can be expected to do better. A file that is there already is gone on with: what is true is
not computed again.

Scores are judged by the accuracy on tested images, on all training images, and timed against the ridge probe.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from embedkit import FeatureRequest, FeatureTable, Selection, extract_several, select
from embedkit.backbones import own_classifier
from embedkit.evaluation import mcnemar_test
from embedkit.probes import quick
from embedkit.selection import agreement_with, held_out_rows, score_all

EXCHANGEABLE = {"pacs": "domain", "cifar10_wds": ""}
"""Data sets whose images may be split anew, and the column that is kept in proportion beside the classes."""

_HOPELESS = 0.1
"""Behind the best by test: what is further is not judged on other splits."""

LAYERS = (None, -1, -2)

PROBED: dict[str, Any] = {"by knn": "knn", "by logistic": "logistic"}
"""Other judges of the rounds beside the default; all are judged by logistic regression in the end."""


def networks(assets: Path, data: str = "", names: str | None = None) -> dict[str, FeatureRequest]:
    """Return the candidates; on CIFAR-10 no random ones: whether these are dropped is seen on the other sets."""
    weights = assets / "weights"
    settled: dict[str, Any] = {"precision": "fp32", "engine": "torch"}
    found = {
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
            if data != "cifar10_wds"
        },
    }
    return found if names is None else {name: found[name] for name in names.split(",")}


def manifest_of(assets: Path, data: str, folder: Path) -> Path:
    """Return the manifest of a data set; of CIFAR-10 that of one shard to train on and one to test on."""
    whole = assets / "data" / data / "split.csv"
    if data != "cifar10_wds":
        return whole
    part = folder / "cifar10.csv"
    with whole.open(newline="", encoding="utf-8") as file, part.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(("path", "label", "split"))
        for row in csv.DictReader(file):
            if "-000000.tar" in row["path"]:
                writer.writerow((whole.parent.resolve() / row["path"], row["label"], row["split"]))
    return part


def tables_of(
    requests: dict[str, FeatureRequest], data: str, manifest: Path, store: str | None, folder: Path
) -> dict[tuple[str, int | None], FeatureTable]:
    found: dict[tuple[str, int | None], FeatureTable] = {}
    for name, request in requests.items():
        place = folder / f"{data} {name}"
        place.mkdir()
        results = extract_several(
            manifest, [dataclasses.replace(request, layer=layer) for layer in LAYERS], output=place, store=store
        )
        for layer, result in zip(LAYERS, results, strict=True):
            found[name, layer] = FeatureTable.open(str(result.output))
    return found


def truth_of(table: FeatureTable, known: dict[str, Any] | None) -> dict[str, Any]:
    """Return the accuracy on the tested images, and which of them are named right."""
    if known is not None:
        return known
    result = quick(table, "logistic", model="").result
    assert result.rows is not None
    right = np.asarray(result.rows.y_true) == np.asarray(result.rows.y_pred)
    return {"value": result.value, "seconds": result.fit_seconds, "right": "".join("01"[int(one)] for one in right)}


def expected(
    tables: dict[str, FeatureTable], kept: str, splits: int, known: dict[str, list[float]]
) -> dict[str, list[float]]:
    """Return the accuracy of each table on so many splits that are drawn from all rows."""
    first = next(iter(tables.values()))
    strata = np.asarray(first.y).astype(str)
    if kept:
        strata = np.char.add(strata, first.columns[kept].astype(str))
    assert first.split is not None
    values = {name: list(known.get(name, [])) for name in tables}
    for seed in range(splits):
        random = np.random.default_rng(1000 + seed)
        split = np.full(len(first), "test", dtype=object)
        for one in np.unique(strata):
            rows = random.permutation(np.flatnonzero(strata == one))
            split[rows[: round(float((first.split[rows] == "train").mean()) * len(rows))]] = "train"
        for name, table in tables.items():
            if len(values[name]) <= seed:
                head = copy.copy(table.metadata)
                head.split = split
                values[name].append(quick(FeatureTable(head, table.X), "logistic", model="").result.value)
    return values


def key_of(model: str, weights: str, layer: int | None) -> str:
    return f"{model}{' random' if weights == 'random' else ''} | {layer}"


def described(found: Selection) -> dict[str, Any]:
    """Return what a selection came to, candidates by the names of this benchmark."""
    keys = {one.name: key_of(one.model, one.weights, one.layer) for one in found.candidates}
    return {
        "chosen": keys[found.chosen],
        "left": [keys[one.name] for one in found.candidates if one.dropped is None],
        "cost": found.cost_share,
        "forward_passes": sum({one.name: one.forward_passes for one in found.candidates}.values()),
        "said_regret": found.expected_regret,
        "rounds": max(len(one.rounds) for one in found.candidates),
    }


def apart(one: str, other: str) -> float:
    """Return McNemar's p-value of two strings of right and wrong."""
    return mcnemar_test(*([mark == "1" for mark in marks] for marks in (one, other))).p_value


def measure(options: argparse.Namespace, data: str, folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    manifest = manifest_of(options.assets, data, folder)
    candidates = networks(options.assets, data, options.networks)
    tables = {
        f"{name} | {layer}": one
        for (name, layer), one in tables_of(candidates, data, manifest, options.store, folder).items()
    }
    first = next(iter(tables.values()))
    assert first.split is not None
    assert first.y is not None
    choosing = np.flatnonzero(first.split == "train")
    classes = np.unique(first.y[choosing], return_inverse=True)[1].astype(np.intp)
    features = {name: np.asarray(one.X[choosing], np.float32) for name, one in tables.items()}
    truths = {name: truth_of(one, known.get("truth", {}).get(name)) for name, one in tables.items()}
    values = {name: one["value"] for name, one in truths.items()}
    best = max(values, key=lambda name: values[name])
    hopeful = {name: one for name, one in tables.items() if values[name] > values[best] - _HOPELESS}
    drawn = {}
    if data in EXCHANGEABLE:
        drawn = expected(hopeful, EXCHANGEABLE[data], options.splits, known.get("expected", {}))
    means = {name: float(np.mean(found)) for name, found in drawn.items()}
    started = time.monotonic()
    full = {name: float(held_out_rows(X, classes, np.arange(len(X))).mean()) for name, X in features.items()}
    probe_seconds = (time.monotonic() - started) / len(features)
    at_full_cost = max(full, key=lambda name: full[name])

    def judged(chosen: str) -> dict[str, Any]:
        return {
            "chosen": chosen,
            "regret": values[best] - values[chosen],
            "expected_regret": max(means.values()) - means.get(chosen, 0.0) if means else None,
            "p_value": apart(truths[best]["right"], truths[chosen]["right"]),
        }

    runs: dict[str, list[dict[str, Any]]] = {}
    requests = list(candidates.values())
    counts = {
        "default": options.seeds,
        "thorough": options.thorough_seeds,
        **dict.fromkeys(PROBED, options.probed_seeds),
    }
    for mode, count in counts.items():
        runs[mode] = []
        for seed in range(count):
            found = select(
                manifest,
                requests,
                layers=[layer for layer in LAYERS if layer is not None],
                thorough=mode == "thorough",
                probe=PROBED.get(mode, "ridge"),
                store=options.store,
                random_state=seed,
            )
            run = described(found)
            runs[mode].append(
                {
                    **run,
                    "seed": seed,
                    **judged(run["chosen"]),
                    "best_dropped": best not in run["left"],
                    "best_by_training_dropped": at_full_cost not in run["left"],
                }
            )
            last = runs[mode][-1]
            behind = [round(100 * one, 1) for one in (last["regret"], last["expected_regret"]) if one is not None]
            print(data, mode, seed, last["chosen"], f"{last['cost']:.3f}", *behind, flush=True)
    known_classes = {key_of(str(one.model), str(one.weights), None): own_classifier(one) for one in requests}
    own_classes = {name: one.probabilities(features[name]) for name, one in known_classes.items() if one is not None}
    scores = {
        name: {
            **dataclasses.asdict(agreement_with(given, values)),
            "candidates": len(given),
            "seconds": seconds / len(given),
            "probe_fits": seconds / len(given) / probe_seconds,
        }
        for name, (given, seconds) in score_all(features, classes, own_classes).items()
    }
    scores["probes of the rounds"] = {**dataclasses.asdict(agreement_with(full, values)), "seconds": probe_seconds}
    return {
        "images": len(first),
        "candidates": len(tables),
        "best": best,
        "truth": truths,
        "expected": drawn,
        "by_training_at_full_cost": judged(at_full_cost),
        "summary": {mode: summary(found) for mode, found in runs.items() if found},
        "runs": runs,
        "scores": scores,
    }


def _within(regret: float | None) -> float | None:
    return None if regret is None else float(regret <= 0.01 + 1e-9)


def _mean(values: list[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if known else None


def summary(runs: list[dict[str, Any]]) -> dict[str, float | None]:
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
        "cost_at_most_a_quarter": float(np.mean([run["cost"] <= 0.25 for run in runs])),
        "expected_mean_regret": _mean([run["expected_regret"] for run in runs]),
        "expected_largest_regret": max((run["expected_regret"] or 0.0 for run in runs), default=0.0),
        "expected_within_one_point": _mean([_within(run["expected_regret"]) for run in runs]),
        "told_apart_from_the_best": float(np.mean([run["p_value"] <= 0.05 for run in runs])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store")
    parser.add_argument("--data", default="grocery,pacs,cifar10_wds")
    parser.add_argument("--networks", help="some of them, by commas")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--thorough-seeds", type=int, default=3)
    parser.add_argument("--probed-seeds", type=int, default=10)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    kept: dict[str, Any] = {}
    if options.json is not None and options.json.exists():
        kept = json.loads(options.json.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in options.data.split(","):
            kept[data] = measure(options, data, Path(folder), kept.get(data, {}))
            if options.json is not None:
                options.json.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
            print(json.dumps({**kept[data]["summary"], **kept[data]["by_training_at_full_cost"]}, indent=1), flush=True)


if __name__ == "__main__":
    main()
