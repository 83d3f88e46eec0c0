"""A model file of every estimator predicts what was reported."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from embedkit import extract, fit, predict
from embedkit.errors import LabelsError, UsageError
from embedkit.evaluation import feature_rows as features
from embedkit.probes import ESTIMATORS
from tests.photos import make_manifest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    make_manifest(folder / "photos", {"red": 12, "green": 12, "blue": 12}, test=4)
    extract(folder / "photos" / "split.csv", "pixels32", store=folder / "store", output=folder / "p.h5")
    return folder


@pytest.mark.parametrize("estimator", [*ESTIMATORS, "sklearn.naive_bayes.GaussianNB", GaussianNB()], ids=str)
def test_fit_and_predict_agree_with_the_report(folder, tmp_path, estimator):
    fitted = fit(folder / "p.h5", estimator=estimator, output=tmp_path / "model.skops", store=folder / "store")
    manifest = folder / "photos" / "split.csv"
    with manifest.open(newline="") as file:
        labels = {row["path"]: row["label"] for row in csv.DictReader(file) if row["split"] == "test"}
    predictions = predict(tmp_path / "model.skops", manifest, store=folder / "store")
    right = [row.predicted == labels[row.path] for row in predictions.predictions if row.path in labels]
    assert np.mean(right) == pytest.approx(fitted.result.value)
    assert fitted.classes == ["blue", "green", "red"]


def test_a_model_that_cannot_be_is_refused(folder, tmp_path, monkeypatch):
    options = {"output": tmp_path / "model.skops", "store": folder / "store"}
    with pytest.raises(LabelsError, match="the labels are of type 'value'"):
        fit(folder / "p.h5", label_column="weight", estimator="ridge", **options)
    monkeypatch.setattr(features, "LARGE_BYTES", 0)
    with pytest.raises(UsageError, match="a model of knn would hold all 36 rows"):
        fit(folder / "p.h5", estimator="knn", **options)
    assert not (tmp_path / "model.skops").exists()
