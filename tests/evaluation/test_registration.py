"""Whether two pictures are one hangs neither on their order nor on how sharp they are."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit.evaluation.registration import likeness


@pytest.fixture(scope="module")
def pictures():
    """Smooth random pictures, float32 (40, 3, 32, 32) in [0, 1], and each cropped by a tenth and brightened."""
    random = np.random.default_rng(3)
    places = np.arange(32)
    K = np.exp(-0.5 * ((places[:, None] - places) / 1.2) ** 2)
    K /= K.sum(1, keepdims=True)
    X = K @ random.random((40, 3, 32, 32)) @ K.T
    at = 1.6 + places * 28.8 / 32
    low = at.astype(int)
    W = np.zeros((32, 32))
    W[places, low], W[places, low + 1] = 1 - (at - low), at - low
    return X.astype(np.float32), (0.8 * (W @ X @ W.T) + 0.1).astype(np.float32)


def pairs(X, Y):
    rows = np.arange(len(X))
    both = np.concatenate([X, Y])
    return likeness(both, rows, rows + len(X)), likeness(both, rows + len(X), rows)


def test_the_order_of_two_pictures_decides_nothing(pictures):
    X, cropped = pictures
    one, other = pairs(X, cropped)
    np.testing.assert_array_equal(one, other)
    assert one.min() > 0.957


def test_a_picture_in_half_its_size_is_itself(pictures):
    X, _ = pictures
    half = X.reshape(len(X), 3, 16, 2, 16, 2).mean((3, 5)).repeat(2, 2).repeat(2, 3)
    assert (pairs(X, half)[0] > 0.957).mean() >= 0.9


def test_different_pictures_are_not_one(pictures):
    X, _ = pictures
    assert pairs(X, np.roll(X, 1, axis=0))[0].max() < 0.8
