"""Whatever is in a file, `load_result` gives a whole record or says `ResultFileError`, in little memory."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import os
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedkit import write_page
from embedkit.errors import ResultFileError
from embedkit.render import as_text
from embedkit.results import Record, load_result, result_from
from tests.report.samples import (
    make_audit,
    make_comparison,
    make_curves,
    make_explanations,
    make_probe,
    make_search,
)
from tests.results.any_record import JSON, RECORDS, any_of

PACKED = {"dtype": "<f8", "shape": [2, 2], "zlib": base64.b64encode(zlib.compress(bytes(32))).decode()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> bytes:
    return make_probe(n=6).save(tmp_path_factory.mktemp("saved") / "probe.json").read_bytes()


def places(value, path=()):
    """Every place in a JSON value, by its path."""
    yield path
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[name], (*path, name))


def put(value, path, new):
    """Return a copy with something else in one place."""
    if not path:
        return new
    changed = copy.copy(value)
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


def read_or_refused(file) -> Record | None:
    try:
        return load_result(file)
    except ResultFileError as refused:
        said = str(refused)
    assert str(file) in said
    return None


SAMPLES = [make_probe(n=4), make_comparison(), make_curves(), make_explanations(), make_audit(), make_search()]
SAMPLED = [one.kind for one in SAMPLES]
OTHERS = [one for one in RECORDS if one.kind not in SAMPLED]


def kind_of(record) -> str:
    return record.kind


@pytest.mark.parametrize(
    "records", [*map(st.just, SAMPLES), *map(any_of, OTHERS)], ids=[*SAMPLED, *map(kind_of, OTHERS)]
)
def test_anything_in_any_place(records, tmp_path_factory):
    file = tmp_path_factory.mktemp("results") / "r.json"
    strange = JSON | st.sampled_from([PACKED, 10**400, -1, [[1], [2, 3]], [[[]]], ["a", 1], {"dtype": "|O"}])

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(records, st.data(), strange)
    def is_read_or_refused(record, data, new):
        value = json.loads(record.save(file, force=True).read_bytes())
        path = data.draw(st.sampled_from(list(places(value))))
        file.write_text(json.dumps(put(value, path, new)))
        loaded = read_or_refused(file)
        if loaded is not None:
            loaded.to_dict()
            loaded._repr_html_()
            as_text(loaded)
            with contextlib.suppress(ResultFileError):
                write_page(file, file.with_suffix(".html"), pictures=False, force=True)

    is_read_or_refused()


def test_a_file_that_is_cut_short_or_changed(saved, tmp_path):
    file = tmp_path / "r.json"

    @settings(deadline=None)
    @given(st.integers(0, len(saved) - 2), st.binary(max_size=3), st.booleans())
    def is_read_or_refused(place, other, cut):
        file.write_bytes(saved[:place] + other + (b"" if cut else saved[place + len(other) :]))
        assert read_or_refused(file) is None or not cut

    is_read_or_refused()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no JSON"),
        (b"\xff\xfe", "holds no JSON"),
        (b"[" * 100_000, "levels"),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, "levels"),
        (b'{"embedkit": "result", "kind": "curve", "schema": 1, "curves": NaN}', "NaN"),
        (b"[1, 2]", "no result of embedkit"),
        (b'{"embedkit": "plan"}', "no result of embedkit"),
        (b'{"embedkit": "result"}', "of the kind None is not known"),
        (b'{"embedkit": "result", "kind": "curve", "schema": 1}', "curve is no CurveReport"),
    ],
)
def test_what_is_no_result(content, message, tmp_path):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ResultFileError, match=message):
        load_result(tmp_path / "r.json")


def test_what_is_no_file(tmp_path):
    with pytest.raises(ResultFileError, match="there is no result"):
        load_result(tmp_path / "gone.json")
    with pytest.raises(ResultFileError, match="cannot be read"):
        load_result(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ResultFileError, match="cannot be read"):
        load_result(tmp_path / "pipe.json")


def with_scores(saved: bytes, **changed: object) -> dict:
    record = json.loads(saved)
    record["results"][0]["rows"]["scores"] |= changed
    return record


@pytest.mark.parametrize(
    "changed",
    [
        {"dtype": "|O"},
        {"dtype": "<M8[ns]"},
        {"dtype": ">f8"},
        {"dtype": "<f4"},
        {"dtype": {"names": ["a"], "formats": ["<f8"]}},
        {"shape": [2**62, 2**62]},
        {"shape": [-6, -3]},
        {"shape": [6, 2]},
        {"shape": [True, 18]},
        {"shape": ["6", "3"]},
        {"shape": [1] * 100},
        {"shape": None},
        {"zlib": "?"},
        {"zlib": base64.b64encode(b"no zlib").decode()},
        {"zlib": base64.b64encode(zlib.compress(bytes(6 * 3 * 8 + 1))).decode()},
        {"zlib": base64.b64encode(zlib.compress(bytes(6 * 3 * 8 - 1))).decode()},
    ],
)
def test_arrays_that_lie(changed, saved):
    with pytest.raises(ResultFileError, match=r"probe\.results\[0\]\.rows"):
        result_from(with_scores(saved, **changed))


def test_all_arrays_share_one_budget(saved):
    """Each of them fits, all together do not; and nothing near the budget is taken to find out."""
    record = json.loads(saved)
    mega = {"dtype": "<f4", "shape": [1 << 17, 2], "zlib": base64.b64encode(zlib.compress(bytes(1 << 20))).decode()}
    keys = ["k"] * (1 << 17)
    one = {"model": "m", "method": "PCA", "keys": keys, "xy": mega, "labels": [], "parts": []}
    record["maps"] = [one] * 8
    assert len(result_from(record, most_bytes=9 << 20).maps) == 8
    with pytest.raises(ResultFileError, match=r"maps\[7\]\.xy.* more than .* bytes; .*most_bytes"):
        result_from(record, most_bytes=8 << 20)


@pytest.mark.parametrize("what", ["bomb", "wide"])
def test_a_small_file_takes_little_memory(what, saved, tmp_path):
    if what == "bomb":
        bomb = base64.b64encode(zlib.compress(bytes(1 << 28), 9)).decode()
        record = with_scores(saved, zlib=bomb)
    else:  # NumPy would give 20,000 texts the room of the longest: 80 GB
        record = json.loads(saved)
        record["results"][0]["rows"]["y_true"] = ["x" * 1_000_000, *["y"] * 20_000]
    file = tmp_path / "r.json"
    file.write_text(json.dumps(record))
    tracemalloc.start()
    with pytest.raises(ResultFileError):
        load_result(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_a_large_file_is_refused_before_it_is_read(saved, tmp_path):
    (tmp_path / "r.json").write_bytes(saved)
    with pytest.raises(ResultFileError, match=f"more than {len(saved) - 1} bytes"):
        load_result(tmp_path / "r.json", most_bytes=len(saved) - 1)
