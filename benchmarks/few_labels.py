"""What unlabelled rows, noisy labels, one class alone and tabular models cost and gain, against what is simplest.

    python -m benchmarks.few_labels [--sections A,B] [--assets ../shared] [--store STORE] [--seeds 10] [--json FILE]

Features, drawings and intervals are those of `benchmarks.labelling`: a seed draws train and test rows anew (70 : 30),
and a gain whose interval over seeds holds 0 is "no gain".
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.labelling import MODELS, SETS, drawn, summary, tables
from embedkit import FeatureTable
from embedkit.adaptation import USES, unlabelled_protocol
from embedkit.estimators import (
    DISTANCES,
    AdaptiveNeighborsClassifier,
    LogisticRegression,
    RobustLogisticRegression,
)
from embedkit.evaluation import Duplicates, tasks_of
from embedkit.labelling import in_few_directions
from embedkit.probes import detect, normal_split, quick
from embedkit.tables import TableHead

KEPT = (2, 5, 10)
FLOORS = ("pixels32", "colour-histogram")
NORMALS = 3
"""Largest classes, each of which is the normal one."""

NONE = Duplicates(
    source="",
    fingerprint="",
    digests=np.empty(0, "S32"),
    compared=np.empty(0, np.bool_),
    first=np.empty(0, np.intp),
    second=np.empty(0, np.intp),
    similarity=np.empty(0),
)
"""Copies are not looked for."""

Tables = dict[str, FeatureTable]


def models_of(found: Tables, data: str) -> Tables:
    """Return the tables of a data set that are no floors, by their models."""
    named = {name.removeprefix(f"{data}, "): table for name, table in found.items() if name.startswith(f"{data}, ")}
    return {name: table for name, table in named.items() if name not in FLOORS}


def relabelled(
    table: FeatureTable,
    rows: npt.NDArray[np.intp],
    labels: npt.NDArray[Any],
    test: npt.NDArray[np.intp],
    X: npt.NDArray[np.float32] | None = None,
) -> FeatureTable:
    """Return rows of a table with other labels, of which some are the test split, or other features."""
    head = TableHead(
        spec=table.spec,
        keys=[table.keys[row] for row in rows],
        digests=table.digests[rows],
        labels=labels.tolist(),
        split=np.where(np.isin(rows, test), "test", "train").tolist(),
    )
    features = table.X if X is None else X
    head.spec = dataclasses.replace(
        table.spec, backbone=dataclasses.replace(table.spec.backbone, width=features.shape[1])
    )
    return FeatureTable(head, features[rows])


def unlabelled(found: Tables, data: str, seeds: int) -> dict[str, Any]:
    """Keep some labels a class, hide the others, and learn from both by two backbones together."""
    named = list(models_of(found, data).values())
    y = np.asarray(named[0].y).astype(str)
    result: dict[str, Any] = {}
    for kept in KEPT:
        accuracies: dict[str, list[float]] = {}
        for seed in range(seeds):
            train, test = drawn(named[0], seed)
            random = np.random.default_rng(seed)
            known = np.concatenate([random.permutation(train[y[train] == label])[:kept] for label in np.unique(y)])
            rest, rows = np.setdiff1d(train, known), np.sort(np.concatenate([known, test]))
            table = relabelled(named[0], rows, y[rows], test)
            blocks, beside = [one.X[rows] for one in named], [one.X[rest] for one in named]
            [task] = tasks_of(table, random_state=seed)
            for use in ("labelled", *USES):
                [said] = unlabelled_protocol(use, blocks, beside).run(task).draws
                right = said.targets == task.labels.targets[task.split.test]
                accuracies.setdefault(use, []).append(float(right.mean()))
        result[f"{kept} labels a class"] = summary(accuracies, "labelled")
        print(data, kept, json.dumps(result[f"{kept} labels a class"]), flush=True)
    return result


NOISE = (0.0, 0.2, 0.4)


def noisy(found: Tables, data: str, seeds: int) -> dict[str, Any]:
    """Give a share of the training labels another class, and test on right ones; grids are chosen on wrong ones too."""
    grids: dict[str, tuple[Any, dict[str, list[Any]] | None]] = {
        "logistic": ("logistic", None),
        "knn": ("knn", None),
        "wann": (AdaptiveNeighborsClassifier(), {"min_neighbors": [11, 3, 1]}),
        "robust": (RobustLogisticRegression(), {"C": [0.001, 0.01, 0.1, 1.0], "q": [0.7]}),
    }
    result: dict[str, Any] = {}
    for model, table in models_of(found, data).items():
        y = np.asarray(table.y).astype(str)
        classes = np.unique(y)
        X = in_few_directions(table.X)
        for share in NOISE:
            accuracies: dict[str, list[float]] = {}
            for seed in range(seeds):
                train, test = drawn(table, seed)
                random = np.random.default_rng(seed)
                wrong = random.permutation(train)[: round(share * len(train))]
                given = np.searchsorted(classes, y)
                given[wrong] = (given[wrong] + random.integers(1, len(classes), len(wrong))) % len(classes)
                changed = relabelled(table, np.arange(len(y)), classes[given], test, X)
                for name, (estimator, grid) in grids.items():
                    run = quick(
                        changed, estimator, model=model, params=grid, random_state=seed, further=False, duplicates=NONE
                    )
                    accuracies.setdefault(name, []).append(run.result.value)
            result[f"{model}, {100 * share:.0f} % wrong"] = summary(accuracies, "logistic")
            print(data, model, share, json.dumps(summary(accuracies, "logistic")), flush=True)
    return result


def one_class(found: Tables, data: str, seeds: int) -> dict[str, Any]:
    """Learn one class alone (of groceries a coarse one), a drawing a seed, beside raw pixels and colour histograms."""
    result: dict[str, Any] = {}
    named = {name.removeprefix(f"{data}, "): table for name, table in found.items() if name.startswith(f"{data}, ")}
    for distance in DISTANCES:
        areas: dict[str, list[float]] = {}
        shares: dict[str, list[float]] = {}
        for name, table in named.items():
            y = np.asarray(table.y).astype(str)
            if data == "grocery":
                y = np.asarray(table.columns["coarse_label"]).astype(str)
            counts = {label: int((y == label).sum()) for label in np.unique(y)}
            normals = sorted(counts, key=lambda label: -counts[label])[:NORMALS]
            for seed in range(seeds):
                for normal in normals:
                    drawn_rows = FeatureTable(
                        TableHead(spec=table.spec, keys=table.keys, digests=table.digests, labels=y.tolist()), table.X
                    )
                    split = normal_split(drawn_rows, normal, random_state=seed)
                    said, _ = detect(drawn_rows, split, distance, model=name, random_state=seed)
                    areas.setdefault(name, []).append(said.roc_auc)
                    shares.setdefault(f"{name}: found", []).append(said.found)
                    shares.setdefault(f"{name}: false alarms", []).append(said.false_alarms)
        # A seed is a mean over normal classes: drawings of one class are no more independent than that.
        of_seed = {name: np.reshape(values, (seeds, -1)).mean(axis=1).tolist() for name, values in areas.items()}
        floors = [name for name in ("pixels32", "colour-histogram") if name in of_seed]
        best = max(floors, key=lambda name: float(np.mean(of_seed[name])))
        result[distance] = summary(of_seed, best) | {
            name: round(float(np.mean(values)), 4) for name, values in shares.items()
        }
    return result


def tabular(found: Tables, data: str, seeds: int) -> dict[str, Any]:
    """Put tabular models behind 64 principal components: accuracy, and the seconds of one fit and its predictions."""
    heads: dict[str, Any] = {
        "logistic regression": LogisticRegression(C=0.01),
        "logistic regression on PCA": make_pipeline(
            StandardScaler(), PCA(64, random_state=0), LogisticRegression(0.01)
        ),
    }
    try:
        from lightgbm import LGBMClassifier

        heads["LightGBM on PCA"] = make_pipeline(
            StandardScaler(),
            PCA(64, random_state=0),
            LGBMClassifier(n_estimators=50, num_leaves=7, min_child_samples=5, n_jobs=1, verbose=-1, random_state=0),
        )
    except ImportError:
        print("LightGBM is not installed, and is left out")
    result: dict[str, Any] = {}
    for model, table in models_of(found, data).items():
        y = np.asarray(table.y).astype(str)
        accuracies: dict[str, list[float]] = {}
        seconds: dict[str, list[float]] = {}
        for seed in range(seeds):
            train, test = drawn(table, seed)
            for name, head in heads.items():
                final = clone(head) if name != "logistic regression" else make_pipeline(StandardScaler(), clone(head))
                start = time.perf_counter()
                right = final.fit(table.X[train], y[train]).predict(table.X[test]) == y[test]
                seconds.setdefault(name, []).append(time.perf_counter() - start)
                accuracies.setdefault(name, []).append(float(right.mean()))
        rows = summary(accuracies, "logistic regression")
        for name, taken in seconds.items():
            rows[name]["seconds"] = round(float(np.median(taken)), 2)
        result[model] = rows
    return result


SECTIONS: dict[str, Callable[[Tables, str, int], dict[str, Any]]] = {
    "unlabelled": unlabelled,
    "noisy": noisy,
    "one-class": one_class,
    "tabular": tabular,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    known = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else {}
    kept = (*arguments.models.split(","), *FLOORS)
    made = {
        name: table
        for name, table in tables(arguments.assets, arguments.store, FLOORS).items()
        if name.split(", ")[1] in kept
    }
    for section in arguments.sections.split(","):
        start = time.perf_counter()
        results: dict[str, Any] = known.get(section, {})
        for data in arguments.sets.split(","):
            results[data] = SECTIONS[section](made, data, arguments.seeds)
            print(json.dumps({section: {data: results[data]}}, indent=1), flush=True)
            results[data] |= {"seeds": arguments.seeds, "seconds": round(time.perf_counter() - start)}
        known[section] = results
        if arguments.json:
            arguments.json.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
