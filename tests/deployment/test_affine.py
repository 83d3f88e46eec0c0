from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.deployment.affine import Affine


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_one_after_the_other_is_one_map(seed, d, k, m):
    rng = np.random.default_rng(seed)
    first = Affine(rng.normal(size=d), rng.normal(size=(k, d)), rng.normal(size=k))
    second = Affine(rng.normal(size=k), rng.normal(size=(m, k)), rng.normal(size=m))
    X = rng.normal(size=(5, d))
    np.testing.assert_allclose(apply(first.then(second), X), apply(second, apply(first, X)), rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1.0, 1e6]), st.sampled_from([1e-6, 1.0, 1e6]))
def test_a_function_is_read_off_wherever_it_lies(seed, far, spread):
    """Means far from 0 compared with the deviations, and the other way round."""
    rng = np.random.default_rng(seed)
    mean, deviation = far * rng.normal(size=4), spread * rng.uniform(0.5, 2, size=4)
    mixing = rng.normal(size=(3, 4))

    def function(X):
        return (X - mean) / deviation @ mixing.T + 1

    X = mean + deviation * rng.normal(size=(5, 4))
    np.testing.assert_allclose(apply(Affine.of(function, mean), X), function(X), rtol=1e-6, atol=1e-6)


def test_rounding_keeps_small_deviations_far_from_zero():
    rng = np.random.default_rng(0)
    mean = 1000 + rng.normal(size=50)
    X = (mean + 1e-3 * rng.normal(size=(20, 50))).astype(np.float32)
    affine = Affine(mean, rng.normal(size=(3, 50)) / 1e-3, np.zeros(3))
    centre, matrix, offset = affine.rounded()
    assert {part.dtype for part in (centre, matrix, offset)} == {np.dtype(np.float32)}
    np.testing.assert_allclose((X - centre) @ matrix.T + offset, apply(affine, X), rtol=1e-4, atol=1e-4)


def test_linear_takes_vectors_and_single_numbers():
    affine = Affine.linear([1.0, 2.0], 3.0)
    np.testing.assert_allclose(apply(affine, np.array([[1.0, 1.0]])), [[6.0]])


def apply(affine: Affine, X):
    return (X - affine.centre) @ affine.matrix.T + affine.offset
