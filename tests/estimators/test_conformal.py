"""Sets of classes and unknowns: by their definitions, and as often right as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from embedkit.errors import UsageError
from embedkit.estimators import ConformalClassifier, NearestClassMean, StreamingLDA, UnknownDetector
from embedkit.estimators.held_out import held_out_rows, rarity


def drawn(seed, n=150, classes=4, width=6, spread=1.6):
    random = np.random.default_rng(seed)
    y = np.array(list("abcdefgh"))[random.integers(0, classes, n)]
    centres = np.random.default_rng(0).standard_normal((8, width))
    return centres[np.unique(y, return_inverse=True)[1]] + spread * random.standard_normal((n, width)), y


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 9), min_size=2, max_size=5), share=st.floats(0.05, 0.9), seed=st.integers(0, 99))
def test_rows_are_held_out_at_random_and_no_class_is_lost(counts, share, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    if len(y) == len(counts):
        with pytest.raises(UsageError, match="too few"):
            held_out_rows(y, share, seed)
        return
    rest, held_out = held_out_rows(y, share, seed)
    assert sorted([*rest, *held_out]) == list(range(len(y)))
    assert set(y[rest]) == set(y)
    assert len(held_out) == min(max(1, round(share * len(y))), len(y) - len(counts))


def test_each_row_is_as_likely_held_out_but_for_the_last_of_its_class():
    y = np.repeat([0, 1], 50)
    counts = np.zeros(100)
    for seed in range(400):
        counts[held_out_rows(y, 0.2, seed)[1]] += 1
    assert np.abs(counts / 400 - 0.2).max() < 0.08  # four standard errors


def test_groups_stay_whole():
    y = np.array(list("ab") * 20)
    groups = np.array([f"g{row // 4}" if row < 32 else "" for row in range(40)])
    rest, held_out = held_out_rows(y, 0.3, 0, groups)
    assert not set(groups[rest]) & set(groups[held_out]) - {""}
    assert len(held_out) >= 3


def test_rarity_is_the_share_of_scores_at_least_as_large():
    scores = np.sort(np.random.default_rng(0).integers(0, 6, 30).astype(float))
    asked = np.arange(-1.0, 8.0, 0.5)
    np.testing.assert_allclose(rarity(scores, asked), [(1 + (scores >= one).sum()) / 31 for one in asked])


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.97])
def test_sets_are_those_of_the_quantile(coverage):
    X, y = drawn(0)
    fitted = ConformalClassifier(LogisticRegression()).fit(X, y)
    rest, held_out = held_out_rows(y, 0.2, 0)
    model = LogisticRegression().fit(X[rest], y[rest])
    wrong = 1 - model.predict_proba(X[held_out])[np.arange(len(held_out)), np.searchsorted(model.classes_, y[held_out])]
    rank = math.ceil((len(held_out) + 1) * coverage - 1e-9)
    limit = np.inf if rank > len(held_out) else np.sort(wrong)[rank - 1]
    new = drawn(1)[0]
    np.testing.assert_array_equal(fitted.predict_set(new, coverage), 1 - model.predict_proba(new) <= limit)
    np.testing.assert_array_equal(fitted.predict(new), model.predict(new))


@pytest.mark.parametrize("estimator", [StreamingLDA(shrinkage=0.5), RidgeClassifier(), SVC()])
def test_coverage_is_what_was_asked_for(estimator):
    """Over 200 draws, with and without probabilities, within three standard errors."""
    found = []
    for seed in range(200):
        X, y = drawn(seed, 160)
        fitted = ConformalClassifier(estimator, calibration=0.5, random_state=seed).fit(X[:120], y[:120])
        sets = fitted.predict_set(X[120:], 0.8)
        found.append(sets[np.arange(40), np.searchsorted(fitted.classes_, y[120:])].mean())
    # Of n held-out rows the coverage is between 0.8 and 0.8 + 1 / (n + 1).
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert 0.8 - 3 * error < np.mean(found) < 0.8 + 1 / 61 + 3 * error


def test_two_classes_have_sets_too():
    X, y = drawn(3, classes=2)
    by_scores = ConformalClassifier(RidgeClassifier()).fit(X, y)
    assert by_scores.predict_set(X, 0.9).shape == (150, 2)
    assert not hasattr(by_scores, "predict_proba")
    with pytest.raises(UsageError, match="scores pairs of classes"):
        ConformalClassifier(SVC(decision_function_shape="ovo")).fit(*drawn(0))


def test_distances_are_those_of_mahalanobis():
    X, y = drawn(0)
    fitted = UnknownDetector(NearestClassMean()).fit(X, y)
    rest, held_out = held_out_rows(y, 0.2, 0)
    means = np.array([X[rest][y[rest] == label].mean(axis=0) for label in np.unique(y)])
    apart = X[rest] - means[np.searchsorted(np.unique(y), y[rest])]
    within = apart.T @ apart / len(rest)
    shrunk = 0.9 * within + 0.1 * np.trace(within) / 6 * np.eye(6)
    expected = cdist(X, means, "mahalanobis", VI=np.linalg.inv(shrunk)).min(axis=1)
    np.testing.assert_allclose(fitted.distances(X), expected, rtol=1e-9)
    np.testing.assert_allclose(fitted.distances_, np.sort(expected[held_out]), rtol=1e-9)
    moved = UnknownDetector(NearestClassMean()).fit(X + 1e7, y)
    np.testing.assert_allclose(moved.distances(X + 1e7), expected, rtol=1e-4)


def test_distances_are_those_of_the_neighbours():
    X, y = drawn(0)
    fitted = UnknownDetector(NearestClassMean(), distance="knn", n_neighbors=3).fit(X, y)
    rest, _ = held_out_rows(y, 0.2, 0)
    new = drawn(1)[0]
    np.testing.assert_allclose(fitted.distances(new), np.sort(cdist(new, X[rest], "cosine"), axis=1)[:, 2], atol=1e-12)
    with pytest.raises(UsageError, match="n_neighbors=500, expected 1 to 120"):
        UnknownDetector(NearestClassMean(), distance="knn", n_neighbors=500).fit(X, y)


@pytest.mark.parametrize("distance", ["mahalanobis", "knn", "svm"])
def test_false_alarms_are_as_rare_as_stated_and_strangers_are_found(distance):
    alarms, found = [], []
    for seed in range(100):
        X, y = drawn(seed, 200, spread=0.5)
        model = UnknownDetector(NearestClassMean(), distance=distance, calibration=0.4, random_state=seed)
        model.fit(X[:150], y[:150])
        alarms.append(model.is_unknown(X[150:], 0.1).mean())
        found.append(model.is_unknown(-3 * X[150:], 0.1).mean())
    error = np.std(alarms, ddof=1) / 10
    assert 0.1 - 1 / 61 - 3 * error < np.mean(alarms) < 0.1 + 3 * error
    assert np.mean(found) > 0.5


def test_they_go_around_one_another_and_pipelines():
    X, y = drawn(0)
    sets = ConformalClassifier(make_pipeline(StandardScaler(), LogisticRegression())).fit(X, y)
    both = UnknownDetector(FrozenEstimator(sets)).fit(X, y)
    np.testing.assert_array_equal(both.predict_proba(X), sets.predict_proba(X))
    np.testing.assert_array_equal(both.estimator_.predict_set(X), sets.predict_set(X))
    assert both.score(X, y) == sets.score(X, y)


@pytest.mark.parametrize("share", [0.0, 1.0, 90, -0.1])
def test_what_is_no_share_is_refused(share):
    X, y = drawn(0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        ConformalClassifier(NearestClassMean(), calibration=share).fit(X, y)
    with pytest.raises(UsageError, match="between 0 and 1"):
        ConformalClassifier(NearestClassMean()).fit(X, y).predict_set(X, share)
    with pytest.raises(UsageError, match="between 0 and 1"):
        UnknownDetector(NearestClassMean()).fit(X, y).is_unknown(X, share)
    with pytest.raises(UsageError, match="one of 'mahalanobis', 'knn', 'svm'"):
        UnknownDetector(NearestClassMean(), distance="far").fit(X, y)
