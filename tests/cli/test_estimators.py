"""Estimators of the user's by dotted path, values and several labels, on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.probes.samples import blobs, table_of


@pytest.fixture
def table(tmp_path):
    X, y = blobs(rows=20)
    table_of(X, y, columns={"size": X[:, 0].astype(np.float64) + 0.5}).write(tmp_path / "table.h5")
    return tmp_path / "table.h5"


def test_an_estimator_by_path_with_a_grid(cli, table):
    name = "sklearn.svm.SVC"
    options = ("--param", "C=0.1,1,10", "--param", "kernel=rbf,linear", "--param", "shrinking=true")
    ran = cli("probe", table, "--estimator", name, *options, "--no-floors", "--json")
    assert ran.code == 0, ran.err
    [result] = json.loads(ran.out)["results"]
    assert result["estimator"] == name
    assert result["params"]["C"] in (0.1, 1, 10)
    assert result["params"]["kernel"] in ("rbf", "linear")
    assert result["params"]["shrinking"] is True
    assert result["leaks"]["tested"] == 60


def test_a_column_of_values_is_ridge_regression(cli, table):
    ran = cli("probe", table, "--label-column", "size", "--no-floors")
    assert ran.code == 0, ran.err
    said, _, header, row = ran.out.splitlines()[:4]
    assert "of the variance of the values is explained" in said
    assert header.split()[:3] == ["features", "estimator", "R2"]
    assert row.split()[1] == "ridge"
    assert float(row.split()[2]) > 0.9


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (("--estimator", "sklearn.svm.SVCC"), "sklearn.svm has no 'SVCC'; did you mean", 1),
        (("--estimator", "forest"), "'forest' is not known; use logistic, ", 1),
        (("--estimator", "sklearn.svm.SVC", "--param", "gama=1"), "no parameter 'gama'; did you mean gamma", 1),
        (("--param", "C=1"), "parameters are for one estimator, and 0 are named", 1),
        (("--estimator", "sklearn.svm.SVC", "--param", "C"), "not of the form NAME=VALUE", 2),
        (("--estimator", "sklearn.svm.SVC", "--param", "C=1", "--param", "C=2"), "'C' is given twice", 2),
    ],
)
def test_what_is_wrong_is_said_on_one_line(cli, table, options, words, code):
    ran = cli("probe", table, "--no-floors", *options)
    assert ran.code == code
    assert ran.out == ""
    assert words in ran.err
    assert "Traceback" not in ran.err


def test_a_model_file_of_an_estimator_by_path(cli, tmp_path):
    from tests.photos import MODEL, make_manifest

    manifest = make_manifest(tmp_path / "photos", {"red": 8, "green": 8})
    assert cli("extract", manifest, "--model", MODEL, "--weights", "random", "-o", "p.h5").code == 0
    name = "sklearn.naive_bayes.GaussianNB"
    ran = cli("fit", "p.h5", "--estimator", name, "--param", "var_smoothing=1e-9,1e-3", "-o", "model.skops")
    assert ran.code == 0, ran.err
    assert "ImageEmbedder -> StandardScaler -> GaussianNB" in ran.out
    ran = cli("predict", "model.skops", manifest, "--json")
    assert ran.code == 0, ran.err
    assert {row["predicted"] for row in json.loads(ran.out)["predictions"]} <= {"red", "green"}
