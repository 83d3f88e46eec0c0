"""What is saved comes back, to the last bit, for every kind of result."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embedkit
from embedkit.errors import OutputExistsError, ResultFileError
from embedkit.render import as_text
from embedkit.results import Prediction, Predictions, ProbeReport, load_result, result_from
from tests.report.samples import HOSTILE, make_comparison, make_curves, make_probe, make_result, make_rows
from tests.results.any_record import RECORDS, any_of


def test_every_kind_is_a_public_name():
    assert all(getattr(embedkit, kind.__name__) is kind for kind in RECORDS)
    assert len({kind.kind for kind in RECORDS}) == len(RECORDS) >= 10


@pytest.mark.parametrize("kind", RECORDS, ids=lambda one: one.kind)
def test_every_kind_comes_back(kind, tmp_path_factory):
    file = tmp_path_factory.mktemp("results") / "result.json"

    @settings(deadline=None, max_examples=50)  # the first imports pandas
    @given(any_of(kind))
    def comes_back(record):
        assert load_result(record.save(file, force=True)) == record
        assert result_from(json.loads(json.dumps(record.to_dict()))) == record
        json.dumps(record.to_dict(rows=False), allow_nan=False)
        assert record.to_pandas().shape[0] == len(record.table())
        assert len({tuple(row) for row in record.table()}) <= 1
        record._repr_html_()
        assert isinstance(as_text(record), str)
        assert len(repr(record).split("\n")) <= 23 + len(record.notes) + len(record.skipped)

    comes_back()


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_without_rows_nothing_of_single_images_is_said(data):
    record = data.draw(any_of(ProbeReport))
    said = record.to_dict(rows=False)
    assert not {"maps", "nearest"} & said.keys()
    assert all("rows" not in result for result in said["results"])
    without = result_from(said)
    assert [result.value for result in without.results] == [result.value for result in record.results]
    assert all(result.rows is None for result in without.results)


def test_what_is_not_finite_comes_back_from_a_file(tmp_path):
    rows = make_rows(["cat", "dog"], n=3)
    rows.scores[:] = [[np.nan, -np.inf], [np.inf, -0.0], [5e-324, 1e300]]
    report = ProbeReport(results=[make_result(rows, interval=(float("nan"), 0.5), params={"C": float("inf")})])
    [loaded] = load_result(report.save(tmp_path / "r.json")).results
    assert loaded.rows.scores.tobytes() == rows.scores.tobytes()
    assert np.isnan(loaded.interval[0])
    assert loaded.params == {"C": None}  # JSON has no word for it


def test_parameters_keep_their_kind(tmp_path):
    params = {"n": 1000, "C": 1.0, "shrinking": True, "weight": None, "kernel": "rbf", "sizes": [10, 5]}
    [loaded] = load_result(ProbeReport(results=[make_result(params=params)]).save(tmp_path / "r.json")).results
    assert {name: (type(value), value) for name, value in loaded.params.items()} == {
        name: (type(value), value) for name, value in params.items()
    }


def test_records_are_not_written_over_unasked(tmp_path):
    record = make_curves()
    record.save(tmp_path / "r.json")
    with pytest.raises(OutputExistsError, match="--force"):
        record.save(tmp_path / "r.json")


@pytest.mark.parametrize("record", [make_probe(HOSTILE), make_comparison(), make_curves()], ids=lambda one: one.kind)
def test_a_notebook_shows_no_markup_of_others(record):
    shown = record._repr_html_()
    assert "<script" not in shown
    assert "<img" not in shown
    assert shown.count("<tr>") == 1 + len(record.table())


def test_print_shows_the_table_and_no_rows_of_images():
    report = make_probe(HOSTILE, n=3000)
    shown = repr(report)
    assert shown.startswith("ProbeReport")
    assert len(shown) < 5000
    assert "\x1b" not in shown
    for row in report.table():
        assert f"{row['value']:.4g}" in shown
    assert "and 280 more" in repr(
        Predictions(predictions=[Prediction(str(i), "cat") for i in range(300)], score="score")
    )


def test_rows_agree_with_each_other():
    rows = make_rows(["cat", "dog"], n=4)
    for changed, message in [
        ({"keys": rows.keys[1:]}, "3 keys"),
        ({"keys": []}, "no row was tested"),
        ({"scores": rows.scores[:, :1]}, "scores of shape"),
        ({"fold": rows.fold[1:]}, "4 keys"),
        ({"y_true": np.arange(4)}, "expected str, float64 or bool"),
        ({"classes": ["cat", "newt"]}, "none of the classes"),
    ]:
        values = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
        with pytest.raises(ValueError, match=message):
            type(rows)(**{**values, **changed})


def test_a_record_of_another_kind_or_version_is_refused():
    plain = make_curves().to_dict()
    with pytest.raises(ResultFileError, match="'curve', expected 'probe'"):
        ProbeReport.from_dict(plain)
    for schema in (2, 0, "1", None):
        with pytest.raises(ResultFileError, match="schema"):
            result_from({**plain, "schema": schema})
    for kind in ("future", ["curve"], None):
        with pytest.raises(ResultFileError, match="is not known; expected one of audit, comparison, curve"):
            result_from({**plain, "kind": kind})


def test_what_a_newer_version_adds_is_passed_over():
    report = make_probe()
    plain = report.to_dict()
    plain["results"][0]["later"] = {"x": 1}
    assert result_from(plain) == result_from(report.to_dict())


def test_a_reader_without_embedkit_sees_the_same(tmp_path, monkeypatch):
    """The few lines of docs/format.md, as they stand there."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "zlib" in block]
    report = make_probe()
    report.save(tmp_path / "grocery.json")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    np.testing.assert_array_equal(names["counts"], report.results[0].rows.confusion())
    np.testing.assert_array_equal(names["array"](names["rows"]["scores"]), report.results[0].rows.scores)
