"""Features larger than memory: the same numbers as in memory, while what is allocated stays small."""

from __future__ import annotations

import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import UsageError
from embedkit.evaluation import feature_rows as features
from embedkit.evaluation import neighbours
from embedkit.evaluation.feature_rows import FeatureRows
from embedkit.probes import default_estimators, quick
from embedkit.tables import FeatureTable
from tests.probes.samples import blobs, table_of

BATCHED = ("logistic", "pca+logistic", "svm", "knn", "ridge", "lda")


@pytest.fixture
def small_blocks(monkeypatch):
    """Every table is large, and blocks are small."""
    monkeypatch.setattr(features, "LARGE_BYTES", 0)
    monkeypatch.setattr(features, "_BATCH_ROWS", 64)
    monkeypatch.setattr(neighbours, "_BLOCK_ROWS", 100)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("estimator", BATCHED)
def test_block_by_block_gives_what_memory_gives(tmp_path, monkeypatch, request, estimator, declared):
    X, y = blobs(rows=100, width=16, spread=1.5)
    order = np.random.default_rng(0).permutation(300)
    split = ["train", "train", "val", "test", "other"] * 60 if declared else None
    table_of(X[order], y[order], split=split).write(tmp_path / "table.h5")
    table = FeatureTable.open(tmp_path / "table.h5")
    expected = quick(table, estimator, model="m", folds=3)
    request.getfixturevalue("small_blocks")
    found = quick(FeatureTable.open(tmp_path / "table.h5"), estimator, model="m", folds=3)
    np.testing.assert_array_equal(found.tested, expected.tested)
    # Sums over other blocks round differently; a row on the border may fall to the other side.
    assert (found.predictions == expected.predictions).mean() >= 0.98
    assert found.result.params == expected.result.params
    assert found.result.selected_on == expected.result.selected_on
    assert found.result.leaks == expected.result.leaks
    assert bool(found.steps) == (estimator != "knn")


@pytest.mark.parametrize("labels", ["value", "multilabel"])
def test_other_labels_block_by_block(tmp_path, small_blocks, labels):
    X, _ = blobs(rows=60)
    y = X[:, 0].astype(np.float64) + 1 if labels == "value" else X[:, :2] > 0
    table_of(X, y, **({} if labels == "value" else {"classes": ["p", "q"]})).write(tmp_path / "table.h5")
    for estimator in default_estimators(table := FeatureTable.open(tmp_path / "table.h5")):
        assert quick(table, estimator, model="m").result.value > 0.95


def test_rows_of_a_selection_and_half_floats(tmp_path, small_blocks):
    X, y = blobs(rows=100)
    table_of(X, y).write(tmp_path / "table.h5")
    table = FeatureTable.open(tmp_path / "table.h5").select(where=None, mask=np.arange(300) % 3 != 0)
    rows = np.array([0, 1, 63, 64, 130, 199])
    found = FeatureRows(table).take(rows)
    np.testing.assert_array_equal(found, X[np.arange(300) % 3 != 0][rows])
    spans = [span for span, _ in FeatureRows(table).batches(rows)]
    assert [row for span in spans for row in range(span.start, span.stop)] == list(range(6))


def test_an_estimator_that_takes_long_is_not_chosen_by_default(tmp_path, small_blocks):
    X, y = blobs()
    assert default_estimators(table_of(X, y)) == ("logistic", "pca+logistic", "knn")


def test_features_that_are_not_finite_are_found_in_their_block(tmp_path, small_blocks):
    X, y = blobs(rows=100)
    X[250, 3] = np.nan
    table_of(X, y).write(tmp_path / "table.h5")
    with pytest.raises(UsageError, match=r"1 rows, such as that of 250\.jpg"):
        quick(FeatureTable.open(tmp_path / "table.h5"), "ridge", model="m")


def test_no_space_for_the_scratch_file(tmp_path, monkeypatch, small_blocks):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def write(self, _):
            raise OSError(28, "No space left on device")

    X, y = blobs()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(UsageError, match=r"No space left on device.; name a folder with more space in TMPDIR"):
        quick(table_of(X, y), "logistic", model="m")


@pytest.fixture
def big_file(tmp_path, monkeypatch):
    """38 MB of features in a file, which count as larger than memory."""
    X, y = blobs(rows=8_000, width=400, spread=8.0)
    order = np.random.default_rng(0).permutation(24_000)
    split = np.where(np.arange(24_000) % 200 == 0, "test", "train").tolist()
    table_of(X[order], y[order], split=split).write(tmp_path / "table.h5")
    monkeypatch.setattr(features, "LARGE_BYTES", 1 << 20)
    monkeypatch.setattr(features, "_BATCH_ROWS", 512)
    monkeypatch.setattr(neighbours, "_BLOCK_ROWS", 2048)
    monkeypatch.setattr("embedkit.evaluation.splits._MOST_SELECTION_ROWS", 500)
    monkeypatch.setattr("embedkit.estimators.eigenrows.IN_MEMORY_BYTES", 1 << 20)
    monkeypatch.setattr("embedkit.estimators.eigenrows.BLOCK_ROWS", 512)
    return tmp_path / "table.h5"


@pytest.mark.parametrize("estimator", ["ridge", "lda", "knn", "logistic", "svm"])
def test_memory_stays_a_part_of_the_file(big_file: Path, estimator: str):
    table = FeatureTable.open(big_file)
    quick(table[:300], estimator, model="m")  # whatever is imported on the way
    tracemalloc.start()
    try:
        result = quick(table, estimator, model="m").result
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.value > 0.8
    assert result.n_train == 23_880
    assert peak < 0.6 * big_file.stat().st_size


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory of mapped files is read from /proc")
def test_pages_that_were_read_are_given_back(big_file: Path):
    def mapped() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile")) * 1024

    table = FeatureTable.open(big_file)
    rows = FeatureRows(table)
    before = mapped()
    most = max(mapped() for _ in rows.batches(np.arange(len(table))))
    assert most - before < 0.5 * big_file.stat().st_size
