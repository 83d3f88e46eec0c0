"""The pictures of the demonstration: the same on every machine, and of no use to raw pixels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestCentroid

from embedkit.workflows.patterns import PATTERNS, draw_pattern


def drawn(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    pictures = [draw_pattern(name, random) for name in PATTERNS for _ in range(count)]
    return np.array(pictures), np.repeat(list(PATTERNS), count)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_seed_decides_a_picture(name):
    first, again, other = (draw_pattern(name, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first.shape, first.dtype) == ((96, 96, 3), np.uint8)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.astype(int).std() > 20  # two colours, not one


def test_pixels_do_not_tell_patterns_apart():
    (train, known), (test, asked) = drawn(0, 20), drawn(1, 20)
    by_pixels = NearestCentroid().fit(train[:, ::3, ::3].reshape(len(train), -1), known)
    assert by_pixels.score(test[:, ::3, ::3].reshape(len(test), -1), asked) < 0.25  # a tenth is chance
