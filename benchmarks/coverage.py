"""How often the 95 % intervals that are printed hold the truth.

    python -m benchmarks.coverage [--kinds classes,values] [--sizes 50,200] [--minutes 12] [--seed 1]

Every place that prints an interval, and what simulates it here:

    probe, fit, demo, report: a result's own metric                         classes, several labels, values, few-shot
    probe --json: `metrics`, those of a protocol's other settings too       the same
    compare: over test images, of several seeds                             compare's images
    compare: over seeds, these test images given                            compare's seeds
    curve, demo: with a test split, of draws of training images             few-shot, values of draws
    curve: without a split, another fold for each seed                      folds of a curve
    predict: accuracy, share of images with all labels right; demo: all     shares
    select, layers, gap, finetune: accuracy                                 shares

`compare` prints p-values of differences and no interval of them (`benchmarks/null.py`); `audit` prints none.

Populations whose metrics are known (in closed form, or from 100,000 rows and more) are sampled again and again;
`shares` are exact: the sum over all counts. A cell is in the goal where its coverage is between 93 and 97 % within two
standard errors of the simulation; it is repeated until its band of two standard errors is inside of the goal or outside
of it, or its time is up, 400 times at least. Shares of which fewer than ten rows are wrong are discrete: no interval of
a count covers them in 93 to 97 % of cases, so that more than that is said, but is no miss. Cells of which fewer than a
fifth of the samples get an interval are not judged: those samples are no draw of the population.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import scipy.stats

from embedkit.evaluation import Predicted, interval_of_scores, interval_over_draws, judge, share_interval
from embedkit.evaluation.judging import METRICS, WITHOUT_INTERVAL, applicable

_stats = cast(Any, scipy.stats)  # not typed throughout
GOAL = 0.93, 0.97
LEAST_REPEATS, STEP, MOST_REPEATS = 400, 200, 2000
COUNTED = {"accuracy", "top5_accuracy", "mean_per_class_accuracy", "macro_f1", "weighted_f1", "quadratic_kappa"}
RANKED = {"roc_auc", "roc_auc_ovo", "average_precision"}
Sample = tuple[npt.NDArray[Any], list[Predicted]]
Random = np.random.Generator


@dataclass(frozen=True)
class Cell:
    """What is simulated: rows of test images, classes, their balance, and how good the model is."""

    kind: str
    rows: int
    classes: int
    balance: str
    signal: float


@dataclass(frozen=True)
class Coverage:
    """Of one metric in one cell; `shown` is the share of samples that got an interval at all."""

    kind: str
    metric: str
    rows: int
    classes: int
    balance: str
    signal: float
    truth: float
    repeats: int
    shown: float
    coverage: float | None

    @property
    def error(self) -> float:
        """Give the standard error of a coverage of 95 %."""
        return float(np.sqrt(0.95 * 0.05 / max(1, self.shown * self.repeats)))

    @property
    def verdict(self) -> str:
        """Say whether the coverage is in the goal."""
        if self.coverage is None or self.shown < 0.2:
            return "none"
        if GOAL[0] - 2 * self.error <= self.coverage <= GOAL[1] + 2 * self.error:
            return "in the goal"
        few = self.rows * (1 - self.truth) < 10
        return "discrete" if self.coverage > GOAL[1] and few and self.metric in COUNTED | RANKED else "missed"


def classes(random: Random, n: int, k: int, balance: str, signal: float) -> Sample:
    """Draw one class a row, and the probabilities of a model that is calibrated but for its sharpness."""
    weights = {"even": np.ones(k), "skewed": 1 / np.arange(1, k + 1), "rare": np.array([0.95, 0.05])}[balance]
    y = random.choice(k, n, p=weights / weights.sum())
    logits = random.standard_normal((n, k))
    logits[np.arange(n), y] += signal
    logits *= signal
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return y, [Predicted(targets=p.argmax(axis=1), scores=p, are_probabilities=True)]


def several_labels(random: Random, n: int, k: int, balance: str, signal: float) -> Sample:
    """Draw several labels a row, each with its frequency, and scores."""
    y = random.random((n, k)) < (np.linspace(0.05, 0.4, k) if balance == "skewed" else 0.3)
    scores = random.standard_normal((n, k)) + signal * y
    return y, [Predicted(targets=scores > signal / 2, scores=scores)]


def values(random: Random, n: int, k: int, balance: str, signal: float) -> Sample:
    """Draw values and predictions; skewed: residuals with heavy tails."""
    truth = random.standard_normal(n)
    noise = random.standard_t(5, n) if balance == "skewed" else random.standard_normal(n)
    return truth, [Predicted(targets=truth * signal / (1 + signal) + noise / (1 + signal))]


def few_shots(random: Random, n: int, k: int, balance: str, signal: float) -> Sample:
    """Draw the predictions of models fitted on several draws of few images: images and draws differ in difficulty."""
    y = random.integers(0, k, n)
    difficulty = random.standard_normal(n)
    draws: list[Predicted] = []
    for _ in range(5):
        right = difficulty + 0.4 * random.standard_normal() + random.standard_normal(n) < signal
        other = (y + random.integers(1, k, n)) % k
        draws.append(Predicted(targets=np.where(right, y, other)))
    return y, draws


def draws_of_values(random: Random, n: int, k: int, balance: str, signal: float) -> Sample:
    """Draw predictions of values by models fitted on several draws, each with more or less of one mistake."""
    truth, shared, at = random.standard_normal((3, n))
    of_draws = 1 + 0.5 * random.standard_normal((5, 1))
    said = truth + (shared + of_draws * at + random.standard_normal((5, n))) / signal
    return truth, [Predicted(targets=one) for one in said]


Maker = Callable[[Random, int, int, str, float], Sample]
MAKERS: dict[str, tuple[Maker, tuple[int, ...], tuple[str, ...], tuple[float, ...]]] = {
    "classes": (classes, (2, 10, 100), ("even", "skewed", "rare"), (1.5, 2.5)),
    "several labels": (several_labels, (2, 20), ("even", "skewed"), (1.5, 3.0)),
    "values": (values, (1,), ("even", "skewed"), (1.0, 4.0)),
    "few-shot": (few_shots, (2, 10, 100), ("even",), (0.5, 2.0)),
    "values of draws": (draws_of_values, (1,), ("even",), (2.0, 5.0)),
}


def cells(kind: str, sizes: list[int]) -> Iterator[Cell]:
    _, counts, balances, signals = MAKERS.get(kind, (None, (2,), ("even",), (0.5, 2.0)))
    for k in counts:
        for n in sizes:
            for balance in balances if k == 2 else [one for one in balances if one != "rare"]:
                for signal in signals:
                    yield Cell(kind, n, k, balance, signal)


def names_of(kind: str, sample: Sample) -> list[str]:
    y, draws = sample
    names = [name for name in applicable(y, draws[0]) if name not in WITHOUT_INTERVAL]
    if kind == "classes":  # those of a protocol; of a hundred classes there are 4,950 pairs
        names += ["weighted_f1", "quadratic_kappa", *(["roc_auc_ovo"] if y.max() < 10 else [])]
    return names


def truths_of(cell: Cell) -> dict[str, float]:
    make, random = MAKERS[cell.kind][0], np.random.default_rng(987)
    if cell.kind == "few-shot":
        y, draws = make(random, 2000, cell.classes, cell.balance, cell.signal)
        # Difficulties of images, of draws and of both have variances 1, 0.16 and 1; mistakes are of all classes alike.
        return dict.fromkeys(names_of(cell.kind, (y, draws)), float(_stats.norm.cdf(cell.signal / np.sqrt(2.16))))
    if cell.kind == "values of draws":
        # Residuals have variance (1 + (1 + z / 2)^2 + 1) / signal^2; R2's mean is exact, that of a correlation is not.
        z = np.random.default_rng(5).standard_normal(1_000_000)
        residual = (2 + (1 + z / 2) ** 2) / cell.signal**2
        return {"r2": 1 - 3.25 / cell.signal**2, "pearson": float(np.mean(1 / np.sqrt(1 + residual)))}
    sample = make(random, 400_000 if cell.classes <= 2 else 100_000, cell.classes, cell.balance, cell.signal)
    return {name: METRICS[name](sample[0], sample[1][0]) for name in names_of(cell.kind, sample)}


def held_by_judge(cell: Cell, truths: dict[str, float], random: Random) -> dict[str, bool]:
    y, draws = MAKERS[cell.kind][0](random, cell.rows, cell.classes, cell.balance, cell.signal)
    found = {name: one["interval"] for name, one in judge(list(truths), y, draws).items()}
    return {name: ends[0] <= truths[name] <= ends[1] for name, ends in found.items() if ends is not None}


def held_by_scores(cell: Cell, random: Random) -> dict[str, bool]:
    """Take the mean over three seeds' models of each image: what these very models are worth on average."""
    difficulty, of_models = random.standard_normal(cell.rows), 0.4 * random.standard_normal((3, 1))
    right = difficulty + of_models + random.standard_normal((3, cell.rows)) < cell.signal
    low, high = interval_of_scores(right.mean(axis=0))
    return {"accuracy": bool(low <= _stats.norm.cdf((cell.signal - of_models) / np.sqrt(2)).mean() <= high)}


