"""Estimators for noisy labels against what is written down by hand, and against rows whose labels were changed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from scipy.spatial.distance import cdist

from embedkit.errors import UsageError
from embedkit.estimators import (
    AdaptiveNeighborsClassifier,
    KNeighborsClassifier,
    LogisticRegression,
    RobustLogisticRegression,
)
from tests.probes.samples import blobs


def noisy(share: float = 0.3, rows: int = 60, seed: int = 0):
    """Return features, labels some of which are wrong, and the right ones, as numbers."""
    X, y = blobs(rows=rows, spread=0.6, seed=seed)
    right = np.unique(y, return_inverse=True)[1]
    random = np.random.default_rng(seed)
    wrong = random.random(len(right)) < share
    given = np.where(wrong, (right + random.integers(1, 3, len(right))) % 3, right)
    return X.astype(np.float64), given, right


def by_hand(X, y, low, high):
    """WANN as its paper says it, row by row."""
    order = np.argsort(cdist(X, X) + np.diag(np.full(len(X), -1.0)), axis=1)[:, 1:]
    needed = []
    for row, near in enumerate(order):
        found = high
        for k in range(low, min(high, len(X) - 1) + 1, 2):
            counts = Counter(sorted(y[near[:k]].tolist()))
            if counts.most_common(1)[0][0] == y[row]:
                found = k
                break
        needed.append(found)
    return np.array(needed)


@pytest.mark.parametrize(("low", "high"), [(11, 51), (1, 5), (3, 400)])
def test_neighbours_are_those_of_the_paper(low, high):
    X, y, _ = noisy()
    fitted = AdaptiveNeighborsClassifier(low, high, metric="euclidean").fit(X, y)
    needed = by_hand(X, y, low, high)
    np.testing.assert_array_equal(fitted.neighbors_, needed)
    np.testing.assert_array_equal(fitted.reliability_, 1 / needed)
    new = noisy(seed=1)[0][:40]
    near = np.argsort(cdist(new, X), axis=1)
    for row, order in enumerate(near):
        asked = order[: needed[order[0]]]
        shares = np.bincount(y[asked], weights=1 / needed[asked], minlength=3)
        np.testing.assert_allclose(fitted.predict_proba(new[row : row + 1])[0], shares / shares.sum(), rtol=1e-9)


def test_wrong_labels_are_relied_on_less():
    X, y, right = noisy()
    for model in (AdaptiveNeighborsClassifier(), RobustLogisticRegression(C=0.1)):
        reliability = model.fit(X, y).reliability_
        assert np.median(reliability[y != right]) < 0.7 * np.median(reliability[y == right]), model


def test_wrong_labels_cost_less_than_they_cost_others():
    gains = []
    for seed in range(8):
        X, y, right = noisy(0.4, seed=seed)
        train = np.arange(len(y)) % 2 == 0
        scores = {
            type(model).__name__: (model.fit(X[train], y[train]).predict(X[~train]) == right[~train]).mean()
            for model in (
                KNeighborsClassifier(1),
                AdaptiveNeighborsClassifier(),
                LogisticRegression(100.0),
                RobustLogisticRegression(C=1.0),
            )
        }
        gains.append(
            (
                scores["AdaptiveNeighborsClassifier"] - scores["KNeighborsClassifier"],
                scores["RobustLogisticRegression"] - scores["LogisticRegression"],
            )
        )
    assert np.mean(gains, axis=0)[0] > 0.1
    assert np.mean(gains, axis=0)[1] > 0


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_the_objective_falls_to_a_minimum_of_the_generalised_cross_entropy(q):
    """The gradient of the objective, written down by SciPy's differences, is nothing there."""
    X, y, _ = noisy(rows=30)
    fitted = RobustLogisticRegression(C=0.1, q=q, tol=1e-10, max_steps=500).fit(X, y)
    assert all(
        later <= before * (1 + 1e-5) for before, later in zip(fitted.objective_, fitted.objective_[1:], strict=False)
    )

    def objective(flat):
        W, b = flat[: 3 * X.shape[1]].reshape(3, -1), flat[3 * X.shape[1] :]
        p = scipy.special.softmax(X @ W.T + b, axis=1)[np.arange(len(y)), y]
        return 0.1 * ((1 - p**q) / q).sum() + np.square(W).sum() / 2

    at = np.concatenate([fitted.coef_.ravel(), fitted.intercept_])
    assert objective(at) == pytest.approx(fitted.objective_[-1], rel=1e-9)
    assert np.abs(scipy.optimize.approx_fprime(at, objective, 1e-6)).max() < 2e-3


def test_towards_nothing_it_is_logistic_regression():
    X, y, _ = noisy()
    fitted, plain = RobustLogisticRegression(C=0.1, q=1e-6).fit(X, y), LogisticRegression(0.1).fit(X, y)
    np.testing.assert_allclose(fitted.coef_, plain.coef_, atol=1e-4)


def test_bad_parameters_are_refused():
    X, y, _ = noisy()
    for model, said in [
        (AdaptiveNeighborsClassifier(5, 3), "min_neighbors=5 and max_neighbors=3"),
        (AdaptiveNeighborsClassifier(metric="far"), "metric='far'"),
        (RobustLogisticRegression(q=0), "q=0"),
        (RobustLogisticRegression(q=1.5), "q=1.5"),
        (RobustLogisticRegression(C=-1), "C=-1"),
    ]:
        with pytest.raises(UsageError, match=said):
            model.fit(X, y)
