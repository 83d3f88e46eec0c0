"""Ridge and discriminant analysis, from sums and in the rows' own space."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from embedkit.estimators import SufficientStatistics
from embedkit.probes import onepass, quick
from tests.probes.samples import blobs, table_of


@pytest.mark.parametrize("width", [6, 200])  # fewer and more features than training rows
def test_ridge_is_scikit_learns_on_standardised_features(width):
    X, y = blobs(rows=40, width=width, spread=2.0)
    split = ["train", "train", "test"] * 40
    train = np.array(split) == "train"
    scaler = StandardScaler().fit(X[train].astype(np.float64))
    Z = scaler.transform(X.astype(np.float64))
    found = quick(table_of(X, y, split=split), "ridge", model="m")
    expected = RidgeClassifier(found.result.params["alpha"]).fit(Z[train], y[train])
    np.testing.assert_array_equal(found.predictions, expected.predict(Z[~train]))
    values = X[:, 0] * 2.0 + X[:, 1] ** 2
    found = quick(table_of(X, values.astype(np.float64), split=split), "ridge", model="m")
    expected = Ridge(found.result.params["alpha"]).fit(Z[train], values[train])
    np.testing.assert_allclose(found.predictions, expected.predict(Z[~train]), atol=1e-3)


@pytest.mark.parametrize("classes", ["ab", "abcd"])
def test_every_shrinkage_is_scikit_learns(classes):
    X, y = blobs(rows=30, classes=classes, width=6, spread=2.0)
    test = np.random.default_rng(1).standard_normal((500, 6)).astype(np.float32)
    found = onepass._lda_path(SufficientStatistics("classes").update(X, y), test)
    for shrinkage, labels in zip(onepass._SHRINKAGES, found, strict=True):
        expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(X.astype(np.float64), y)
        assert (labels == expected.predict(test)).mean() > 0.995


def test_the_chosen_shrinkage_is_the_one_that_is_fitted():
    X, y = blobs(rows=40, width=12, spread=2.0)
    split = ["train", "train", "test"] * 40
    train = np.array(split) == "train"
    found = quick(table_of(X, y, split=split), "lda", model="m")
    Z = StandardScaler().fit(X[train]).transform(X).astype(np.float64)
    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=found.result.params["shrinkage"])
    assert (found.predictions == expected.fit(Z[train], y[train]).predict(Z[~train])).mean() > 0.97
    wide, y = blobs(rows=40, width=300, spread=2.0)
    assert quick(table_of(wide, y, split=split), "lda", model="m").result.value > 0.9
