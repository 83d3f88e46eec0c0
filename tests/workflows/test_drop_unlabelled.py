"""Rows without a label are an error, unless they are to be left out: then how many is said, by every command."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit import compare, curve, gap, load_result, open_source, probe
from embedkit.errors import LabelsError
from tests.probes.samples import blobs, table_of


def _with_gaps(rows: int = 80):
    X, y = blobs(rows=rows)
    labels = [label if row % 10 else "" for row, label in enumerate(y)]
    split = ["train" if row % 2 else "test" for row in range(len(y))]
    return X, labels, split


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A feature file of which each tenth row has no label, and one of the others alone."""
    folder = tmp_path_factory.mktemp("tables")
    X, labels, split = _with_gaps()
    known = [row for row, label in enumerate(labels) if label]
    table_of(X, np.array(labels), split=split).write(folder / "gaps.h5")
    table_of(X[known], np.array(labels)[known], split=[split[row] for row in known]).write(folder / "known.h5")
    return folder / "gaps.h5"


@pytest.mark.parametrize("command", [probe, compare, curve])
def test_they_are_an_error_that_says_what_to_do(command, file, tmp_path):
    options = {"shots": [2]} if command is curve else {}
    with pytest.raises(LabelsError, match=r"24 of 240 rows have no label.*--drop-unlabelled"):
        command([file] if command is compare else file, floors=False, store=tmp_path / "s", **options)


def test_left_out_the_numbers_are_those_of_the_others(file, tmp_path):
    options = {"estimator": "logistic", "floors": False, "store": tmp_path / "s"}
    report = probe(file, drop_unlabelled=True, **options)
    assert "24 rows without a label are left out" in report.read[0]
    [result], [expected] = report.results, probe(file.with_name("known.h5"), **options).results
    assert (result.value, result.interval, result.n_train) == (expected.value, expected.interval, expected.n_train)
    report.save(tmp_path / "r.json")
    assert load_result(tmp_path / "r.json").origin.request["drop_unlabelled"] is True


def test_every_command_says_how_many(file, tmp_path):
    options = {"drop_unlabelled": True, "store": tmp_path / "s"}
    said = [
        compare([file], floors=False, **options).notes,
        curve(file, shots=[2], floors=False, **options).notes,
        gap(file, file.with_name("known.h5"), floors=False, **options).read,
    ]
    assert all(sum("24 rows without a label are left out" in one for one in lines) == 1 for lines in said)


def test_a_table_without_any_label_has_nothing_left(tmp_path):
    X, labels, _ = _with_gaps()
    table_of(X, np.array([""] * len(labels))).write(tmp_path / "none.h5")
    with pytest.raises(LabelsError, match="none of the 240 rows"):
        probe(tmp_path / "none.h5", drop_unlabelled=True, floors=False, store=tmp_path / "s")


def test_images_keep_what_is_known_of_them(tmp_path):
    (tmp_path / "m.csv").write_text(
        "path,label,split,age\na.png,cat,train,1\nb.png,,train,2\nc.png,dog,test,3\n", encoding="utf-8"
    )
    source = open_source(tmp_path / "m.csv")
    assert source.labelled.tolist() == [True, False, True]
    rest = source.some(source.labelled)
    assert (rest.keys, rest.labels, rest.split) == (["a.png", "c.png"], ["cat", "dog"], ["train", "test"])
    assert list(rest.columns["age"]) == [1, 3]
    assert [str(image)[-5:] for image in rest.images] == ["a.png", "c.png"]


def test_values_that_are_missing_are_no_labels(tmp_path):
    X, _, split = _with_gaps()
    y = X[:, 0].astype(float)
    y[:3] = np.nan
    table_of(X, y, split=split).write(tmp_path / "values.h5")
    report = probe(tmp_path / "values.h5", drop_unlabelled=True, floors=False, store=tmp_path / "s", estimator="ridge")
    assert "3 rows without a label are left out" in report.read[0]
    assert report.results[0].metric == "r2"
