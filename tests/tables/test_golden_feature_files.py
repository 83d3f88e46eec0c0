"""Feature files of earlier versions, which every later version must read as they were meant."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from embedkit.tables.feature_file import info
from embedkit.tables.head import Failure
from embedkit.tables.table import FeatureTable
from tests.golden import make_golden

GOLDEN = Path(__file__).parents[1] / "golden"

# The files are what they were when the format was settled.
SHA256 = {
    "feature-file-1.0-class.h5": "86396f4bdd27ae54987cccf24b840e3dddaddc63b2f37ed5edd4af4c6aac2c02",
    "feature-file-1.0-multilabel.h5": "9c389a7afd96eaa6961c3cbbfedb9723f0c6a300b2b543a50f5044c010b0383e",
    "feature-file-1.0-no-rows.h5": "73f9beea264c2c9a8fac0f150fea8bb5319768e25f4146b5a6b6f8285dc791b6",
    "feature-file-1.0-one-row.h5": "5521e13e8a81fc257a295fd90a2b4d7ea308a5ac331916e191e431512a8ea7a6",
    "feature-file-1.0-value.h5": "47bba0fd662e5ac9f371a1bd62591d3a4e234b34e24e746165efa98b7b81f170",
}

CANONICAL = (
    '{"backbone":{"architecture":"resnet50","engine":"openvino","layer":-2,"model_args":{"drop_rate":0.1},'
    '"pool":"cls+avg","precision":"bf16",'
    '"weights":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","width":3},'
    '"decode":{"alpha":"white","cmyk":"pillow","contract":1,"decoder":"simplejpeg","exif":"apply","scale":2,'
    '"sixteen_bit":"scale"},"dtype":"float32","format":1,'
    '"preprocess":{"crop_mode":"center","crop_pct":0.95,"input_size":[224,224],"interpolation":"bicubic",'
    '"mean":[0.485,0.456,0.406],"resize":"fast","std":[0.229,0.224,0.225]}}'
)


def golden(name: str) -> FeatureTable:
    return FeatureTable.open(GOLDEN / f"feature-file-1.0-{name}.h5", verify="always")


def test_the_files_are_those_of_the_format() -> None:
    files = sorted(GOLDEN.glob("feature-file-*.h5"))
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == SHA256


def test_class() -> None:
    table = golden("class")
    assert table.X.tolist() == [
        [-1.0, -0.75, -0.5],
        [-0.25, 0.0, 0.25],
        [0.5, 0.75, 1.0],
        [1.25, 1.5, 1.75],
        [2.0, 2.25, 2.5],
    ]
    assert table.X.dtype == np.float32
    assert table.keys == ["cats/1.jpg", "cats/2 ä.jpg", "..", "line\nbreak", "dogs/日本.png"]
    assert table.digests[0].tolist() == list(range(32))
    assert table.digests[4].tolist() == list(range(128, 160))
    assert table.target_type == "class"
    assert table.y is not None
    assert table.y.tolist() == ["cat", "cat", "", "dog", "dog"]
    assert table.classes == ["cat", "dog", "newt"]
    assert table.split is not None
    assert table.split.tolist() == ["train", "test", "train", "", "val"]
    assert table.groups is not None
    assert table.groups.tolist() == ["p1", "p2", "p1", "p3", ""]
    assert sorted(table.columns) == ["a/b 100%", "count", "indoor", "site", "weight"]
    assert table.columns["site"].tolist() == ["north", "", "south", "north", "é"]
    assert table.columns["a/b 100%"].tolist() == ["x", "y", "", "", "z"]
    assert table.columns["count"].tolist() == [1, -(2**63), 2**63 - 1, 0, 7]
    assert table.columns["indoor"].tolist() == [True, False, False, True, True]
    np.testing.assert_array_equal(table.columns["weight"], [0.5, np.nan, -np.inf, 1e-300, 0.0])
    assert table.failures == [
        Failure("broken.jpg", "image file is truncated (12 bytes not processed)", bytes(range(100, 132))),
        Failure("gone.jpg", "No such file or directory", None),
    ]
    assert table.provenance == {
        "model": "resnet50.a1_in1k",
        "source": "/data/pets",
        "created": "2026-11-21T12:00:00+00:00",
        "versions": {"embedkit": "0.1.0", "timm": "1.0.31"},
        "drift": 0.9991,
    }
    assert table.spec.canonical == CANONICAL
    assert table.spec.fingerprint == hashlib.sha256(CANONICAL.encode()).hexdigest()


def test_class_info() -> None:
    found = info(GOLDEN / "feature-file-1.0-class.h5")
    assert (found.model, found.rows, found.width, found.dtype) == ("resnet50.a1_in1k", 5, 3, "float32")
    assert (found.format, found.classes, found.failures) == ("1.0", 3, 2)
    assert found.splits == {"": 1, "test": 1, "train": 2, "val": 1}


def test_class_without_embedkit() -> None:
    with h5py.File(GOLDEN / "feature-file-1.0-class.h5") as file:
        assert file["features"][1].tolist() == [-0.25, 0.0, 0.25]
        assert file["key"][1] == "cats/2 ä.jpg".encode()
        assert bytes(file["spec"][:]).decode() == CANONICAL
        assert file["columns/a%2Fb 100%25"][0] == b"x"


def test_value() -> None:
    table = golden("value")
    assert table.X.tolist() == [[-1.0, -0.75], [-0.5, -0.25], [0.0, 0.25]]
    assert table.spec.dtype == "float16"
    assert table.target_type == "value"
    np.testing.assert_array_equal(table.y, [1.5, np.nan, -2.25])
    assert (table.classes, table.split, table.groups, table.columns, table.failures, table.provenance) == (
        *([], None, None, {}, [], {}),
    )


def test_multilabel() -> None:
    table = golden("multilabel")
    assert table.target_type == "multilabel"
    assert table.classes == ["red", "green", "blue"]
    assert table.y is not None
    assert table.y.dtype == np.bool_
    assert table.y.tolist() == [[True, False, True], [False, False, False]]


def test_one_row() -> None:
    table = golden("one-row")
    assert (table.X.tolist(), table.keys, table.target_type, table.y) == ([[-1.0]], [""], "none", None)


def test_no_rows() -> None:
    table = golden("no-rows")
    assert table.X.shape == (0, 4)
    assert (len(table), table.keys, table.target_type, table.classes) == (0, [], "class", [])
    assert table.columns["site"].tolist() == []


@pytest.mark.parametrize("name", SHA256)
def test_the_same_content_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Tried with HDF5 1.14 and 2.0. Only another zlib may deflate text differently, so that is compared by content."""
    make_golden.tables()[name].write(tmp_path / name)
    written, kept = (tmp_path / name).read_bytes(), (GOLDEN / name).read_bytes()
    if written != kept:
        again, before = FeatureTable.open(tmp_path / name), FeatureTable.open(GOLDEN / name)
        np.testing.assert_array_equal(again.X, before.X)
        assert again.keys == before.keys
        assert again.spec == before.spec
