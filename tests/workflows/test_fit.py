"""A model file of every estimator predicts what was reported."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import accuracy_score, confusion_matrix, r2_score
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from embedkit import FeatureTable, extract, fit, open_source, predict
from embedkit.errors import LabelsError, UntrustedModelError, UsageError
from embedkit.evaluation import feature_rows as features
from embedkit.probes import ESTIMATORS
from embedkit.render import as_text
from embedkit.results import load_result
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
    with pytest.raises(UsageError, match="'logistic' is not for labels that are values; use ridge"):
        fit(folder / "p.h5", label_column="weight", **options)
    monkeypatch.setattr(features, "LARGE_BYTES", 0)
    with pytest.raises(UsageError, match="a model of knn would hold all 36 rows"):
        fit(folder / "p.h5", estimator="knn", **options)
    assert not (tmp_path / "model.skops").exists()


@pytest.mark.parametrize("estimator", ["svm", "sklearn.svm.LinearSVC"])
def test_an_svm_gives_calibrated_probabilities_if_asked(folder, tmp_path, estimator):
    options = {"estimator": estimator, "store": folder / "store"}
    fitted = fit(folder / "p.h5", output=tmp_path / "model.skops", calibrate=True, **options)
    assert fitted.result.notes[-1].startswith("its probabilities are calibrated")
    found = predict(tmp_path / "model.skops", folder / "photos", store=folder / "store", top=3)
    assert {one.kind for one in found.predictions} == {"probability"}
    assert all(sum(guess.score for guess in one.top) == pytest.approx(1) for one in found.predictions)
    plain = fit(folder / "p.h5", output=tmp_path / "plain.skops", **options)
    table = FeatureTable.open(folder / "p.h5")
    rows = np.flatnonzero(table.split == "train")
    assert set(table.split) == {"train", "test"}
    steps = clone(Pipeline(plain.pipeline.steps[1:]))
    cut = StratifiedKFold(5, shuffle=True, random_state=0)
    expected = CalibratedClassifierCV(steps, cv=cut).fit(table.X[rows], table.y[rows].astype(str))
    said = fitted.pipeline[-1].predict_proba(table.X)
    np.testing.assert_allclose(said, expected.predict_proba(table.X), atol=1e-6)


def test_values_are_not_calibrated(folder, tmp_path):
    with pytest.raises(LabelsError, match="probabilities are of one class an image"):
        fit(folder / "p.h5", label_column="weight", estimator="ridge", calibrate=True, output=tmp_path / "m.skops")


@pytest.mark.parametrize("estimator", ["ridge", "sklearn.linear_model.BayesianRidge"])
def test_values_come_out_as_numbers(folder, tmp_path, estimator):
    options = {"label_column": "weight", "store": folder / "store"}
    fitted = fit(folder / "p.h5", estimator=estimator, output=tmp_path / "model.skops", **options)
    manifest = folder / "photos" / "split.csv"
    with manifest.open(newline="") as file:
        truth = {row["path"]: float(row["weight"]) for row in csv.DictReader(file) if row["split"] == "test"}
    found = predict(tmp_path / "model.skops", manifest, store=folder / "store", output=tmp_path / "p.csv")
    said = {row.path: row.predicted for row in found.predictions}
    assert all(type(value) is float for value in said.values())
    assert r2_score([*truth.values()], [said[key] for key in truth]) == pytest.approx(fitted.result.value)
    assert (found.accuracy, found.confusion) == (None, None)
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [*rows[0]] == ["path", "predicted"]
    assert {row["path"]: float(row["predicted"]) for row in rows} == said


def test_labelled_images_are_counted_as_scikit_learn_counts_them(folder, tmp_path):
    fit(folder / "p.h5", estimator="lda", output=tmp_path / "model.skops", store=folder / "store")
    manifest = tmp_path / "other.csv"
    with (folder / "photos" / "split.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    truth = [["red", "green", "blue", "grey"][number % 4] for number in range(len(paths))]
    lines = [f"{folder / 'photos' / path},{label}" for path, label in zip(paths, truth, strict=True)]
    manifest.write_text("\n".join(["path,label", *lines]))
    found = predict(
        tmp_path / "model.skops", manifest, store=folder / "store", top=2, output=tmp_path / "p.json", force=True
    )
    said = [row.predicted for row in found.predictions]
    n, share = len(truth), accuracy_score(truth, said)
    assert found.accuracy == pytest.approx(share)
    z = norm.ppf(0.975)
    middle, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert found.interval == pytest.approx(((middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)))
    assert found.confusion.counts == confusion_matrix(truth, said, labels=found.confusion.classes).tolist()
    assert found.confusion.classes == ["blue", "green", "grey", "red"]
    for row in found.predictions:
        assert [guess.label for guess in row.top][0] == row.predicted
        assert row.top[0].score == row.score >= row.top[1].score
        assert (len(row.top), row.kind) == (2, found.score)
    assert load_result(tmp_path / "p.json") == found
    assert "accuracy" in as_text(found)
    assert "true" in as_text(found)


def test_what_could_not_be_loaded_again_is_refused_before_anything_is_read(tmp_path):
    for estimator in ("sklearn.isotonic.IsotonicRegression", FunctionTransformer(print)):
        with pytest.raises(UntrustedModelError, match="does not load"):
            fit(tmp_path / "nothing.h5", estimator=estimator, output=tmp_path / "model.skops")


@pytest.mark.parametrize("estimator", ["logistic", "ridge", "sklearn.neighbors.KNeighborsClassifier"])
def test_several_labels_an_image(tmp_path, estimator):
    folder = tmp_path / "photos"
    folder.mkdir()
    rows = []
    for number in range(120):
        marks = [number % 2 == 0, number % 3 == 0]
        pixels = np.random.default_rng(number).integers(0, 60, (24, 24, 3), dtype=np.uint8)
        pixels[..., 0] += np.uint8(150 * marks[0])
        pixels[:12, :, 2] += np.uint8(150 * marks[1])
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
        if number % 11 == 5:  # a wrong label, so that there is something to choose
            marks = [not marks[0], True]
        names = "|".join(name for name, mark in zip(("red", "sky"), marks, strict=True) if mark)
        if names:
            rows.append((f"{number:03}.png", names, "test" if number % 5 == 0 else "train"))
    with (folder / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    photos = open_source(folder / "split.csv", target_type="multilabel")
    fitted = fit(photos, "pixels32", estimator=estimator, output=tmp_path / "m.skops", store=tmp_path / "store")
    assert fitted.classes == ["red", "sky"]
    predictions = predict(tmp_path / "m.skops", photos, store=tmp_path / "store", top=1)
    expected = {path: set(names.split("|")) for path, names, _ in rows}
    right = [set(one.predicted) == expected[one.path] for one in predictions.predictions]
    assert sum(right) / len(right) > 0.7
    assert predictions.accuracy == pytest.approx(sum(right) / len(right))
    assert predictions.confusion is None
    assert predictions.interval[0] < predictions.accuracy
    assert "all of their labels and no other" in as_text(predictions)
    assert load_result(predictions.save(tmp_path / "p.json")) == predictions
    assert {guess.label for one in predictions.predictions for guess in one.top} <= {"red", "sky"}
