"""Copies of features that are changed point by point."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from embedkit.errors import UsageError
from embedkit.estimators import LogisticRegression, PointwiseAugmentation


class Keeping(ClassifierMixin, BaseEstimator):
    """Keeps what it is fitted on."""

    def fit(self, X, y):
        self.X_, self.y_, self.classes_ = X, y, np.unique(y)
        return self

    def predict(self, X):
        return np.repeat(self.classes_[:1], len(X))


def drawn():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(200, 3)) * [1, 10, 0] + [0, 5, 7]).astype(np.float32), np.arange(200) % 2


def test_copies_are_within_what_is_asked_for_and_the_rows_themselves_stay():
    X, y = drawn()
    fitted = PointwiseAugmentation(Keeping(), copies=3, brightness=0.5, contrast=0.0).fit(X, y).estimator_
    assert fitted.X_.shape == (800, 3)
    assert fitted.X_.dtype == np.float32
    assert (fitted.y_ == np.tile(y, 4)).all()
    np.testing.assert_array_equal(fitted.X_[:200], X)
    moved = (fitted.X_[200:] - np.tile(X, (3, 1))) / np.maximum(X.std(axis=0), 1e-9)
    assert np.abs(moved).max() <= 0.5 + 1e-5
    assert np.abs(moved[:, :2]).max(axis=0) == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(moved[:, 2], 0, atol=1e-5)  # what does not vary stays

    factor = PointwiseAugmentation(Keeping(), copies=1, brightness=0.0, contrast=0.3).fit(X, y).estimator_.X_[200:]
    ratio = (factor - X.mean(axis=0))[:, :2] / (X - X.mean(axis=0))[:, :2]
    assert ratio.min() >= 0.7 - 1e-3
    assert ratio.max() <= 1.3 + 1e-3

    few = PointwiseAugmentation(Keeping(), copies=1, levels=4).fit(X, y).estimator_.X_[200:]
    steps = (few[:, :2] - X[:, :2].min(axis=0)) / np.ptp(X[:, :2], axis=0) * 3
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)


def test_without_copies_it_is_the_classifier_and_seeds_repeat():
    X, y = drawn()
    alone = PointwiseAugmentation(copies=0).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(alone, LogisticRegression().fit(X, y).predict_proba(X))
    one, other = (PointwiseAugmentation(random_state=3).fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, PointwiseAugmentation(random_state=4).fit(X, y).predict_proba(X))


def test_bad_input():
    X, y = drawn()
    with pytest.raises(UsageError, match="copies"):
        PointwiseAugmentation(copies=-1).fit(X, y)
    with pytest.raises(UsageError, match="levels"):
        PointwiseAugmentation(levels=1).fit(X, y)
