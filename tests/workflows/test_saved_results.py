"""A saved result is enough: confusion matrices and paired tests are made from files, and equal those of `compare`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from embedkit import FeatureTable, compare, load_result, probe
from tests.probes.samples import blobs, table_of


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Two kinds of features of the same images, the second noisier."""
    folder = tmp_path_factory.mktemp("tables")
    X, y = blobs(rows=80)
    split = ["train" if row % 2 else "test" for row in range(len(y))]
    noise = np.random.default_rng(5).normal(scale=2.0, size=X.shape)
    paths = [folder / "clear.h5", folder / "noisy.h5"]
    for path, features in zip(paths, (X, X + noise), strict=True):
        table = table_of(features, y, split=split)
        table.metadata.provenance["source"] = "photos"  # of one data set
        table.write(path)
    return paths


def test_two_saved_results_say_what_compare_says(files, tmp_path):
    saved = []
    for path in files:
        probe(path, estimator="logistic", floors=False, store=tmp_path / "store").save(tmp_path / f"{path.stem}.json")
        [result] = load_result(tmp_path / f"{path.stem}.json").results
        saved.append(result)
    board = compare(files, floors=False, store=tmp_path / "store").leaderboards[0]
    one, other = (result.rows.per_image() for result in saved)
    assert one.keys() == other.keys()
    only = [sum(one[key] > other[key] for key in one), sum(one[key] < other[key] for key in one)]
    assert board.pairs[0].test == "mcnemar"
    assert board.pairs[0].p_value == pytest.approx(binomtest(only[0], sum(only)).pvalue, rel=1e-9)
    for path, result in zip(files, saved, strict=True):
        rows = result.rows
        expected = confusion_matrix(rows.y_true, rows.y_pred, labels=rows.classes)
        np.testing.assert_array_equal(rows.confusion(), expected)
        assert np.trace(rows.confusion()) / len(rows) == result.value
        table = FeatureTable.open(path).select(split="test")
        assert rows.keys == list(table.keys)
        assert rows.y_true.tolist() == table.y.tolist()


def test_a_saved_comparison_keeps_the_rows_of_each_result(files, tmp_path):
    comparison = compare(files, protocols=("quick", "simpleshot"), floors=False, seeds=2, store=tmp_path / "store")
    comparison.save(tmp_path / "c.json")
    again = load_result(tmp_path / "c.json")
    assert [(one.protocol, one.seed) for one in again.results] == [
        (one.protocol, one.seed) for one in comparison.results
    ]
    for one, other in zip(comparison.results, again.results, strict=True):
        assert other.rows.per_image() == one.rows.per_image()


def test_the_command_line_saves_and_draws(files, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from embedkit_cli.main import cli

    monkeypatch.chdir(tmp_path)
    store = ("--store", str(tmp_path / "store"))
    for name, arguments in {
        "probe": ("probe", files[0], "--no-floors", "--estimator", "logistic", "-o", "probe.json"),
        "curve": ("probe", files[0], "--no-floors", "--shots", "1,4", "--seeds", "2", "-o", "curve.json"),
        "comparison": ("compare", *files, "--no-floors", "-o", "comparison.json"),
    }.items():
        ran = CliRunner().invoke(cli, [*map(str, arguments), *store], standalone_mode=False)
        assert ran.exception is None, ran.exception
        file = tmp_path / arguments[-1]
        assert json.loads(file.read_text())["kind"] == name
        assert load_result(file).kind == name
    ran = CliRunner().invoke(
        cli, ["report", "probe.json", "curve.json", "comparison.json", "-o", "page.html", *store], standalone_mode=False
    )
    assert ran.exception is None, ran.exception
    page = (tmp_path / "page.html").read_text()
    assert "are named right" in page
    assert "Images that are not shown" in page  # these tables were made of no images
