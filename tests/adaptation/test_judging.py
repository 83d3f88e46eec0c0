"""What the validation rows say: by log-loss after temperature, and by a test of their differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from embedkit.adaptation.judging import calibrated_losses, is_better, judged


def logits(seed: int, rows: int = 200, margin: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    y = draws.integers(0, 5, rows)
    found = draws.normal(size=(rows, 5))
    found[np.arange(rows), y] += margin
    return found.astype(np.float32), y.astype(np.intp)


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_the_temperature_is_the_best_of_a_grid(scale: float) -> None:
    found, y = logits(0)
    losses = calibrated_losses(scale * found, y)
    grid = [-log_softmax(found / t, axis=1)[np.arange(len(y)), y].mean() for t in np.geomspace(0.1, 10, 400)]
    assert losses.mean() == pytest.approx(min(grid), abs=1e-4)


def test_a_gain_of_all_rows_counts_where_hardly_any_changes_its_class() -> None:
    found, y = logits(1, margin=4.0)
    better = found.copy()
    better[np.arange(len(y)), y] += 0.4
    start, tried = judged(found, y), judged(better, y)
    assert tried.accuracy - start.accuracy < 0.02
    assert is_better(tried, start, 4)
    assert not is_better(start, tried)
    assert not is_better(start, start)


def test_noise_is_no_gain() -> None:
    draws = np.random.default_rng(2)
    taken = 0
    for seed in range(100):
        found, y = logits(seed + 10, rows=100)
        tried = found + 0.7 * draws.normal(size=found.shape).astype(np.float32)
        other = found + 0.7 * draws.normal(size=found.shape).astype(np.float32)
        taken += is_better(judged(tried, y), judged(other, y))
    assert taken <= 8  # 2.5 of a hundred are expected


def test_better_losses_do_not_buy_worse_names() -> None:
    y = np.zeros(100, np.intp)
    start = np.tile(np.array([[0.05, 0.0]], np.float32), (100, 1))
    tried = np.tile(np.array([[3.0, 0.0]], np.float32), (100, 1))
    tried[:20] = [-0.01, 0.0]
    assert judged(tried, y).loss < judged(start, y).loss
    assert not is_better(judged(tried, y), judged(start, y))
