"""What ``-o`` saves is enough for what comes after a number."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from embedkit import load_result
from tests.photos import MODEL, make_manifest
from tests.probes.samples import blobs, table_of


@pytest.fixture
def files(tmp_path):
    """The features of the same images by two networks, one of which is worse."""
    split = ["train", "test"] * 90
    for name, spread in (("good", 0.8), ("poor", 1.6)):
        X, y = blobs(rows=60, width=4, spread=spread)
        provenance = {"model": name, "source": "/photos"}
        table_of(X, y, split=split, architecture=name, provenance=provenance).write(tmp_path / f"{name}.h5")


def test_two_saved_results_say_what_compare_says(cli, files, tmp_path):
    options = ("--no-floors", "--estimator", "logistic")
    for name in ("good", "poor"):
        ran = cli("probe", f"{name}.h5", *options, "-o", f"{name}.json")
        assert ran.code == 0, ran.err
    ran = cli("compare", "good.h5", "poor.h5", *options, "-o", "both.json", "--json")
    assert ran.code == 0, ran.err

    saved = {name: load_result(tmp_path / f"{name}.json").results[0] for name in ("good", "poor")}
    both = load_result(tmp_path / "both.json")
    assert [(one.data, one.model, one.seed) for one in both.results] == [("photos", "good", 0), ("photos", "poor", 0)]
    for compared in both.results:
        alone = saved[compared.model].rows
        np.testing.assert_array_equal(alone.confusion(), compared.rows.confusion())
        assert alone.confusion().sum() == 90
        assert np.trace(alone.confusion()) / 90 == pytest.approx(compared.value)
    right = {name: one.rows.per_image() for name, one in saved.items()}
    only = [sum(right[a][key] > right[b][key] for key in right[a]) for a, b in (("good", "poor"), ("poor", "good"))]
    [pair] = both.leaderboards[0].pairs
    assert pair.test == "mcnemar"
    assert pair.p_value == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    assert 0 < pair.p_value < 1
    printed = json.loads(ran.out)
    assert printed["leaderboards"] == both.to_dict()["leaderboards"]
    assert all("rows" not in result for result in printed["results"])


def test_every_measuring_command_saves_its_result(cli, tmp_path):
    manifest = make_manifest(tmp_path / "photos", {"red": 6, "green": 6}, test=2)
    exact = ("--model", MODEL, "--weights", "random", "--precision", "fp32", "--engine", "torch")
    for arguments in (
        ("probe", manifest, *exact, "--no-floors", "--shots", "1,2", "--seeds", "2", "-o", "curve.json"),
        ("fit", manifest, *exact, "-o", "model.skops", "--result", "fit.json"),
        ("predict", "model.skops", manifest, "-o", "predictions.json"),
    ):
        ran = cli(*arguments)
        assert ran.code == 0, ran.err
    curve, fit, predictions = (load_result(tmp_path / f"{name}.json") for name in ("curve", "fit", "predictions"))
    assert [len(one.points) for one in curve.curves] == [2]
    assert fit.result.rows.confusion().sum() == 4
    assert len(predictions.predictions) == 12
    for record in (curve, fit, predictions):
        origin = record.origin
        assert origin.request["command"] in ("probe", "curve", "fit", "predict")
        assert all(len(digest) == 64 for digest in origin.fingerprints.values())
        assert origin.fingerprints
        assert origin.data == ["photos"]
        assert {"embedkit", "scikit-learn", "torch"} <= origin.versions.keys()
        assert origin.machine["cores"]
        assert origin.created.endswith("Z")
    for record in (curve, fit):
        [digest] = record.origin.split.values()
        assert len(digest) == 64
        assert record.origin.seeds[0] == 0
