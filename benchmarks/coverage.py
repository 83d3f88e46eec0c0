"""How often the 95 % intervals that are printed hold the truth.

    python -m benchmarks.coverage [--repeats 400] [--output benchmarks/results/coverage.json]

Populations whose metrics are known (from 50,000 rows) are sampled again and again, and `judge`, which every printed
interval comes from, gives an interval of each sample. A table says for each metric, number of rows and of classes,
balance and quality of the model how many of the intervals hold the population's metric; `shown` is the share of samples
that got an interval at all. The standard error of a coverage of 95 % is 1.1 points with 400 repeats.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import Predicted, further_metrics, judge

Sample = tuple[npt.NDArray[Any], list[Predicted]]
POPULATION = 50_000
GOAL = 0.93, 0.97


def classes(random: np.random.Generator, n: int, k: int, skewed: bool, signal: float) -> Sample:
    """Draw one class a row, and the probabilities of a model that is calibrated but for its sharpness."""
    weights = 1.0 / np.arange(1, k + 1) if skewed else np.ones(k)
    y = random.choice(k, n, p=weights / weights.sum())
    logits = random.standard_normal((n, k))
    logits[np.arange(n), y] += signal
    logits *= signal
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return y, [Predicted(targets=p.argmax(axis=1), scores=p, are_probabilities=True)]


def labels(random: np.random.Generator, n: int, k: int, skewed: bool, signal: float) -> Sample:
    """Draw several labels a row, each with its frequency, and scores."""
    y = random.random((n, k)) < (np.linspace(0.05, 0.4, k) if skewed else 0.3)
    scores = random.standard_normal((n, k)) + signal * y
    return y, [Predicted(targets=scores > signal / 2, scores=scores)]


def values(random: np.random.Generator, n: int, k: int, skewed: bool, signal: float) -> Sample:
    """Draw values and predictions; skewed: residuals with heavy tails."""
    truth = random.standard_normal(n)
    noise = random.standard_t(5, n) if skewed else random.standard_normal(n)
    return truth, [Predicted(targets=truth * signal / (1 + signal) + noise / (1 + signal))]


def few_shots(random: np.random.Generator, n: int, k: int, skewed: bool, signal: float) -> Sample:
    """Draw the predictions of models fitted on several draws of few images: images and draws differ in difficulty."""
    y = random.integers(0, k, n)
    difficulty = random.standard_normal(n)
    draws = []
    for _ in range(5):
        right = difficulty + 0.4 * random.standard_normal() + random.standard_normal(n) < signal
        other = (y + random.integers(1, k, n)) % k
        draws.append(Predicted(targets=np.where(right, y, other)))
    return y, draws


Maker = Callable[[np.random.Generator, int, int, bool, float], Sample]
CASES: dict[str, tuple[Maker, tuple[int, ...], tuple[float, ...]]] = {
    "classes": (classes, (2, 10, 100), (1.5, 2.5)),
    "several labels": (labels, (2, 20), (1.5, 3.0)),
    "values": (values, (1,), (1.0, 4.0)),
    "few-shot draws": (few_shots, (2, 10, 100), (0.5, 2.0)),
}


def cells(kind: str, sizes: list[int]) -> Iterator[tuple[int, int, bool, float]]:
    _, counts, signals = CASES[kind]
    for n in sizes:
        for k in counts:
            for skewed in (False, True) if kind != "few-shot draws" else (False,):
                for signal in signals:
                    yield n, k, skewed, signal


def judged(kind: str, sample: Sample, seed: int) -> dict[str, dict[str, Any]]:
    y, draws = sample
    main = "r2" if kind == "values" else "accuracy"
    found = {**judge([main], y, draws, random_state=seed), **further_metrics(main, y, draws, seed)}
    if kind == "several labels":
        found.update(judge(["map_area"], y, draws, n_resamples=200, random_state=seed))
    return found


def truth_of(kind: str, k: int, skewed: bool, signal: float) -> dict[str, float]:
    make = CASES[kind][0]
    random = np.random.default_rng(1_000)
    rows = POPULATION if k < 100 else POPULATION // 5
    if kind != "few-shot draws":
        sample = make(random, rows, k, skewed, signal)
        return {name: one["value"] for name, one in judged_value(kind, sample).items()}
    # The draws decide, so many are wanted.
    parts = [judged_value(kind, make(random, 1000, k, skewed, signal)) for _ in range(300)]
    return {name: float(np.mean([part[name]["value"] for part in parts])) for name in parts[0]}


def judged_value(kind: str, sample: Sample) -> dict[str, dict[str, Any]]:
    """Judge without the bootstrap."""
    from embedkit.evaluation.judging import METRICS, applicable

    y, draws = sample
    names = [*applicable(y, draws[0]), *(["map_area"] if kind == "several labels" else [])]
    return {name: {"value": float(np.mean([METRICS[name](y, draw) for draw in draws]))} for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--sizes", default="50,200,2000")
    parser.add_argument("--kinds", default=",".join(CASES))
    parser.add_argument("--minutes", type=float, default=10, help="Of processor time; slow cells get fewer repeats.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "coverage.json")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    wanted = [(kind, *cell) for kind in arguments.kinds.split(",") for cell in cells(kind, sizes)]
    seconds = 60 * arguments.minutes / len(wanted)
    results: list[dict[str, Any]] = []
    known: dict[Any, dict[str, float]] = {}
    for kind, n, k, skewed, signal in wanted:
        if (kind, k, skewed, signal) not in known:
            known[kind, k, skewed, signal] = truth_of(kind, k, skewed, signal)
        truth = known[kind, k, skewed, signal]
        random = np.random.default_rng(n + k)
        held: dict[str, list[bool]] = {name: [] for name in truth}
        started, done = time.process_time(), 0
        while done < arguments.repeats and (done < 40 or time.process_time() - started < seconds):
            sample = CASES[kind][0](random, n, k, skewed, signal)
            for name, one in judged(kind, sample, done).items():
                if one["interval"] is not None:
                    low, high = one["interval"]
                    held[name].append(bool(low <= truth[name] <= high))
            done += 1
        for name, found in held.items():
            results.append(
                {
                    "kind": kind,
                    "metric": name,
                    "rows": n,
                    "classes": k,
                    "skewed": skewed,
                    "signal": signal,
                    "truth": truth[name],
                    "repeats": done,
                    "shown": len(found) / done,
                    "coverage": float(np.mean(found)) if found else None,
                }
            )
    report(results)
    arguments.output.write_text(json.dumps({"goal": GOAL, "results": results}, indent=1) + "\n")


def report(results: list[dict[str, Any]]) -> None:
    """Print for each metric the coverages over its cells: the worst ones, the mean, and how many are in the goal."""
    header = ("kind", "metric", "rows", "cells", "shown", "lowest", "mean", "highest")
    print("{:15} {:24} {:>5} {:>5} {:>6} {:>7} {:>6} {:>7}  in goal".format(*header))
    for key in dict.fromkeys((one["kind"], one["metric"], one["rows"]) for one in results):
        mine = [one for one in results if (one["kind"], one["metric"], one["rows"]) == key]
        # A coverage of a handful of intervals says nothing.
        found = [one["coverage"] for one in mine if one["shown"] * one["repeats"] >= 30]
        shown = np.mean([one["shown"] for one in mine])
        if not found:
            print(f"{key[0]:15} {key[1]:24} {key[2]:5} {len(mine):5} {shown:6.2f}       -      -       -")
            continue
        inside = sum(GOAL[0] <= one <= GOAL[1] for one in found)
        print(
            f"{key[0]:15} {key[1]:24} {key[2]:5} {len(mine):5} {shown:6.2f} {100 * min(found):7.1f} "
            f"{100 * np.mean(found):6.1f} {100 * max(found):7.1f}  {inside} of {len(found)}"
        )


if __name__ == "__main__":
    main()