def ends_of(found: list[float]) -> tuple[float, float]:
    ends = interval_over_draws("accuracy", found)
    return ends or (found[0], found[0])  # which no interval holds


def held_by_seeds(cell: Cell, random: Random) -> dict[str, bool]:
    """Student's interval over five seeds: the mean over all seeds on these test images."""
    difficulty = random.standard_normal(cell.rows)
    right = [
        difficulty + 0.4 * random.standard_normal() + random.standard_normal(cell.rows) < cell.signal for _ in range(5)
    ]
    truth = _stats.norm.cdf((cell.signal - difficulty) / np.sqrt(1.16)).mean()
    low, high = ends_of([float(one.mean()) for one in right])
    return {"accuracy": bool(low <= truth <= high)}


def held_by_folds(cell: Cell, random: Random) -> dict[str, bool]:
    """Student's interval over five seeds that test another fifth of the images each."""
    n = max(2, cell.rows // 5)
    difficulty = random.standard_normal((5, n)) + 0.4 * random.standard_normal((5, 1)) + random.standard_normal((5, n))
    found = (difficulty < cell.signal).mean(axis=1)
    low, high = ends_of(found.tolist())
    return {"accuracy": bool(low <= _stats.norm.cdf(cell.signal / np.sqrt(2.16)) <= high)}


OTHERS: dict[str, Callable[[Cell, Random], dict[str, bool]]] = {
    "compare's images": held_by_scores,
    "compare's seeds": held_by_seeds,
    "folds of a curve": held_by_folds,
}
KINDS = [*MAKERS, *OTHERS, "shares"]


def simulated(cell: Cell, truths: dict[str, float], seconds: float, seed: int) -> list[Coverage]:
    own = [cell.rows, cell.classes, len(cell.balance), int(10 * cell.signal), len(cell.kind)]
    random = np.random.default_rng([seed, *own])
    held: dict[str, list[bool]] = {name: [] for name in truths}
    started, done = time.process_time(), 0
    while done < MOST_REPEATS:
        for _ in range(LEAST_REPEATS if done == 0 else STEP):
            judged = OTHERS[cell.kind](cell, random) if cell.kind in OTHERS else held_by_judge(cell, truths, random)
            for name, holds in judged.items():
                held[name].append(holds)
            done += 1
        found = [np.mean(one) for one in held.values() if one]
        error = 2 * np.sqrt(0.95 * 0.05 / done)
        clear = [min(abs(one - GOAL[0]), abs(one - GOAL[1])) > error for one in found]
        if all(clear) or time.process_time() - started > seconds:
            break
    return [
        Coverage(
            **asdict(cell),
            metric=name,
            truth=float(truths[name]),
            repeats=done,
            shown=len(found) / done,
            coverage=float(np.mean(found)) if found else None,
        )
        for name, found in held.items()
    ]


def exact(n: int, share: float) -> Coverage:
    counts = np.arange(n + 1)
    ends = np.array([share_interval(count, n) for count in counts.tolist()])
    holds = (ends[:, 0] <= share) & (share <= ends[:, 1])
    covered = float(_stats.binom.pmf(counts[holds], n, share).sum())
    return Coverage("shares", "accuracy", n, 2, "even", share, share, 10**9, 1.0, covered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="50,200,1000,2000")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--minutes", type=float, default=12, help="Of processor time; slow cells get fewer repeats.")
    parser.add_argument("--seed", type=int, default=1, help="Of the simulation; the rules were settled with others.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "coverage.json")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    wanted = [cell for kind in arguments.kinds.split(",") if kind != "shares" for cell in cells(kind, sizes)]
    seconds = 60 * arguments.minutes / max(1, len(wanted))
    results: list[Coverage] = []
    known: dict[Any, dict[str, float]] = {}
    for cell in wanted:
        key = cell.kind, cell.classes, cell.balance, cell.signal
        if cell.kind not in OTHERS and key not in known:
            known[key] = truths_of(cell)
        results += simulated(cell, known.get(key, {"accuracy": 0.5}), seconds, arguments.seed)
        write(arguments.output, results, arguments.seed)
    if "shares" in arguments.kinds.split(","):
        results += [exact(n, share) for n in sizes for share in (0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)]
    report(results)
    write(arguments.output, results, arguments.seed)


def write(file: Path, results: list[Coverage], seed: int) -> None:
    plain = [{**asdict(one), "verdict": one.verdict} for one in results]
    file.write_text(json.dumps({"goal": GOAL, "seed": seed, "results": plain}, indent=1) + "\n")


def report(results: list[Coverage]) -> None:
    """Print for each metric the coverages over its cells: the worst ones, the mean, and how many are in the goal."""
    header = ("kind", "metric", "rows", "cells", "judged", "lowest", "mean", "highest")
    print("{:16} {:24} {:>5} {:>5} {:>6} {:>7} {:>6} {:>7}  in goal".format(*header))
    for key in dict.fromkeys((one.kind, one.metric, one.rows) for one in results):
        mine = [one for one in results if (one.kind, one.metric, one.rows) == key]
        found = [one for one in mine if one.verdict != "none"]
        covered = [100 * one.coverage for one in found if one.coverage is not None]
        if not covered:
            print(f"{key[0]:16} {key[1]:24} {key[2]:5} {len(mine):5} {0:6}       -      -       -")
            continue
        inside, discrete = (sum(one.verdict == said for one in found) for said in ("in the goal", "discrete"))
        print(
            f"{key[0]:16} {key[1]:24} {key[2]:5} {len(mine):5} {len(found):6} {min(covered):7.1f} "
            f"{np.mean(covered):6.1f} {max(covered):7.1f}  {inside} of {len(found)}"
            + (f", {discrete} discrete" if discrete else "")
        )
    for one in results:
        if one.verdict == "missed" and one.coverage is not None:
            what = f"{one.kind}, {one.metric}, {one.rows} rows, {one.classes} classes, {one.balance}, {one.signal}"
            print(
                f"missed: {what}: {100 * one.coverage:.1f} % +- {200 * one.error:.1f} of {one.shown * one.repeats:.0f}"
            )


if __name__ == "__main__":
    main()
