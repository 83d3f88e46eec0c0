"""Suspected labels: planted ones are found, the definition is kept, and rows are not judged by their copies."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.auditing import check_labels, out_of_fold, planted_labels
from embedkit.auditing.labels import OutOfFold, deal, reduced


def make_blobs(n=300, n_classes=4, width=8, spread=0.5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    centres = 2 * rng.normal(size=(n_classes, width))
    return (centres[y] + spread * rng.normal(size=(n, width))).astype(np.float32), y


def test_wrong_labels_are_the_suspects():
    X, y = make_blobs()
    wrong, rows = planted_labels(y, np.random.default_rng(1))
    assert len(rows) == 15
    assert (wrong[rows] != y[rows]).all()
    found = out_of_fold(X, wrong)
    assert set(rows.tolist()) <= set(found.suspects().tolist())
    assert len(found.suspects()) <= 18
    assert (found.other[rows] == y[rows]).all()
    assert out_of_fold(X, y).suspects().size <= 3


def test_the_check_counts_what_it_planted():
    X, y = make_blobs()
    check = check_labels(X, y)
    assert (check.planted, check.found, check.precision, check.recall) == (15, 15, 1, 1)
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    assert check_labels(noise, y).recall < 0.5


def test_suspects_by_the_definition_of_confident_learning():
    rng = np.random.default_rng(3)
    probabilities, y = rng.dirichlet(np.ones(5), 200), rng.integers(0, 5, 200)
    found = OutOfFold(probabilities=probabilities, y=y, checked=np.ones(200, bool))
    usual = [probabilities[y == k, k].mean() for k in range(5)]
    expected = {
        row
        for row in range(200)
        if any(
            k != y[row] and probabilities[row, k] >= usual[k] and max(np.delete(probabilities[row], y[row])) > p
            for k in range(5)
            for p in [probabilities[row, y[row]]]
        )
    }
    assert set(found.suspects().tolist()) == expected
    doubts = found.doubt[found.suspects()]
    assert (np.diff(doubts) <= 0).all()


def test_few_rows_of_wide_features_are_told_apart():
    X, y = make_blobs(120, 3, width=1280, spread=4)
    twice = np.concatenate([np.arange(120), np.flatnonzero(y == 0)])  # many copies, of one class
    copies = twice.tolist()
    for rows, units in ((np.arange(120), None), (twice, copies), (np.tile(np.arange(120), 6), None)):
        found = out_of_fold(reduced(X[rows]), y[rows], units)
        assert found.right.mean() > 0.9, len(rows)
    assert reduced(X[:3]).shape == (3, 1)


def test_a_feature_that_is_all_but_constant_says_nothing():
    X, y = make_blobs()
    rounding = 1e-9 * np.random.default_rng(0).normal(size=(len(X), 200))
    beside = np.hstack([X, (1 + rounding).astype(np.float32), np.full((len(X), 1), 0.1, np.float32)])
    beside[0, -1] = 0.2  # and one that is constant but for a single row
    assert (out_of_fold(beside, y).predicted == out_of_fold(X, y).predicted)[1:].all()


def test_a_row_is_not_judged_by_its_copy():
    X, y = make_blobs(60)
    X, y = np.concatenate([X, X[:1], X[:1]]), np.concatenate([y, [1, 1]])  # row 0 is of class 0; its copies say 1
    units = [f"{0 if row >= 60 else row}" for row in range(62)]
    assert 0 not in out_of_fold(X, y, units).suspects()
    assert {60, 61} <= set(out_of_fold(X, y, units).suspects().tolist())


def test_a_class_of_one_is_not_suspected_but_unchecked():
    X, y = make_blobs(40, 2)
    y[0] = 2
    found = out_of_fold(X, y)
    assert not found.checked[0]
    assert found.checked[1:].all()
    assert found.doubt[0] == 0
    assert 0 not in found.suspects()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60))
def test_folds_keep_units_together_and_spread_classes(rows):
    y, units = np.array([one for one, _ in rows]), np.unique([unit for _, unit in rows], return_inverse=True)[1]
    fold = deal(y, units)
    assert all(len(set(fold[units == unit].tolist())) == 1 for unit in units)
    alone = deal(y, np.arange(len(y)))
    counts = [np.bincount(alone[y == k], minlength=5) for k in np.unique(y)]
    assert all(count.max() - count.min() <= 1 for count in counts)
