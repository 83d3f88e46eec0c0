"""A result that a stranger made ends in one clear error, or is read; it never takes more memory than allowed."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import numpy.typing as npt
import pytest

from embedkit import ProbeReport, ProbeResult, load_result
from embedkit.errors import ResultFileError
from embedkit.results import Rows, from_plain

ROWS = Rows(
    keys=["a", "b"],
    y_true=np.array(["x", "y"]),
    y_pred=np.array(["x", "x"]),
    scores=np.array([[0.9, 0.1], [0.6, 0.4]]),
    classes=["x", "y"],
    fold=np.zeros(2, np.int64),
)
RESULT = ProbeResult(
    model="m", protocol="quick", estimator="knn", metric="accuracy", value=0.5, interval=None, n_train=2, n_test=2,
    n_classes=2, params={"k": None, "flag": True, "sizes": [1, 2]}, at_edge=False, converged=True, selected_on="train",
    reported_on="test", rows=ROWS,
)  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    return ProbeReport(results=[RESULT]).save(tmp_path / "r.json")


def test_cut_short_anywhere(saved):
    text = saved.read_bytes()
    assert load_result(saved).results == [RESULT]
    for length in range(0, len(text) - 1, 37):
        saved.write_bytes(text[:length])
        with pytest.raises(ResultFileError):
            load_result(saved)


BOMB = base64.b64encode(zlib.compress(bytes(1 << 24))).decode()


@pytest.mark.parametrize(
    "scores",
    [
        {"dtype": "<f8", "shape": [2, 1 << 60], "zlib": BOMB},
        {"dtype": "<f8", "shape": [2, 2], "zlib": BOMB},
        {"dtype": "|O", "shape": [2, 2], "zlib": BOMB},
        {"dtype": "<f8", "shape": [-2, -2], "zlib": BOMB},
        {"dtype": "<f8", "shape": [2, 2], "zlib": "no base64"},
        [["x", "y"], ["x", "y"]],
        [[1.0], [1.0, 2.0]],
        7,
    ],
)
def test_arrays_that_are_none(saved, scores):
    record = json.loads(saved.read_text())
    record["results"][0]["rows"]["scores"] = scores
    saved.write_text(json.dumps(record))
    with pytest.raises(ResultFileError, match="scores"):
        load_result(saved)


def test_all_arrays_share_one_budget():
    zeros = zlib.compress(np.zeros(1 << 14).tobytes())
    packed = {"dtype": "<f8", "shape": [1 << 14], "zlib": base64.b64encode(zeros).decode()}  # 128 KiB
    arrays = list[npt.NDArray[np.float64]]
    assert len(from_plain(arrays, [packed] * 8, most_bytes=1 << 20)) == 8
    with pytest.raises(ResultFileError, match="take more than"):
        from_plain(arrays, [packed] * 9, most_bytes=1 << 20)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[]", "NaN", "", '{"embedkit": "result", "kind": []}', "\xff"])
def test_no_result(tmp_path, text):
    (tmp_path / "r.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ResultFileError):
        load_result(tmp_path / "r.json")
