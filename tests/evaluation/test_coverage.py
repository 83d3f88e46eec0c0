"""Printed intervals hold the truth in 93 to 97 % of samples, or there is none: some cells of `benchmarks.coverage`."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from benchmarks.coverage import Cell, exact, simulated, truths_of
from embedkit.evaluation import Predicted, judge
from embedkit.evaluation.judging import LEAST_OF_CLASS, LEAST_OF_RARE, LEAST_OF_RAREST
from embedkit.evaluation.statistics import share_interval, wilson_interval

CELLS = {
    Cell("classes", 50, 2, "skewed", 1.5): {"accuracy", "mean_per_class_accuracy", "macro_f1", "quadratic_kappa"},
    Cell("classes", 200, 2, "even", 1.5): {"roc_auc", "log_loss", "weighted_f1"},
    Cell("several labels", 200, 2, "even", 1.5): {"accuracy", "roc_auc", "average_precision"},
    Cell("values", 50, 1, "even", 4.0): {"r2", "pearson"},
    Cell("few-shot", 50, 10, "even", 0.5): {"accuracy"},
    Cell("values of draws", 200, 1, "even", 2.0): {"r2", "pearson"},
    Cell("compare's images", 200, 2, "even", 0.5): {"accuracy"},
    Cell("compare's seeds", 200, 2, "even", 2.0): {"accuracy"},
    Cell("folds of a curve", 50, 2, "even", 2.0): {"accuracy"},
}


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.kind}, {cell.rows} rows")
def test_the_truth_is_held(cell):
    others = cell.kind.startswith(("compare", "folds"))
    truths = {"accuracy": 0.5} if others else truths_of(cell)
    found = {one.metric: one for one in simulated(cell, truths, seconds=0, seed=1)}
    assert found.keys() >= CELLS[cell]
    for name in CELLS[cell]:
        assert found[name].shown >= 0.85, name
        assert found[name].verdict == "in the goal", found[name]


@pytest.mark.parametrize("n", [50, 200, 1000])
def test_a_share_is_held_by_the_sum_over_all_counts(n):
    shares = np.concatenate([np.linspace(0.5, 0.97, 95), 1 - np.geomspace(0.03, 1e-4, 60)])
    counts = np.arange(n + 1)

    def lowest(interval):
        ends = np.array([interval(int(count), n) for count in counts])
        return min(
            scipy.stats.binom.pmf(counts[(ends[:, 0] <= share) & (share <= ends[:, 1])], n, share).sum()
            for share in shares
        )

    assert lowest(share_interval) >= 0.927
    assert lowest(wilson_interval) < 0.86
    assert exact(n, 0.9).coverage == pytest.approx(0.95, abs=0.021)


def test_too_few_of_a_class_have_no_interval_and_it_is_said():
    random = np.random.default_rng(0)

    def of(counts, metric):
        y = np.repeat(np.arange(len(counts)), counts)
        scores = random.standard_normal((len(y), len(counts)))
        found = judge([metric], y, [Predicted(targets=scores.argmax(axis=1), scores=scores)])[metric]
        assert ("no_interval" in found) == (found["interval"] is None)
        return found.get("no_interval", "")

    assert of([LEAST_OF_RAREST, 40], "roc_auc") == ""
    assert of([LEAST_OF_RAREST - 1, 40], "roc_auc") == "fewer than 20 test images of some class"
    assert of([LEAST_OF_RARE - 1, 2000], "roc_auc") == "fewer than 200 test images of some class"
    assert of([LEAST_OF_RARE, 2000], "roc_auc") == ""
    assert of([10, 20, 30], "roc_auc") == ""  # three classes share what each has
    assert of([4, 50], "macro_f1") == f"fewer than {LEAST_OF_CLASS['macro_f1']} test images of some class"
    assert of([10, 50], "macro_f1") == ""
    assert of([99, 2000], "mean_per_class_accuracy") == "fewer than 100 test images of some class"
    assert of([100, 2000], "quadratic_kappa") == ""
    assert of([9, 50], "quadratic_kappa") == "fewer than 10 test images of some class"
