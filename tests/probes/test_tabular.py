"""Tabular models as heads, by path and behind principal components; skipped where they are not installed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.errors import UsageError
from embedkit.probes import quick
from tests.probes.samples import blobs, table_of

SMALL = {"n_estimators": [5, 20], "num_leaves": [4], "min_child_samples": [3], "verbose": [-1], "n_jobs": [1]}


def test_lightgbm_by_path_is_searched_and_judged():
    pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    X, y = blobs(rows=40, spread=0.5)
    table = table_of(X, y, split=["train", "train", "test"] * 40)
    result = quick(table, "lightgbm.LGBMClassifier", model="m", params=SMALL).result
    assert result.value > 0.8
    assert result.params["n_estimators"] in (5, 20)


def test_lightgbm_behind_principal_components():
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed")
    X, y = blobs(rows=40, width=40, spread=0.5)
    head = make_pipeline(
        StandardScaler(), PCA(4, random_state=0), lightgbm.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1)
    )
    result = quick(table_of(X, y), head, model="m", folds=3).result
    assert result.value > 0.8
    assert np.isfinite(result.fit_seconds)


def test_what_is_not_installed_is_said_in_a_line():
    with pytest.raises(UsageError, match="'no_such_tabular' cannot be imported.*install the package"):
        quick(table_of(*blobs()), "no_such_tabular.Classifier", model="m")


class Fetching(ClassifierMixin, BaseEstimator):
    """An estimator that takes any parameter, as LightGBM does, and wants a file that is not there, as TabICL does."""

    def __init__(self, depth=1, **others):
        self.depth, self.others = depth, others

    def get_params(self, deep=True):
        return {"depth": self.depth, **self.others}

    def set_params(self, **params):
        self.depth = params.pop("depth", self.depth)
        self.others |= params
        return self

    def fit(self, X, y):
        raise OSError("the weights cannot\nbe fetched")


def test_parameters_beyond_the_named_ones_and_errors_of_the_network():
    table = table_of(*blobs())
    with pytest.raises(UsageError, match="Fetching cannot be fitted: the weights cannot be fetched; check"):
        quick(table, Fetching(), model="m", params={"verbose": [-1]})
    with pytest.raises(UsageError, match="PCA does not fit the labels"):
        quick(table, PCA(2), model="m")
