"""The estimators of probes against scikit-learn, scikit-learn-intelex and faiss; prints a table and keeps it as JSON.

    python -m benchmarks.probes --quick             half a minute, to see that it runs
    python -m benchmarks.probes                     n = 9,000: a quarter of an hour
    python -m benchmarks.probes --rows 50000        one value of the cold loop only: half an hour
    python -m benchmarks.probes --features A.h5     on the train rows of a feature file

Two ways to do the same work are measured in turns; a ratio is the other's median over ours. The cold loop is run for
`VALUES` of the 45 values of C, evenly spaced along the grid, and scaled up by 45 / VALUES: the JSON says for how many.
"To the same objective" lowers scikit-learn's tolerance tenfold at a time and counts the first run alone that comes
within 1e-6 of the optimum, as if its user had known the tolerance beforehand.

Optional contenders are compared where they are installed: scikit-learn-intelex and faiss-cpu.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
import sklearn.linear_model
import sklearn.neighbors
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from embedkit.estimators import KNeighborsClassifier, LogisticRegressionPath
from embedkit.tables import FeatureTable

GRID = np.logspace(-5, 6, 45)
"""Kornblith et al. 2019: 45 values of lambda from 1e-6 to 1e5 on the sum of losses; C = 1 / lambda."""

CLOSE = 1e-6

Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.intp]


def synthetic(n: int, width: int, n_classes: int, seed: int = 0) -> tuple[Rows, Labels]:
    """Gaussian classes with a spectrum that falls as 1 / i, and a mean, as features of networks have."""
    random = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    scales = np.arange(1, width + 1) ** -0.5
    rotation, _ = np.linalg.qr(fixed.standard_normal((width, width)))
    centres = 0.6 * scales * fixed.standard_normal((n_classes, width))
    mean = 0.5 * fixed.standard_normal(width)
    y = random.integers(0, n_classes, n)
    X = (centres[y] + scales * random.standard_normal((n, width))) @ rotation.T + mean
    return X.astype(np.float32), y


def objective(X: Rows, y: Labels, coef: Any, intercept: Any, C: float) -> float:
    """scikit-learn's objective in float64."""
    loss = 0.0
    for start in range(0, len(X), 4096):
        span = slice(start, start + 4096)
        scores = X[span].astype(np.float64) @ np.asarray(coef, dtype=np.float64).T + intercept
        loss -= float(log_softmax(scores, axis=1)[np.arange(len(scores)), y[span]].sum())
    return C * loss + float(np.square(np.asarray(coef, dtype=np.float64)).sum()) / 2


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def machine(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say what the seconds depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": arguments.threads,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }


class Report:
    """Comparisons: printed and kept as JSON as they come, in place of earlier ones of the same name."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._path: Path = arguments.output
        self.machine = machine(arguments)
        print(f"{'':84}{'ours s':>10}{'other s':>12}{'ratio':>9}{'goal':>7}", flush=True)

    def add(
        self, name: str, ours: Sequence[float], other: Sequence[float], goal: float | None = None, **facts: Any
    ) -> None:
        """Take down the seconds of each round; the ratio is that of the medians."""
        mine, theirs = statistics.median(ours), statistics.median(other)
        row = {
            "name": name,
            "ours_s": mine,
            "other_s": theirs,
            "ratio": theirs / mine,
            "goal": goal,
            "rounds": len(ours),
            **facts,
            "load_after": os.getloadavg()[0],
            "machine": self.machine,
        }
        print(f"{name:84}{mine:10.2f}{theirs:12.2f}{theirs / mine:9.2f}{goal or '':>7}", flush=True)
        kept = json.loads(self._path.read_text())["rows"] if self._path.is_file() else []
        rows = [other for other in kept if other["name"] != name] + [row]
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def cold(X: Rows, y: Labels, Cs: Sequence[float], tol: float = 1e-4, family: Any = sklearn.linear_model) -> list[Any]:
    """Run the loop of fits that most people write; max_iter is high enough that the tolerance decides."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [family.LogisticRegression(C=C, tol=tol, max_iter=20_000).fit(X, y) for C in Cs]


def compare_paths(report: Report, name: str, X: Rows, y: Labels, n_values: int, rounds: int, patience: float) -> None:
    """Compare the whole path with cold fits at the default tolerance, and at equal objective."""
    values = [float(GRID[i]) for i in np.linspace(0, len(GRID) - 1, n_values + 2).round().astype(int)[1:-1]]
    ours: list[float] = []
    theirs: list[float] = []
    path, fits = None, []
    for _ in range(rounds):
        took, path = seconds(lambda: LogisticRegressionPath(GRID, cv=None).fit(X, y))
        ours.append(took)
        took, fits = seconds(lambda: cold(X, y, values))
        theirs.append(took * len(GRID) / n_values)
    assert path is not None
    at = [int(np.abs(np.log(path.Cs_ / C)).argmin()) for C in values]
    reached = [objective(X, y, path.coefs_[i], path.intercepts_[i], C) for i, C in zip(at, values, strict=True)]
    behind = [
        objective(X, y, fit.coef_, fit.intercept_, C) / best - 1
        for fit, C, best in zip(fits, values, reached, strict=True)
    ]
    facts = {
        "values_of_cold_loop": values,
        "iterations": int(path.n_iter_.sum()),
        "all_converged": bool(path.converged_.all()),
        "worst_proven_gap": float(path.gaps_.max()),
    }
    report.add(f"{name}: 45 values, cold lbfgs at tol 1e-4", ours, theirs, 10, **facts, other_above_ours=behind)
    if patience:
        compare_at_equal_objective(report, name, X, y, values, reached, statistics.median(ours), patience)
    if importlib.util.find_spec("sklearnex"):
        import sklearnex.linear_model

        took, fits = seconds(lambda: cold(X, y, values, family=sklearnex.linear_model))
        behind = [
            objective(X, y, fit.coef_, fit.intercept_, C) / best - 1
            for fit, C, best in zip(fits, values, reached, strict=True)
        ]
        report.add(
            f"{name}: 45 values, scikit-learn-intelex",
            ours[:1],
            [took * len(GRID) / n_values],
            values_of_cold_loop=values,
            other_above_ours=behind,
        )


def compare_at_equal_objective(
    report: Report,
    name: str,
    X: Rows,
    y: Labels,
    values: Sequence[float],
    reached: Sequence[float],
    ours: float,
    patience: float,
) -> None:
    """Measure what the cold loop needs to come within 1e-6; a value beyond `patience` counts with what it took."""
    total, missed, ahead = 0.0, [], []
    X64 = X.astype(np.float64)
    for C, best in zip(values, reached, strict=True):
        spent = 0.0
        for tol in 10.0 ** -np.arange(4, 13):
            took, (fit,) = seconds(lambda C=C, tol=tol: cold(X64, y, [C], tol))
            spent += took
            relative = objective(X, y, fit.coef_, fit.intercept_, C) / best - 1
            if relative <= CLOSE:
                total += took
                ahead.append(relative)
                break
            if spent > patience:
                total += spent
                missed.append({"C": C, "relative": relative})
                break
    report.add(
        f"{name}: 45 values, cold lbfgs to the same objective",
        [ours],
        [total * len(GRID) / len(values)],
        50,
        values_of_cold_loop=list(values),
        not_reached=missed,
        # Negative: the tight fit lies below ours, by this much of the objective.
        other_above_ours=ahead,
    )


def compare_cross_validation(report: Report, name: str, X: Rows, y: Labels, rounds: int) -> None:
    """Compare selection by 5 folds among 10 values with LogisticRegressionCV at its default tolerance."""
    Cs = np.logspace(-4, 2, 10)
    ours: list[float] = []
    theirs: list[float] = []
    mine, other = None, None
    for _ in range(rounds):
        took, mine = seconds(lambda: LogisticRegressionPath(Cs, cv=5).fit(X, y))
        ours.append(took)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            took, other = seconds(
                lambda: sklearn.linear_model.LogisticRegressionCV(Cs=Cs, cv=5, max_iter=1000).fit(X, y)
            )
        theirs.append(took)
    assert mine is not None
    report.add(
        f"{name}: 10 values x 5 folds, LogisticRegressionCV",
        ours,
        theirs,
        chosen=[mine.best_C_, float(np.ravel(other.C_)[0])],
    )


def compare_mapping(report: Report, name: str, X: Rows, y: Labels, rounds: int) -> None:
    """Compare the path in 5 folds with the same work when each fit maps all its models back to features."""
    from embedkit.estimators import linear_problem

    path = linear_problem.LinearProblem.path

    def mapped(problem: Any, Cs: Any, tol: float) -> Any:
        found = path(problem, Cs, tol)
        for i in range(len(found.Cs)):
            found.model(i)
        return found

    def processor_seconds() -> float:
        began = time.process_time()
        LogisticRegressionPath(GRID, cv=5).fit(X, y)
        return time.process_time() - began

    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        ours.append(processor_seconds())
        linear_problem.LinearProblem.path = mapped
        try:
            theirs.append(processor_seconds())
        finally:
            linear_problem.LinearProblem.path = path
    report.add(
        f"{name}: 45 values x 6 fits, every model mapped back, of the processor",
        ours,
        theirs,
        expected=7.7 / (7.7 - 3.4),
    )


def compare_neighbours(report: Report, n: int, width: int, n_queries: int, rounds: int, threads: int) -> None:
    """Exact search for the 200 nearest; ours normalises, votes and all."""
    X, y = synthetic(n, width, 100)
    queries, _ = synthetic(n_queries, width, 100, seed=1)
    k = min(200, n // 2)
    model = KNeighborsClassifier(k, weights="softmax").fit(X, y)
    contenders: dict[str, Callable[[], Any]] = {}
    brute = sklearn.neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine").fit(X)
    contenders["scikit-learn brute"] = lambda: brute.kneighbors(queries)
    if importlib.util.find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(threads)
        index = faiss.IndexFlatIP(width)
        index.add(X / np.linalg.norm(X, axis=1, keepdims=True))
        normalised = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        contenders["faiss exact"] = lambda: index.search(normalised, k)
    for other, search in contenders.items():
        goal = 1 / 1.5 if other.startswith("faiss") else None
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(rounds):
            ours.append(seconds(lambda: model.kneighbors(queries))[0])
            theirs.append(seconds(search)[0])
        report.add(f"{n} x {width}, {n_queries} queries, k={k}: {other}", ours, theirs, goal and round(goal, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=9_000)
    parser.add_argument("--features", type=Path, action="append", default=[], help="feature files, instead of --rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "probes.json")
    arguments = parser.parse_args()
    report = Report(arguments)
    with threadpool_limits(arguments.threads):
        if arguments.quick:
            X, y = synthetic(1_500, 96, 10)
            compare_paths(report, "quick 1500 x 96, 10 classes", X, y, 3, 1, 5.0)
            compare_neighbours(report, 5_000, 96, 500, 1, arguments.threads)
        elif arguments.features:
            for path in arguments.features:
                table = FeatureTable.open(path)
                rows = np.ones(len(table.X), bool) if table.split is None else table.split == "train"
                X, y = table.X[rows], np.unique(table.y[rows], return_inverse=True)[1]
                name = f"{path.stem} {len(X)} x {X.shape[1]}"
                compare_paths(report, name, X, y, 5, arguments.rounds, 60.0)
                compare_cross_validation(report, name, X, y, 1)
                compare_mapping(report, name, X, y, arguments.rounds)
        else:
            n = arguments.rows
            X, y = synthetic(n, 768, 100)
            few = n > 20_000
            compare_paths(
                report,
                f"{n} x 768, 100 classes",
                X,
                y,
                1 if few else 5,
                1 if few else arguments.rounds,
                0 if few else 60.0,
            )
            compare_neighbours(report, 50_000, 768, 2_000, arguments.rounds, arguments.threads)


if __name__ == "__main__":
    main()
