"""Each score against its definition, written out by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.spatial.distance
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from embedkit import selection
from embedkit.errors import UsageError
from embedkit.selection import label_scores
from embedkit.selection import rows as checks

ON_FEATURES = [
    selection.log_me,
    selection.h_score,
    selection.shrinkage_h_score,
    selection.transrate,
    selection.gbc,
    selection.parc,
    selection.n_leep,
    selection.knn_accuracy,
    selection.ridge_accuracy,
]


def sets(n=60, d=7, classes=3, apart=1.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + apart * rng.normal(size=(classes, d))[y] + 1
    return X, y


@pytest.mark.parametrize("shape", [(60, 7), (20, 40)])
def test_log_me_is_the_greatest_evidence(shape):
    X, y = sets(*shape)
    n = len(X)
    greatest = []
    for place in range(3):
        target = (y == place).astype(float)

        def lost(logs, target=target):
            logs = np.clip(logs, -7, 12)
            covariance = np.exp(-logs[1]) * np.eye(n) + np.exp(-logs[0]) * X @ X.T
            return -scipy.stats.multivariate_normal(np.zeros(n), covariance).logpdf(target)

        found = [scipy.optimize.minimize(lost, start, method="Nelder-Mead") for start in ([0, 0], [3, 3], [6, 1])]
        greatest.append(-min(one.fun for one in found))
    assert selection.log_me(X, y) == pytest.approx(np.mean(greatest) / n, rel=1e-3, abs=1e-4)


def test_h_scores():
    X, y = sets()
    g = np.stack([X[y == place].mean(axis=0) for place in y])
    expected = np.trace(np.linalg.pinv(np.cov(X, rowvar=False)) @ np.cov(g, rowvar=False))
    assert selection.h_score(X, y) == pytest.approx(expected)
    fitted = LedoitWolf().fit(X)
    between = np.cov(g, rowvar=False, bias=True)
    expected = np.trace(np.linalg.pinv(fitted.covariance_) @ ((1 - fitted.shrinkage_) * between))
    assert selection.shrinkage_h_score(X, y) == pytest.approx(expected)
    # One class apart in one dimension: all of the spread there is between.
    line = np.array([[0.0], [0.0], [1.0], [1.0]])
    assert selection.h_score(line, [0, 0, 1, 1]) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(60, 7), (12, 30)])
def test_transrate(shape):
    X, y = sets(*shape)
    Z = X - X.mean(axis=0)

    def rate(rows):
        values = np.linalg.eigvalsh(rows.T @ rows / (len(rows) * 1e-4))
        return 0.5 * np.log1p(np.clip(values, 0, None)).sum()

    expected = rate(Z) - np.mean([rate(Z[y == place]) for place in range(3)])
    assert selection.transrate(X, y) == pytest.approx(expected, rel=1e-6)


def test_gbc_is_minus_the_overlap_of_gaussians():
    X, y = sets(d=2, apart=2.0)
    Z = X - X.mean(axis=0)
    grid = np.stack(np.meshgrid(*[np.linspace(-25, 25, 400)] * 2), axis=-1)
    densities = []
    for place in range(3):
        rows = Z[y == place]
        variance = np.square(rows - rows.mean(axis=0)).mean()
        densities.append(scipy.stats.multivariate_normal(rows.mean(axis=0), variance * np.eye(2)).pdf(grid))
    cell = (50 / 399) ** 2
    overlaps = [np.sqrt(densities[a] * densities[b]).sum() * cell for a in range(3) for b in range(3) if a != b]
    assert selection.gbc(X, y) == pytest.approx(-sum(overlaps), rel=1e-3)


def test_parc():
    X, y = sets()
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    of_features = 1 - np.corrcoef(Z)
    of_labels = 1 - np.corrcoef(np.eye(3)[y])
    pairs = np.tril_indices(len(X), -1)
    expected = scipy.stats.spearmanr(of_features[pairs], np.round(of_labels[pairs], 9)).statistic
    assert selection.parc(X, y) == pytest.approx(expected)
    assert selection.parc(X, y, most_rows=30) == pytest.approx(expected, abs=0.2)


def test_leep_and_nce():
    rng = np.random.default_rng(0)
    theta, y = rng.dirichlet(np.ones(4), 50), rng.integers(0, 3, 50)
    joint = np.array([[theta[y == c, z].sum() / 50 for z in range(4)] for c in range(3)])
    conditional = joint / joint.sum(axis=0)
    expected = np.mean([np.log(sum(conditional[y[i], z] * theta[i, z] for z in range(4))) for i in range(50)])
    assert selection.leep(theta, y) == pytest.approx(expected)
    named = theta.argmax(axis=1)
    entropy = sum(
        (named == z).mean() * scipy.stats.entropy([(y[named == z] == c).mean() for c in range(3)])
        for z in np.unique(named)
    )
    assert selection.nce(named, y) == pytest.approx(-entropy)
    assert selection.nce(y, y) == pytest.approx(0)
    assert selection.leep(np.eye(3)[y], y) == pytest.approx(0)
    with pytest.raises(UsageError, match="add up to 1"):
        selection.leep(theta * 2, y)


def test_ridge_leaves_one_out_exactly():
    X, y = sets(n=30, d=5)
    penalty = 0.1
    alpha = penalty * np.mean(np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2)
    left_out = cross_val_predict(Ridge(alpha), X, np.eye(3)[y], cv=LeaveOneOut())
    assert selection.ridge_accuracy(X, y, penalties=[penalty]) == (left_out.argmax(axis=1) == y).mean()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_neighbours_leave_one_out(seed, k):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(12, 3)), np.arange(12) % 2
    distances = pairwise_distances(X, metric="cosine")
    np.fill_diagonal(distances, np.inf)
    right = 0
    for row in range(12):
        near = np.argsort(distances[row])[:k]
        counts = np.bincount(y[near], minlength=2)
        named = next(y[one] for one in near if counts[y[one]] == counts.max())
        right += named == y[row]
    assert selection.knn_accuracy(X, y, k=k) == pytest.approx(right / 12)


@pytest.mark.parametrize("score", ON_FEATURES, ids=lambda one: one.__name__)
def test_features_that_know_the_classes_score_higher_than_noise(score):
    X, y = sets(n=120, d=10, apart=3.0)
    shuffled = np.random.default_rng(3).permutation(y)
    assert score(X, y) > score(X, shuffled)
    names = np.array(["cat", "dog", "newt"])[y]
    assert score(X.astype(np.float32), names) == pytest.approx(score(X.astype(np.float32), y))


@pytest.mark.parametrize("score", ON_FEATURES, ids=lambda one: one.__name__)
def test_odd_tables(score):
    X, y = sets(n=12, d=30)
    assert np.isfinite(score(X, y))  # more features than rows
    assert np.isfinite(score(np.concatenate([X, np.ones((12, 2))], axis=1), y))  # constant features
    assert np.isfinite(score(X, [0] * 11 + [1]))  # one row of a class
    for wrong, message in (([0] * 12, "two classes"), ([0, 1], "expected")):
        with pytest.raises(UsageError, match=message):
            score(X, wrong)
    X[3, 3] = np.nan
    with pytest.raises(UsageError, match="not finite"):
        score(X, y)


def test_large_tables_are_sampled_by_class(monkeypatch):
    monkeypatch.setattr(checks, "MOST_ROWS", 50)
    X, y = sets(n=1000)
    values, classes = checks.checked(X, y)
    assert len(values) == len(classes) == 51
    assert np.bincount(classes).tolist() == [17, 17, 17]
    # Rows of both arguments are the same sample.
    y = np.random.default_rng(0).permutation(y)
    assert selection.nce(y, y) == pytest.approx(0)
    assert selection.leep(np.eye(3)[y], y) == pytest.approx(0)


def test_the_mixture_of_n_leep_is_fitted_on_some_rows_of_large_tables(monkeypatch):
    X, y = sets(n=600, apart=4.0)
    whole = selection.n_leep(X, y, components=3)
    monkeypatch.setattr(label_scores, "_MOST_CLUSTERED", 150)
    assert selection.n_leep(X, y, components=3) == pytest.approx(whole, abs=0.1)


@pytest.mark.parametrize("classes", [2, 7])
def test_wide_features_score_as_their_covariance_says(classes):
    """With fewer rows than features the covariance is never built; the definition builds it."""
    X, y = sets(n=42, d=90, classes=classes)
    centred = X - X.mean(axis=0)
    means = np.stack([centred[y == c].mean(axis=0) for c in range(classes)])
    between = np.einsum("c,ci,cj->ij", np.bincount(y) / len(y), means, means)
    total = centred.T @ centred / len(y)
    assert selection.h_score(X, y) == pytest.approx(np.trace(np.linalg.pinv(total, rcond=1e-10) @ between))
    fitted = LedoitWolf().fit(X)
    expected = (1 - fitted.shrinkage_) * np.trace(np.linalg.inv(fitted.covariance_) @ between)
    assert selection.shrinkage_h_score(X, y) == pytest.approx(expected)
