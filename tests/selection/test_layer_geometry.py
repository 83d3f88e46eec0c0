"""Spectra, ranks and separability against cases that are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from embedkit.selection import effective_rank, separability, variance_shares


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_shares_are_those_of_pca(shape):
    X = np.random.default_rng(0).normal(size=shape) + 3
    found = variance_shares(X)
    expected = PCA().fit(X).explained_variance_ratio_
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-10)


def test_effective_rank_counts_directions():
    rng = np.random.default_rng(0)
    line = rng.normal(size=(200, 1)) @ rng.normal(size=(1, 9))
    assert effective_rank(variance_shares(line)) == pytest.approx(1)
    square = np.vstack([np.eye(4), -np.eye(4)])
    assert effective_rank(variance_shares(square)) == pytest.approx(4)
    assert effective_rank(variance_shares(np.ones((5, 3)))) == 0


def test_separability_is_between_nothing_and_all():
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    near, far = rng.normal(size=(300, 5)), rng.normal(size=(300, 5)) + 30 * rng.normal(size=(3, 5))[y]
    assert 0 <= separability(near, y) < 0.1
    assert 0.9 < separability(far, y) <= 1
    assert separability(np.ones((6, 2)), [0, 0, 1, 1, 2, 2]) == 0
