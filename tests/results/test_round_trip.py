"""Every kind of record comes back from its dictionary and from its file as it was; pages of it are escaped."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import typing
from pathlib import Path
from typing import get_args, get_origin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embedkit
from embedkit import load_result
from embedkit.errors import OutputExistsError
from embedkit.results import (
    AverageRanks,
    Candidate,
    Comparison,
    Curve,
    CurveReport,
    DemoResult,
    ExtractResult,
    FitResult,
    Forecast,
    Leaderboard,
    Origin,
    Pair,
    PlanResult,
    PlanStatus,
    Point,
    Prediction,
    Predictions,
    ProbeReport,
    ProbeResult,
    Record,
    Rows,
    Skipped,
    Stages,
    Standing,
    Unavailable,
    UnitStatus,
    result_from,
)
from embedkit.results.loading import _RECORDS

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
COUNT = st.integers(0, 10**9)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), NUMBER, TEXT)
INTERVAL = st.none() | st.tuples(NUMBER, NUMBER)
PARAMS = st.dictionaries(TEXT, SCALAR | st.lists(SCALAR, max_size=3), max_size=3)


@st.composite
def rows(draw) -> Rows:
    """One row or more of classes, of values or of several labels, in one draw or several."""
    n, draws = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    keys = draw(st.lists(TEXT, min_size=n, max_size=n)) * draws
    fold = np.repeat(np.arange(draws), n).astype(np.int64)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kind = draw(st.sampled_from(["class", "value", "multilabel"]))
    if kind == "value":
        values = rng.normal(size=(2, n * draws))
        return Rows(keys=keys, y_true=values[0], y_pred=values[1], classes=[], fold=fold)
    classes = draw(st.lists(TEXT, min_size=1, max_size=3, unique=True))
    scores = rng.normal(size=(n * draws, len(classes)))
    if kind == "class":
        labels = np.array(classes, dtype=np.str_)[rng.integers(0, len(classes), (2, n * draws))]
    else:
        labels = rng.random((2, n * draws, len(classes))) < 0.5
        scores[scores < -1] = -np.inf
    return Rows(
        keys=keys,
        y_true=labels[0],
        y_pred=labels[1],
        scores=draw(st.sampled_from([None, scores])),
        probabilities=draw(st.booleans()),
        classes=classes,
        fold=fold,
    )


# What differs from what the type of a field says: names with a meaning, and fields that are no data.
for kind, strategy in ((Rows, rows()), (Candidate, st.builds(Candidate, params=PARAMS, score=NUMBER))):
    st.register_type_strategy(kind, strategy)


def of_type(kind):
    """A strategy for the types that records are made of, without what JSON cannot say."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is float:
        return NUMBER
    if kind is str:
        return TEXT
    if kind is int:
        return COUNT
    if origin is list:
        return st.lists(of_type(inner[0]), max_size=2)
    if origin is tuple:
        return st.tuples(*map(of_type, inner))
    if origin is dict:
        return st.dictionaries(TEXT, of_type(inner[1]), max_size=2)
    if type(None) in inner:
        return st.none() | st.one_of(*(of_type(one) for one in inner if one is not type(None)))
    return st.from_type(kind)


def made(kind, **special):

    hints = typing.get_type_hints(kind)
    own = (
        kind._fields
        if hasattr(kind, "_fields")
        else [one.name for one in dataclasses.fields(kind) if one.name != "pipeline"]
    )
    return st.builds(kind, **{name: special.get(name, of_type(hints[name])) for name in own})


PLAIN = st.dictionaries(TEXT, SCALAR, max_size=2)
for kind, special in (
    (Skipped, {}),
    (Unavailable, {}),
    (Origin, {"request": PLAIN, "machine": PLAIN}),
    (ProbeResult, {"params": PARAMS, "metrics": st.dictionaries(TEXT, PLAIN, max_size=2)}),
    (Standing, {"params": PARAMS}),
    (Pair, {}),
    (Leaderboard, {}),
    (AverageRanks, {}),
    (Point, {"size": COUNT | NUMBER}),
    (Curve, {}),
    (Prediction, {}),
    (UnitStatus, {}),
    (Stages, {"wall": st.just(2.0), "threads": st.just(2), "readers": st.just(2)}),
):
    st.register_type_strategy(kind, made(kind, **special))

KINDS = [ProbeReport, Comparison, CurveReport, FitResult, Predictions, ExtractResult, Forecast, PlanResult, PlanStatus]
for kind in [*KINDS, DemoResult]:
    st.register_type_strategy(kind, made(kind, maps=st.just([]), seconds=st.just(2.0)))


def test_every_kind_is_tested():
    assert set(_RECORDS) == {*KINDS, DemoResult}
    assert all(getattr(embedkit, kind.__name__) is kind for kind in _RECORDS)


@pytest.mark.parametrize("kind", [*KINDS, DemoResult])
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_a_record_comes_back(kind: type[Record], data):
    record = data.draw(st.from_type(kind))
    with tempfile.TemporaryDirectory() as folder:
        back = load_result(record.save(Path(folder) / "r.json"))
    assert type(back) is kind
    assert back == record
    again = result_from(json.loads(json.dumps(record.to_dict(), allow_nan=False)))
    assert again.to_dict() == record.to_dict()  # text forms have no word for infinities; the packed ones above do
    assert json.loads(json.dumps(record.to_dict(rows=False), allow_nan=False))["kind"] == kind.kind


@pytest.mark.parametrize("kind", [*KINDS, DemoResult])
@given(data=st.data())
@settings(max_examples=2, deadline=None)
def test_tables_and_pages(kind: type[Record], data):
    record = data.draw(st.from_type(kind))
    assert len(record.to_pandas()) == len(record.table())
    page = record._repr_html_()
    assert page.count("<tr>") == len(record.table()) + 1


def test_what_strangers_named_is_escaped():
    evil = "<script>alert('x')</script>"
    shown = Predictions(predictions=[Prediction(evil, evil, 0.5)], score=evil, notes=[evil])._repr_html_()
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 4


def test_save_writes_over_nothing(tmp_path):
    (tmp_path / "r.json").write_text("mine")
    record = Predictions(predictions=[], score="probability")
    with pytest.raises(OutputExistsError, match="exists"):
        record.save(tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == "mine"
    assert load_result(record.save(tmp_path / "r.json", force=True)) == record
