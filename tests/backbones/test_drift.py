from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.backbones.drift import Drift, centred_cosines, drift_images, measure_drift


def test_the_images_are_the_same_everywhere() -> None:
    images = drift_images(64, 64)
    assert images.shape == (32, 3, 64, 64)
    assert images.dtype == np.uint8
    # Sines differ in the last bit between machines, so that a few pixels may round the other way: compare coarsely.
    coarse = images.reshape(32, 3, 8, 8, 8, 8).mean((3, 5))
    assert [round(float(value)) for value in coarse.mean((1, 2, 3))[:8]] == [199, 152, 118, 119, 89, 67, 157, 134]


def test_the_images_differ_from_each_other_and_have_contrast() -> None:
    images = drift_images(48, 64).astype(float)
    assert len({hashlib.sha256(image.astype(np.uint8).tobytes()).digest() for image in images}) == 32
    assert images.std((1, 2, 3)).min() > 10
    flat = images.reshape(32, -1)
    assert np.abs(np.corrcoef(flat - flat.mean(0)) - np.eye(32)).max() < 0.9


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (518, 518), (384, 160)])
def test_any_size(size: tuple[int, int]) -> None:
    assert drift_images(*size).shape == (32, 3, *size)


def rows(count: int, width: int, seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


@given(st.integers(2, 10), st.integers(1, 8), st.integers(0, 99))
def test_equal_features_do_not_drift(count: int, width: int, seed: int) -> None:
    features = rows(count, width, seed)
    assert measure_drift(features, features) == Drift(worst=1.0, mean=1.0)
    np.testing.assert_allclose(centred_cosines(features - features.mean(0) * 0, features), 1.0)


def test_the_mean_is_subtracted() -> None:
    """Rows that share a long direction have cosines near 1 with each other; centred, a shuffle shows."""
    features = rows(16, 8, 1) + 1000
    plain = (features[0] @ features[1]) / np.linalg.norm(features[0]) / np.linalg.norm(features[1])
    assert plain > 0.999999
    assert measure_drift(features[::-1].copy(), features).mean < 0.5


def test_features_that_are_not_finite_count_as_opposite() -> None:
    reference = rows(4, 8, 2)
    features = reference.copy()
    features[2, 3] = np.nan
    assert centred_cosines(features, reference).tolist()[2] == -1
    features[2, 3] = np.inf
    with np.errstate(invalid="ignore"):
        drift = measure_drift(features, reference)
    assert drift.worst == -1
    assert not drift.acceptable


def test_the_bounds() -> None:
    assert Drift(worst=0.99, mean=0.998).acceptable
    assert not Drift(worst=0.9899, mean=0.999).acceptable
    assert not Drift(worst=0.995, mean=0.9979).acceptable
