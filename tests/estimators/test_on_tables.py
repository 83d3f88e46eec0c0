"""Feature tables and the store as data for estimators, scikit-learn's and embedkit's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GroupKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from embedkit import FeatureStore, FeatureTable
from embedkit.estimators import (
    SignedPower,
    StreamingLDA,
    StreamingPCA,
    StreamingRidgeClassifier,
    SufficientStatistics,
    ViewAverage,
)
from embedkit.tables.head import TableHead
from tests.tables.table_samples import make_digests, make_spec

ROWS, WIDTH = 240, 8
CLOSE = {"rtol": 1e-6, "atol": 1e-8}


def make(dtype: str = "float32") -> FeatureTable:
    """Return a table of three classes that can be told apart, in three splits and six groups."""
    random = np.random.default_rng(0)
    numbers = np.arange(ROWS) % 3
    features = (random.standard_normal((3, WIDTH))[numbers] * 2 + random.standard_normal((ROWS, WIDTH))).astype(dtype)
    head = TableHead(
        spec=make_spec(WIDTH, dtype),
        keys=[f"{row:03d}.jpg" for row in range(ROWS)],
        digests=make_digests(ROWS),
        labels=[("cat", "dog", "newt")[number] for number in numbers],
        split=["train" if row < 160 else "val" if row < 200 else "test" for row in range(ROWS)],
        groups=[f"camera {row // 40}" for row in range(ROWS)],
    )
    return FeatureTable(head, features)


@pytest.fixture(params=["float32", "float16"])
def table(request, tmp_path) -> FeatureTable:
    make(request.param).write(tmp_path / "table.h5")
    return FeatureTable.open(tmp_path / "table.h5")


def test_splits_of_a_table_train_and_test(table):
    train, test = table.select(split=["train", "val"]), table.select(split="test")
    assert LogisticRegression().fit(train.X, train.y).score(test.X, test.y) > 0.8
    by_keys = table.select(keys=test.keys[::-1])
    by_mask = table.select(mask=np.array(table.split == "test"))
    np.testing.assert_array_equal(by_keys.X, test.X[::-1])
    np.testing.assert_array_equal(by_mask.X, test.X)
    assert type(by_keys) is type(by_mask) is FeatureTable


def test_scikit_learn_splits_its_arrays(table):
    parts = train_test_split(table.X, table.y, table.keys, table.digests, stratify=table.y, random_state=0)
    train_X, test_X, train_y, test_y, train_keys, test_keys, _, test_digests = parts
    assert train_X.dtype == np.float32
    assert LogisticRegression().fit(train_X, train_y).score(test_X, test_y) > 0.8
    again = table.select(keys=test_keys)
    np.testing.assert_array_equal(again.X, test_X)
    np.testing.assert_array_equal(again.digests, test_digests)
    assert again.y.tolist() == test_y.tolist()
    assert not set(train_keys) & set(test_keys)


def test_its_groups_stay_together(table):
    folds = GroupKFold(3)
    for train, test in folds.split(table.X, table.y, table.groups):
        assert not set(table[train].groups) & set(table[test].groups)
    assert cross_val_score(LogisticRegression(), table.X, table.y, groups=table.groups, cv=folds).mean() > 0.8


@pytest.mark.parametrize(
    "steps",
    [
        [StandardScaler(), PCA(4), Normalizer()],
        [SignedPower(), Normalizer(), StreamingPCA(4, whiten=True)],
        [ViewAverage(2), StandardScaler(), StreamingLDA()],
    ],
    ids=str,
)
def test_single_precision_is_kept_through_a_pipeline(table, steps):
    X = table.X
    assert X.dtype == np.float32
    for step in steps:
        X = step.fit(X, table.y).transform(X)
        assert X.dtype == np.float32, step


def test_batches_feed_what_learns_by_them(table):
    scaler, reduction, clusters = StandardScaler(), IncrementalPCA(4), MiniBatchKMeans(3, n_init=1, random_state=0)
    for X, _ in table.iter_batches(50):
        scaler.partial_fit(X)
        reduction.partial_fit(X)
        clusters.partial_fit(X)
    np.testing.assert_allclose(scaler.mean_, table.X.mean(axis=0, dtype=np.float64), **CLOSE)
    classifier = SGDClassifier(random_state=0)
    for _ in range(5):
        for X, y in table.select(split="train").iter_batches(32):
            classifier.partial_fit(X, y, classes=table.classes)
    test = table.select(split="test")
    assert classifier.score(test.X, test.y) > 0.8


def test_one_pass_over_parts_equals_scikit_learn_on_all_rows(table):
    parts = []
    for rows in (slice(0, 100), slice(100, 110), slice(110, None)):  # as on three machines
        part = SufficientStatistics("classes")
        for X, y in table[rows].iter_batches(32):
            part.update(X, y)
        parts.append(part)
    whole = parts[2].merge(parts[0]).merge(parts[1])
    X = table.X.astype(np.float64)
    scaler, expected = whole.standard_scaler(), StandardScaler().fit(X)
    np.testing.assert_allclose(scaler.mean_, expected.mean_, **CLOSE)
    np.testing.assert_allclose(scaler.scale_, expected.scale_, **CLOSE)
    np.testing.assert_allclose(
        StreamingPCA().fit_statistics(whole).transform(X), PCA().fit(X).transform(X), rtol=1e-6, atol=1e-6
    )
    ridge, expected = StreamingRidgeClassifier(2.0).fit_statistics(whole), RidgeClassifier(2.0).fit(X, table.y)
    np.testing.assert_allclose(ridge.decision_function(X), expected.decision_function(X), rtol=1e-6, atol=1e-6)
    lda = StreamingLDA(shrinkage=0.1).fit_statistics(whole)
    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(X, table.y)
    np.testing.assert_allclose(lda.predict_proba(X), expected.predict_proba(X), rtol=1e-6, atol=1e-6)


def test_rows_of_the_store(tmp_path):
    table = make()
    features = FeatureStore(tmp_path / "store").features(table.spec)
    with features.writer() as writer:
        writer.add(table.digests, table.X)
    features.refresh()
    order = np.random.default_rng(1).permutation(ROWS)
    X = features.get(table.digests[order])
    np.testing.assert_array_equal(X, table.X[order])
    assert cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, table.y[order], cv=3).mean() > 0.8
    statistics = SufficientStatistics()
    for batch in features.batches(table.digests, 64):
        statistics.update(batch)
    np.testing.assert_allclose(statistics.mean, table.X.mean(axis=0, dtype=np.float64), **CLOSE)
