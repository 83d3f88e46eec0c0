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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedShuffleSplit

from embedkit import FeatureRequest, FeatureTable, extract
from embedkit.estimators import StreamingLDA, StreamingRidgeClassifier, SufficientStatistics, standardised
from embedkit.evaluation import mean_interval
from embedkit.labelling import FourierFeatures, chosen_alpha

SETS = ("grocery", "pacs")
MODELS = ("vit_tiny_patch16_224", "mobilenetv2_100")
SITES = 3


def tables(assets: Path, store: Path | None) -> dict[str, FeatureTable]:
    found: dict[str, FeatureTable] = {}
    with tempfile.TemporaryDirectory() as folder:
        for data in SETS:
            for model in MODELS:
                file = Path(folder) / f"{data}-{model}.h5"
                request = FeatureRequest(model, str(assets / "weights" / f"{model}.safetensors"))
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


SECTIONS: dict[str, Callable[[FeatureTable, int], dict[str, Any]]] = {"federated": federated}


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
