"""Small tables that the tests of the feature file share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.specs import BackboneSpec, DecodeSpec, Dtype, FeatureSpec, PreprocessSpec
from embedkit.tables.head import Failure, TableHead
from embedkit.tables.table import FeatureTable

EVERYTHING: dict[str, Any] = {
    "labels": ["cat", "dog", "", "cat", "dog", "newt"],
    "split": ["train", "train", "val", "test", "", "test"],
    "groups": ["p1", "p1", "p2", "p3", "p3", ""],
    "columns": {
        "site": ["A", "B", "A", "B", "A", ""],
        "weight": np.array([0.5, np.nan, -1.25, np.inf, 0.0, 1e300]),
        "count": np.array([1, -2, 3, 2**62, 0, -(2**63)]),
        "indoor": np.array([True, False, True, True, False, False]),
        "odd / name %2F": ["", "a", "", "", "", ""],
    },
    "failures": [Failure("bad.jpg", "truncated after 12 bytes", bytes(range(32))), Failure("gone.jpg", "vanished")],
    "provenance": {"model": "resnet18.a1_in1k", "source": "/photos", "created": "2026-11-21T00:00:00+00:00"},
}
"""Arguments of `make_table` for a table of six rows with everything that a table can have."""


def make_spec(width: int = 4, dtype: Dtype = "float32", **backbone: Any) -> FeatureSpec:
    return FeatureSpec(
        backbone=BackboneSpec(
            **{"architecture": "resnet18", "weights": "sha256:" + "0" * 64, "width": width, **backbone}
        ),
        preprocess=PreprocessSpec(
            input_size=(224, 224),
            interpolation="bicubic",
            crop_pct=0.95,
            crop_mode="center",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        decode=DecodeSpec(),
        dtype=dtype,
    )


def make_digests(rows: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (rows, 32), dtype=np.uint8)


def make_features(rows: int, width: int = 4, dtype: Dtype = "float32", seed: int = 0) -> npt.NDArray[Any]:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(dtype)


def make_table(
    rows: int = 6, width: int = 4, dtype: Dtype = "float32", seed: int = 0, prefix: str = "images", **head: Any
) -> FeatureTable:
    """Return a table with keys such as ``images/0.jpg``; digests and features are random."""
    keys = head.pop("keys", [f"{prefix}/{row}.jpg" for row in range(rows)])
    spec = head.pop("spec", make_spec(width, dtype))
    made = TableHead(spec=spec, keys=keys, digests=make_digests(len(keys), seed), **head)
    return FeatureTable(made, make_features(len(keys), width, dtype, seed))


def assert_same(got: FeatureTable, expected: FeatureTable) -> None:
    """Compare everything that two tables say."""
    assert got.spec == expected.spec
    assert got.keys == expected.keys
    np.testing.assert_array_equal(got.X, expected.X)
    np.testing.assert_array_equal(got.digests, expected.digests)
    assert got.target_type == expected.target_type
    assert got.classes == expected.classes
    for left, right in ((got.y, expected.y), (got.split, expected.split), (got.groups, expected.groups)):
        assert (left is None) == (right is None)
        if left is not None and right is not None:
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
    assert got.columns.keys() == expected.columns.keys()
    for name, column in expected.columns.items():
        assert got.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(got.columns[name], column)
    assert got.failures == expected.failures
    assert got.provenance == expected.provenance
