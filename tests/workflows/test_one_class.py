"""Detectors of one class: what they find, at which rate of false alarms, and what bad input is told."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import roc_auc_score

from embedkit import fit_one_class, load_result, one_class, predict
from embedkit.errors import LabelsError, OutputExistsError, SplitError, UsageError
from embedkit.probes import detect, normal_split
from embedkit.render import as_text
from embedkit_cli.main import cli as command_line
from tests.photos import make_folder
from tests.probes.samples import blobs, table_of


@pytest.fixture
def table():
    X, y = blobs(rows=80, spread=0.6)
    return table_of(X, y, split=["test" if row % 2 else "train" for row in range(len(y))])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_class")
    make_folder(folder / "photos", {"red": 40, "green": 8, "blue": 8})
    return folder


def run(path, normal="a", **options):
    return one_class(path, normal, floors=False, store=path.parent / "s", **options)


def test_what_is_far_from_the_class_is_found(table, tmp_path):
    table.write(tmp_path / "t.h5")
    report = run(tmp_path / "t.h5")
    assert {one.detector for one in report.results} == {"mahalanobis", "knn", "svm"}
    assert (report.n_normal, report.n_other) == (40, 80)
    assert all(one.roc_auc > 0.9 for one in report.results), [one.roc_auc for one in report.results]
    assert all(one.interval[0] < one.roc_auc < one.interval[1] for one in report.results)
    assert all((one.n_train, one.n_calibration) == (32, 8) for one in report.results)
    assert any("8 images set the threshold, too few for false alarms of 5 %" in note for note in report.notes)
    assert all(one.found == 0 for one in report.results)
    wide = run(tmp_path / "t.h5", error=0.2)
    assert all(one.found > 0.6 for one in wide.results)
    assert not wide.notes
    assert "a against everything else, known from 32 images" in as_text(wide)
    wide.save(tmp_path / "r.json")
    assert load_result(tmp_path / "r.json").results == wide.results


def test_the_area_is_that_of_scikit_learn(table):
    """Mahalanobis by hand, with scikit-learn's covariance and area."""
    split = normal_split(table, "a")
    result, _ = detect(table, split, "mahalanobis", model="x")
    from embedkit.estimators import held_out_rows

    rest, _ = held_out_rows(np.full(len(split.train), "a"), 0.2, 0)
    X = np.asarray(table.X, np.float64)
    known = EmpiricalCovariance().fit(X[split.train][rest])
    shrunk = 0.9 * known.covariance_ + 0.1 * np.trace(known.covariance_) / X.shape[1] * np.eye(X.shape[1])
    apart = X[split.tested] - known.location_
    distances = np.einsum("nd,de,ne->n", apart, np.linalg.inv(shrunk), apart)
    truth = np.asarray(table.y)[split.tested] != "a"
    assert result.roc_auc == pytest.approx(roc_auc_score(truth, distances), abs=1e-12)


def test_other_classes_choose_nothing(table):
    """Whatever the images of other classes are, thresholds and false alarms stay as they are."""
    split = normal_split(table, "a")
    moved = np.array(table.X)
    moved[np.asarray(table.y) != "a"] += 100
    other = table_of(moved, table.y, split=table.split.tolist())
    for distance in ("mahalanobis", "knn", "svm"):
        before, _ = detect(table, split, distance, model="x", error=0.2)
        after, _ = detect(other, split, distance, model="x", error=0.2)
        assert before.false_alarms == after.false_alarms
        assert distance != "mahalanobis" or after.found > before.found


def test_false_alarms_are_as_rare_as_asked_for():
    random = np.random.default_rng(0)
    rates = []
    for seed in range(60):
        X = random.normal(size=(300, 6)).astype(np.float32)
        y = ["a"] * 250 + ["b"] * 50
        table = table_of(X, y)
        result, _ = detect(table, normal_split(table, "a", random_state=seed), "mahalanobis", model="x", error=0.1)
        rates.append(result.false_alarms)
    error = np.std(rates, ddof=1) / np.sqrt(len(rates))
    assert 0.1 - 1 / 36 - 3 * error < np.mean(rates) < 0.1 + 3 * error


def test_floors_stand_beside_and_noise_gains_nothing(photos):
    report = one_class(photos / "photos", "red", "colour-histogram", store=photos / "s", error=0.2)
    assert all(one.floor for one in report.results)
    assert all(one.gain is None for one in report.results)


def test_a_model_of_one_class_marks_what_is_unlike_it(photos):
    fitted = fit_one_class(photos / "photos", "red", "colour-histogram", output=photos / "m.skops", store=photos / "s")
    assert fitted.classes == ["red"]
    assert fitted.result.value > 0.95
    said = predict(photos / "m.skops", photos / "photos", store=photos / "s", unknown=0.12)
    marks = {name: [one.unknown for one in said.predictions if name in one.path] for name in ("red", "green", "blue")}
    assert np.mean(marks["green"] + marks["blue"]) == 1
    assert np.mean(marks["red"]) < 0.3
    assert all(one.predicted == "red" for one in said.predictions)
    with pytest.raises(OutputExistsError):
        fit_one_class(photos / "photos", "red", "colour-histogram", output=photos / "m.skops", store=photos / "s")


@pytest.mark.parametrize(
    ("labels", "normal", "error", "said"),
    [
        (["a"] * 20 + ["b"] * 20, "c", LabelsError, "no image is labelled 'c'.*there are a, b"),
        (["a"] * 40, "a", LabelsError, "nothing to tell it from"),
        (["a"] + ["b"] * 39, "a", SplitError, "1 image of a cannot be cut"),
        (["a"] * 2 + ["b"] * 38, "a", SplitError, "1 images of a are there to learn from, expected at least 10"),
        ([""] * 40, "a", LabelsError, "no row has a label"),
        (["a"] * 15 + ["b"] * 5 + [""] * 20, "c", LabelsError, "there are a, b"),
    ],
)
def test_labels_that_allow_no_answer(labels, normal, error, said, tmp_path):
    X, _ = blobs(rows=20, classes="ab")
    table_of(X, labels).write(tmp_path / "t.h5")
    with pytest.raises(error, match=said):
        run(tmp_path / "t.h5", normal)


def test_features_that_are_not_finite_and_shares_that_are_none_are_refused(table, tmp_path):
    X = np.array(table.X)
    X[3, 2] = np.nan
    table_of(X, table.y).write(tmp_path / "t.h5")
    with pytest.raises(UsageError, match="NaN or infinity in 1 rows"):
        run(tmp_path / "t.h5")
    with pytest.raises(UsageError, match="between 0 and 1"):
        run(tmp_path / "t.h5", error=5)


def test_the_command_line(table, tmp_path):
    table.write(tmp_path / "t.h5")
    common = ["probe", str(tmp_path / "t.h5"), "--no-floors", "--store", str(tmp_path / "s"), "--one-class"]
    ran = CliRunner().invoke(command_line, [*common, "a", "--false-alarms", "0.2"])
    assert ran.exit_code == 0, ran.output
    assert "20 % of false alarms asked for" in ran.output
    assert CliRunner().invoke(command_line, [*common, "a", "--estimator", "svm"]).exit_code == 2
    assert CliRunner().invoke(command_line, [*common, ""]).exit_code == 1
