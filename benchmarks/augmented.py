"""What point-wise augmentation of cached features gains, at few shots and on all training rows, over seeds.

    python -m benchmarks.augmented FILE.h5 ... [--shots 1,2,4,8] [--seeds 5] [--json FILE]

Logistic regression (C = 1, standardised features) on the features, and on these with four changed copies of each row:
by shifts, by factors about the mean, and by both with rounding to 16 values. Rows are drawn anew for each seed, the
same for all ways; the p-value is of a sign-flip test of the differences of the seeds, and of all rows McNemar's.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from embedkit import FeatureTable
from embedkit.estimators import LogisticRegression, PointwiseAugmentation
from embedkit.evaluation import mcnemar_test, paired_permutation_test

WAYS: dict[str, dict[str, Any]] = {
    "brightness": {"brightness": 0.5, "contrast": 0.0},
    "contrast": {"brightness": 0.0, "contrast": 0.5},
    "brightness, contrast, posterise": {"brightness": 0.5, "contrast": 0.3, "levels": 16},
}


def right(estimator: Any, X: Any, y: Any, tested: Any, truth: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)  # scikit-learn, of as many classes as rows
        return estimator.fit(X, y).predict(tested) == truth


def drawn(y: Any, shots: int | None, seed: int) -> Any:
    if shots is None:
        return np.arange(len(y))
    draws = np.random.default_rng(seed)
    return np.concatenate([draws.permutation(np.flatnonzero(y == one))[:shots] for one in np.unique(y)])


def measured(table: FeatureTable, shots: int | None, seeds: int) -> list[dict[str, Any]]:
    train, test = (np.flatnonzero(np.asarray(table.split) == part) for part in ("train", "test"))
    X, y = np.asarray(table.X), np.asarray(table.y)
    found: dict[str, list[Any]] = {}
    for seed in range(1 if shots is None else seeds):
        rows = train[drawn(y[train], shots, seed)]
        inner = LogisticRegression(1.0, standardize=True)
        found.setdefault("none", []).append(right(inner, X[rows], y[rows], X[test], y[test]))
        for name, given in WAYS.items():
            estimator = PointwiseAugmentation(inner, copies=4, random_state=seed, **given)
            found.setdefault(name, []).append(right(estimator, X[rows], y[rows], X[test], y[test]))
    plain = [float(one.mean()) for one in found["none"]]
    lines: list[dict[str, Any]] = []
    for name, several in found.items():
        values = [float(one.mean()) for one in several]
        if name == "none":
            p = None
        elif shots is None:
            p = mcnemar_test(several[0], found["none"][0]).p_value
        else:
            p = paired_permutation_test(values, plain).p_value
        lines.append({"shots": shots, "way": name, "accuracy": float(np.mean(values)), "values": values, "p": p})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--shots", default="1,4,8")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    result: dict[str, Any] = {"C": 1.0, "copies": 4, "seeds": asked.seeds, "ways": WAYS}
    for file in asked.files:
        table = FeatureTable.open(file)
        lines: list[dict[str, Any]] = []
        for shots in [*(int(one) for one in asked.shots.split(",")), None]:
            found = measured(table, shots, asked.seeds)
            lines += found
            for one in found:
                p = "" if one["p"] is None else f"p {one['p']:.3g}"
                print(
                    f"{file.stem}  {shots or 'all'} rows a class  {one['way']}: {100 * one['accuracy']:.1f} % {p}",
                    flush=True,
                )
        result[file.stem] = lines
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
