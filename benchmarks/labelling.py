"""What few labels, new classes and unknown things cost and gain on real photographs, against what is simplest.

    python -m benchmarks.labelling [--sections A,B] [--assets ../shared] [--store STORE] [--seeds 20] [--json FILE]

Features are those of two backbones on groceries (81 classes) and PACS (7 classes), through the store. Every number is a
mean over seeds; a seed draws train and test rows anew (70 : 30, stratified). A gain is a mean of differences between
two ways on the same draw, with its 95 % interval; a gain whose interval holds 0 is "no gain".
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

from embedkit import FeatureRequest, FeatureTable, extract
from embedkit.estimators import (
    ConformalClassifier,
    LogisticRegression,
    StreamingLDA,
    StreamingRidgeClassifier,
    SufficientStatistics,
    UnknownDetector,
    held_out_rows,
    rarity,
    standardised,
)
from embedkit.evaluation import mean_interval, paired_permutation_test
from embedkit.labelling import FourierFeatures, choose, chosen_alpha, in_few_directions, outlook

SETS = ("grocery", "pacs")
MODELS = ("vit_tiny_patch16_224", "mobilenetv2_100")
SITES = 3


def tables(assets: Path, store: Path | None, pseudo: Sequence[str] = ()) -> dict[str, FeatureTable]:
    found: dict[str, FeatureTable] = {}
    with tempfile.TemporaryDirectory() as folder:
        for data in SETS:
            for model in (*MODELS, *pseudo):
                file = Path(folder) / f"{data}-{model}.h5"
                weights = "pretrained" if model in pseudo else str(assets / "weights" / f"{model}.safetensors")
                request = FeatureRequest(model, weights)
                extract(assets / "data" / data / "split.csv", request, output=file, store=store)
                table = FeatureTable.open(file)
                assert len(table.X)  # read before the folder goes
                found[f"{data}, {model}"] = table
    return found


def drawn(table: FeatureTable, seed: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    cut = StratifiedShuffleSplit(1, test_size=0.3, random_state=seed)
    train, test = next(cut.split(np.zeros(len(table)), table.y))
    return train, test


def summary(values: dict[str, list[float]], base: str) -> dict[str, Any]:
    """Give the mean of each way, and its gain over one of them with the interval over seeds."""
    rows: dict[str, Any] = {}
    for name, found in values.items():
        difference = np.array(found) - np.array(values[base])
        low, high = mean_interval(difference)
        rows[name] = {"mean": round(float(np.mean(found)), 4)}
        if name != base:
            verdict = "gain" if low > 0 else "loss" if high < 0 else "no gain"
            interval = [round(float(low), 4), round(float(high), 4)]
            rows[name] |= {f"over {base}": round(float(difference.mean()), 4), "interval": interval, "verdict": verdict}
    return rows


def fitted(statistics: SufficientStatistics, kind: str) -> Any:
    steps, known = standardised(statistics)
    model = StreamingLDA(shrinkage=0.1) if kind == "lda" else StreamingRidgeClassifier(chosen_alpha(known)[0])
    return steps[0][1], model.fit_statistics(known)


def accuracy(model: Any, X: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    scaler, classifier = model
    return float((classifier.predict(scaler.transform(X)) == y).mean())


def federated(table: FeatureTable, seeds: int) -> dict[str, Any]:
    """Three sites whose shares of each class are drawn from Dirichlet(0.5): alone, and their statistics added up."""
    X, y = table.X, np.asarray(table.y)
    found: dict[str, list[float]] = {}
    apart = 0.0
    for seed in range(seeds):
        train, test = drawn(table, seed)
        random = np.random.default_rng(seed)
        shares = {label: random.dirichlet([0.5] * SITES) for label in np.unique(y)}
        site = np.array([random.choice(SITES, p=shares[label]) for label in y[train]])
        for kind in ("ridge", "lda"):
            sites = [
                SufficientStatistics("classes").update(X[train[site == k]], y[train[site == k]]) for k in range(SITES)
            ]
            alone = [accuracy(fitted(one, kind), X[test], y[test]) for one in sites]
            whole = fitted(SufficientStatistics("classes").update(X[train], y[train]), kind)
            added = fitted(sites[2].copy().merge(sites[0]).merge(sites[1]), kind)
            apart = max(apart, float(np.abs(added[1].coef_ - whole[1].coef_).max()))
            found.setdefault(f"{kind}, best site alone", []).append(max(alone))
            found.setdefault(f"{kind}, sites added up", []).append(accuracy(added, X[test], y[test]))
            found.setdefault(f"{kind}, all rows in one place", []).append(accuracy(whole, X[test], y[test]))
        unit = FourierFeatures(components=1000, gamma=2.0, seed=seed).steps(X.shape[1])
        mapped = unit[1][1].transform(unit[0][1].transform(X))
        known = SufficientStatistics("classes").update(mapped[train], y[train])
        found.setdefault("ridge, 1000 Fourier features", []).append(
            accuracy(fitted(known, "ridge"), mapped[test], y[test])
        )
    return {
        "against the best site": summary(
            {name: found[name] for name in found if name.startswith("ridge")}, "ridge, best site alone"
        ),
        "against ridge of all rows": summary(
            {
                name: found[name]
                for name in (
                    "ridge, all rows in one place",
                    "lda, all rows in one place",
                    "ridge, 1000 Fourier features",
                )
            },
            "ridge, all rows in one place",
        ),
        "largest difference of coefficients from all rows": apart,
    }


COVERAGES = (0.8, 0.9, 0.95)
SPLITS = 100


def small(table: FeatureTable) -> npt.NDArray[np.float32]:
    """Give 128 principal components of all rows, labels unseen: a hundred fits in a minute."""
    scaled = StandardScaler().fit_transform(table.X)
    return PCA(min(128, *scaled.shape), random_state=0).fit_transform(scaled).astype(np.float32)


def coverage(table: FeatureTable, seeds: int) -> dict[str, Any]:
    """Count how often sets around discriminant analysis hold the class, on 100 splits whatever the number of seeds."""
    X, y = small(table), np.asarray(table.y)
    held: dict[float, list[float]] = {}
    sizes: dict[float, list[float]] = {}
    right: list[float] = []
    n = 0
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(X))
        train, test = order[: int(0.7 * len(X))], order[int(0.7 * len(X)) :]
        fitted_sets = ConformalClassifier(StreamingLDA(shrinkage=0.1), random_state=seed).fit(X[train], y[train])
        known = np.isin(y[test], fitted_sets.classes_)
        truth = np.searchsorted(fitted_sets.classes_, y[test][known])
        right.append(float((fitted_sets.predict(X[test]) == y[test]).mean()))
        n = len(fitted_sets.scores_)
        for asked in COVERAGES:
            sets = fitted_sets.predict_set(X[test], asked)
            held.setdefault(asked, []).append(float(sets[known][np.arange(len(truth)), truth].sum() / len(test)))
            sizes.setdefault(asked, []).append(float(sets.sum(axis=1).mean()))
    rows: dict[str, Any] = {"accuracy of one class": round(float(np.mean(right)), 4)}
    for asked in COVERAGES:
        mean, error = float(np.mean(held[asked])), float(np.std(held[asked], ddof=1) / np.sqrt(SPLITS))
        # Of n held-out rows, the next share of n + 1 is what theory says; every split has the same n.
        stated = float(np.ceil(asked * (n + 1)) / (n + 1))
        rows[f"{asked}"] = {
            "stated of n held out": round(stated, 4),
            "n": n,
            "held": round(mean, 4),
            "standard error": round(error, 4),
            "standard errors off": round((mean - stated) / error, 2),
            "classes in a set": round(float(np.mean(sizes[asked])), 2),
        }
    return rows


def unknown(table: FeatureTable, seeds: int) -> dict[str, Any]:
    """Leave a fifth of the classes out: how many of their images are found at 5 % of false alarms asked for."""
    X, y = small(table), np.asarray(table.y)
    labels = np.unique(y)
    found: dict[str, list[float]] = {}
    alarms: dict[str, list[float]] = {}
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        strange = np.isin(y, random.permutation(labels)[: max(1, len(labels) // 5)])
        order = random.permutation(np.flatnonzero(~strange))
        train, test = order[: int(0.7 * len(order))], order[int(0.7 * len(order)) :]
        for name, distance, k in (("mahalanobis", "mahalanobis", 1), ("knn, k=1", "knn", 1), ("knn, k=5", "knn", 5)):
            model = UnknownDetector(
                StreamingLDA(shrinkage=0.1), distance=distance, n_neighbors=k, random_state=seed
            ).fit(X[train], y[train])
            found.setdefault(name, []).append(float(model.is_unknown(X[strange], 0.05).mean()))
            alarms.setdefault(name, []).append(float(model.is_unknown(X[test], 0.05).mean()))
        # The floor: no class is likely, by a threshold that is calibrated in the same way.
        rest, held_out = held_out_rows(y[train], 0.2, seed)
        model = StreamingLDA(shrinkage=0.1).fit(X[train][rest], y[train][rest])
        doubt = np.sort(1 - model.predict_proba(X[train][held_out]).max(axis=1))
        for rows, kept in ((X[strange], found), (X[test], alarms)):
            p_values = rarity(doubt, 1 - model.predict_proba(rows).max(axis=1))
            kept.setdefault("largest probability", []).append(float((p_values <= 0.05).mean()))
    return {
        "found": summary(found, "largest probability"),
        "false alarms": {
            name: {"mean": round(float(np.mean(one)), 4), "interval": [round(v, 4) for v in mean_interval(one)]}
            for name, one in alarms.items()
        },
    }


def choice(table: FeatureTable, seeds: int) -> dict[str, Any]:
    """Label in six rounds, as `embedkit label` chooses and at random: accuracy of logistic regression after each."""
    X, y = in_few_directions(table.X), np.asarray(table.y).astype(str)
    budget = 50 if len(np.unique(y)) > 20 else 20
    areas: dict[str, list[float]] = {}
    curves: dict[str, list[list[float]]] = {}
    told: list[float] = []
    came: list[float] = []
    for seed in range(seeds):
        train, test = drawn(table, seed)
        for way in ("random", "label"):
            known = np.full(len(y), "", y.dtype)
            accuracies: list[float] = []
            expected = None
            for _ in range(6):
                rest = train[known[train] == ""]
                if way == "random":
                    rows = np.random.default_rng([seed, len(rest)]).permutation(rest)[:budget]
                else:
                    rows = np.array([one.row for one in choose(X, known, np.sort(rest), budget, random_state=seed)[0]])
                known[rows] = y[rows]
                labelled = np.flatnonzero(known != "")
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message="The number of unique classes is greater")
                    model = LogisticRegression(C=1.0).fit(X[labelled], y[labelled])
                accuracies.append(float((model.predict(X[test]) == y[test]).mean()))
                if expected is not None:
                    told.append(expected.gain)
                    came.append(accuracies[-1] - accuracies[-2])
                # A hundred fits each: for the first draw.
                expected = outlook(X[labelled], y[labelled], budget) if way == "label" and seed == 0 else None
            curves.setdefault(way, []).append(accuracies)
            areas.setdefault(way, []).append(float(np.mean(accuracies)))
    return {
        "labels a round": budget,
        "area under the curve": summary(areas, "random"),
        "p (paired permutations)": paired_permutation_test(areas["label"], areas["random"]).p_value,
        "accuracy after each round": {way: np.mean(one, axis=0).round(4).tolist() for way, one in curves.items()},
        "predicted gain of a round": {
            "predicted": round(float(np.mean(told)), 4),
            "came": round(float(np.mean(came)), 4),
            "mean absolute error": round(float(np.abs(np.array(told) - came).mean()), 4),
        },
    }


SECTIONS: dict[str, Callable[[FeatureTable, int], dict[str, Any]]] = {
    "federated": federated,
    "coverage": coverage,
    "unknown": unknown,
    "choice": choice,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--assets", type=Path, default=Path("../shared"))
    parser.add_argument("--store", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    known = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else {}
    made = tables(arguments.assets, arguments.store)
    for section in arguments.sections.split(","):
        start = time.perf_counter()
        results = {name: SECTIONS[section](table, arguments.seeds) for name, table in made.items()}
        known[section] = {"seeds": arguments.seeds, "seconds": round(time.perf_counter() - start), "sets": results}
        print(json.dumps({section: known[section]}, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
