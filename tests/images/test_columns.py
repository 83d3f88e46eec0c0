from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.errors import ManifestError
from embedkit.images import ImageSource
from embedkit.images.columns import infer_column


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-2", "+3", "0"], [1, -2, 3, 0]),
        (["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
    ],
)
def test_integers(values, expected):
    column = infer_column(values)
    assert column.dtype == np.int64
    assert column.tolist() == expected


@pytest.mark.parametrize("values", [["1", "", "2"], ["1.5", "2"], ["1e3", ".5"], ["nan", "7"], ["5.", "NaN", ""]])
def test_numbers(values):
    column = infer_column(values)
    assert column.dtype == np.float64
    expected = [float(value) if value else np.nan for value in values]
    np.testing.assert_array_equal(column, expected)


@pytest.mark.parametrize(
    "values",
    [
        ["a", "1"],
        ["", ""],
        ["nan", ""],
        ["007", "1"],
        ["007", "1.5"],
        ["9223372036854775808", "1"],
        ["1_0"],
        ["٣"],
        ["0x1"],
        ["inf"],
        ["1 "],
    ],
)
def test_texts(values):
    assert infer_column(values) == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_every_int64_comes_back(integers):
    assert infer_column([str(integer) for integer in integers]).tolist() == integers


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_every_float_comes_back(floats):
    column = infer_column([repr(number) for number in floats])
    assert np.asarray(column, dtype=float).tolist() == floats


@pytest.mark.parametrize("keys", [["a", "a"], ["a", "b\x00"], ["\ud800"]])
def test_keys_are_unique_unicode_without_nul(keys):
    with pytest.raises(ManifestError, match="source: "):
        ImageSource(name="source", keys=keys, images=keys)
