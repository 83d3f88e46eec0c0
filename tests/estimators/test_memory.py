"""Features larger than memory: what is allocated does not grow with them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from embedkit.estimators import KNeighborsClassifier, LogisticRegressionPath, SufficientStatistics, eigenrows

ROWS, WIDTH = 60_000, 256


@pytest.fixture
def mapped(tmp_path, monkeypatch):
    """60 MB of features in a file, which count as too large to be copied."""
    random = np.random.default_rng(0)
    y = np.arange(ROWS) % 3
    features = np.memmap(tmp_path / "features.raw", np.float32, "w+", shape=(ROWS, WIDTH))
    centres = random.standard_normal((3, WIDTH)).astype(np.float32)
    for start in range(0, ROWS, 10_000):
        span = slice(start, start + 10_000)
        features[span] = centres[y[span]] + 20 * random.standard_normal((10_000, WIDTH), dtype=np.float32)
    features.flush()
    monkeypatch.setattr(eigenrows, "IN_MEMORY_BYTES", features.nbytes // 2)
    return np.memmap(tmp_path / "features.raw", np.float32, "r", shape=(ROWS, WIDTH)), y


@pytest.mark.parametrize(
    "work",
    [
        lambda X, y: SufficientStatistics("classes").update(X, y),
        lambda X, y: LogisticRegressionPath([1e-5, 1e-4], cv=None, standardize=True).fit(X, y),
        lambda X, y: KNeighborsClassifier(50).fit(X, y).predict(X[:256]),
    ],
    ids=["statistics", "path", "neighbours"],
)
def test_no_copy_of_the_features_is_made(mapped, work):
    X, y = mapped
    tracemalloc.start()
    try:
        work(X, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.8 * X.nbytes  # blocks and logits: about 40 MB, whatever the number of rows
