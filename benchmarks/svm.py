"""The linear support vector machine of probes against scikit-learn's LinearSVC and SVC; prints, and keeps as JSON.

    python -m benchmarks.svm                        synthetic features, 5,000 x 768 of 20 classes: some minutes
    python -m benchmarks.svm --features A.h5        on the train and test rows of a feature file
                                                    (every third is tested where it declares none)

Each way fits `CS` on the same standardised training rows: ours as one path, the others one value after the other, as
grids do. LinearSVC is liblinear's primal (its faster one where rows are more than features) or dual solver, whichever
scikit-learn picks by ``dual="auto"``, at its default tolerance. Accuracies are those of tested rows for every value,
so that which value is best can be seen for each way; a choice among them would be made on other rows. Seconds are of
processor time, so that what else runs on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.svm
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.probes import machine, synthetic
from embedkit.estimators import LinearSVCPath
from embedkit.tables import FeatureTable

CS = [float(C) for C in np.logspace(-5, -1, 5)]
"""Every second value of the grid of probes but its last, where liblinear takes as long as for all others together."""


def paths(X: Any, y: Any) -> dict[str, Callable[[], list[Any]]]:
    """Ways to fit all values of C: each gives a model a value."""

    def ours() -> list[Any]:
        path = LinearSVCPath(CS, cv=None).fit(X, y)
        assert path.converged_.all()
        return [path.model_at(C) for C in CS]

    return {
        "ours": ours,
        "LinearSVC": lambda: [sklearn.svm.LinearSVC(C=C, dual="auto").fit(X, y) for C in CS],
        "SVC": lambda: [sklearn.svm.SVC(C=C, kernel="linear", cache_size=1000).fit(X, y) for C in CS],
    }


def compare(name: str, X: Any, y: Any, X_test: Any, y_test: Any, arguments: argparse.Namespace) -> None:
    """Measure each way once, and keep them as they come in the place of earlier ones of the same name."""
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    row: dict[str, Any] = {"name": name, "Cs": CS, "n_classes": len(np.unique(y)), "machine": machine(arguments)}
    for way, fit in paths(X, y).items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            began = time.process_time()
            models = fit()
            took = time.process_time() - began
        accuracies = [float((model.predict(X_test) == y_test).mean()) for model in models]
        row[way] = {
            "seconds": took,
            "accuracies": accuracies,
            "not_converged": sum(issubclass(warning.category, ConvergenceWarning) for warning in caught),
        }
        ratio = took / row["ours"]["seconds"]
        print(f"{name:44}{way:12}{took:9.2f} s{ratio:8.1f}x   best {max(accuracies):.3f}", flush=True)
        kept = json.loads(arguments.output.read_text())["rows"] if arguments.output.is_file() else []
        rows = [other for other in kept if other["name"] != name] + [row]
        arguments.output.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, action="append", default=[], help="feature files, instead of --rows")
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "svm.json")
    arguments = parser.parse_args()
    with threadpool_limits(arguments.threads):
        for path in arguments.features:
            table = FeatureTable.open(path)
            y = np.asarray(table.y)
            train = np.arange(len(y)) % 3 != 0 if table.split is None else np.asarray(table.split) != "test"
            X = table.X
            name = f"{path.stem} {int(train.sum())} x {X.shape[1]}"
            compare(name, X[train], y[train], X[~train], y[~train], arguments)
        if not arguments.features:
            n = arguments.rows
            X, y = synthetic(2 * n, 768, arguments.classes)
            X += 0.5 * np.random.default_rng(1).standard_normal(X.shape).astype(np.float32)  # else all is right
            name = f"{n} x 768, {arguments.classes} classes"
            compare(name, X[:n], y[:n], X[n:], y[n:], arguments)


if __name__ == "__main__":
    main()
