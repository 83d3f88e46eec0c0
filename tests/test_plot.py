"""Plots draw what is in a result, and nothing else."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

import embedkit
from embedkit.errors import MissingExtraError, UsageError
from embedkit.results import CurveReport, FitResult
from tests.photos import make_folder
from tests.report.samples import HOSTILE, make_curves, make_probe, make_result, make_rows

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pyplot = pytest.importorskip("matplotlib.pyplot")

plot = embedkit.plot


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def rendered(axes) -> np.ndarray:
    axes.figure.canvas.draw()
    return np.asarray(axes.figure.canvas.buffer_rgba())


def test_a_confusion_matrix_has_the_counts_of_the_rows():
    rows = make_rows(["cat", "dog", "horse"])
    axes = plot.confusion(make_result(rows))
    counts = rows.confusion()
    assert {tuple(map(int, text.get_position())): int(text.get_text()) for text in axes.texts} == {
        (predicted, true): counts[true, predicted] for true, predicted in zip(*np.nonzero(counts), strict=True)
    }
    assert [label.get_text() for label in axes.get_yticklabels()] == rows.classes
    assert f"{np.trace(counts)} of {len(rows)} right" in axes.get_title()
    shares = plot.confusion(make_result(rows), shares=True)
    assert sum(int(text.get_text()) for text in shares.texts) == pytest.approx(300, abs=5)


def test_of_a_report_the_recommended_result_is_drawn():
    report = make_probe()
    assert plot.confusion(report).get_title().startswith("some_net, logistic")
    fitted = FitResult(
        output="m.skops", pipeline=None, classes=["cat"], result=report.results[0], steps=["LogisticRegression"]
    )
    assert plot.confusion(fitted).get_title() == plot.confusion(report).get_title()


def test_a_curve_has_the_points_and_bands_of_the_report():
    report = make_curves()
    [first, *_] = report.curves
    axes = plot.curve(report)
    line = axes.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [point.size for point in first.points])
    np.testing.assert_array_equal(line.get_ydata(), [point.mean for point in first.points])
    assert len(axes.lines) == len(report.curves)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"{one.model}, {one.estimator}" for one in report.curves
    ]
    with pytest.raises(ValueError, match="no curve"):
        CurveReport(curves=[])


def test_a_map_has_a_point_for_each_image():
    report = make_probe()
    axes = plot.embedding_map(report)
    drawn = np.concatenate([np.asarray(found.get_offsets()) for found in axes.collections])
    assert sorted(map(tuple, drawn.astype(np.float32))) == sorted(map(tuple, report.maps[0].xy))
    few = plot.embedding_map(report.maps[0], most_labels=1)
    assert [text.get_text() for text in few.get_legend().get_texts()][0] == "2 others"
    with pytest.raises(UsageError, match="no map of other"):
        plot.embedding_map(report, model="other")


def test_reliability_is_what_was_counted():
    rows = make_rows(["cat", "dog"], n=100)
    axes = plot.reliability(make_result(rows))
    sure = rows.scores.max(axis=1)
    order = np.argsort(sure, kind="stable").reshape(10, 10)
    expected = np.stack([sure[order].mean(axis=1), (rows.y_true == rows.y_pred)[order].mean(axis=1)], axis=1)
    np.testing.assert_allclose(np.asarray(axes.collections[0].get_offsets()), expected)
    values = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    with pytest.raises(UsageError, match="no probabilities"):
        plot.reliability(make_result(type(rows)(**{**values, "probabilities": False})))


def test_a_contact_sheet_shows_the_mistakes(tmp_path):
    folder = make_folder(tmp_path / "photos", {"cat": 4, "dog": 3})
    keys = [f"cat/{n:03}.png" for n in range(4)]
    axes = plot.contact_sheet(folder, keys, columns=3)
    assert len(axes.images) == 4
    assert [text.get_text() for text in axes.texts] == keys
    rows = make_rows(["cat", "dog"], n=4)
    values = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    wrong = type(rows)(**{**values, "keys": keys, "y_pred": np.array(["dog"] * 4), "y_true": np.array(["cat"] * 4)})
    sheet = plot.contact_sheet(folder, wrong, most=2)
    assert len(sheet.images) == 2
    assert {text.get_text() for text in sheet.texts} == {"is cat, named dog"}
    with pytest.raises(UsageError, match="none of 1 keys"):
        plot.contact_sheet(folder, ["bird/000.png"])


def test_names_are_drawn_as_they_are():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        for name in (*HOSTILE, r"$\frac{1}{0}$", "$"):
            assert rendered(plot.confusion(make_probe(["cat", name]))).any()


def test_axes_that_are_given_are_drawn_on():
    figure, axes = pyplot.subplots()
    assert plot.confusion(make_probe(), ax=axes) is axes
    assert len(figure.axes) == 1


def test_what_cannot_be_drawn_is_said(monkeypatch):
    with pytest.raises(UsageError, match="keeps no rows"):
        plot.confusion(make_result(None))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"embedkit\[plot\]"):
        plot.confusion(make_probe())
