"""A store of format 1, as the first version of embedkit wrote it: every later version reads it. Never written again."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from embedkit.specs import FeatureSpec
from embedkit.store.feature_store import FeatureStore

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "store-1"
WIDE = "d2f9b536490394acf1123240f227eb81bbee659b6cf4a276aff74f9ec5cad10e"
DEEP = "1e9ece6c8039bb975c3a79f684c5ad0f6da855a552d39557285cf79c1e48ba7e"


def digests() -> npt.NDArray[np.uint8]:
    names = (hashlib.sha256(f"image {number}".encode()).digest() for number in range(7))
    return np.frombuffer(b"".join(names), np.uint8).reshape(-1, 32)


def features(spec: FeatureSpec) -> npt.NDArray[np.floating]:
    rows = np.arange(7 * spec.backbone.width).reshape(7, -1) / 8 - 1
    rows[0, 0], rows[6, 0] = np.inf, -0.0
    return rows.astype(spec.dtype)


@pytest.fixture
def golden(tmp_path: Path) -> FeatureStore:
    shutil.copytree(GOLDEN, tmp_path / "store")
    return FeatureStore(tmp_path / "store", create=False)


def test_rows_of_format_1_are_read_bit_by_bit(golden: FeatureStore) -> None:
    assert golden.fingerprints() == [DEEP, WIDE]
    wide, deep = golden.spec(WIDE), golden.spec(DEEP)
    assert (wide.fingerprint, wide.dtype, wide.backbone.width, wide.backbone.layer) == (WIDE, "float32", 5, None)
    assert (deep.fingerprint, deep.dtype, deep.backbone.width, deep.backbone.layer) == (DEEP, "float16", 3, -2)
    assert deep.backbone.model_args == {"img_size": 64}
    for spec in (wide, deep):
        assert golden.features(spec).get(digests()).tobytes() == features(spec).tobytes()


def test_reasons_of_format_1_are_read(golden: FeatureStore) -> None:
    asked = np.frombuffer(bytes(range(32)), np.uint8).reshape(1, 32)
    wide, deep = (golden.features(golden.spec(name)) for name in (WIDE, DEEP))
    assert wide.undecodable(asked) == {bytes(range(32)): "cannot identify image file: \u2603"}
    assert deep.undecodable(asked) == {}


def test_a_store_of_format_1_is_whole_and_can_be_maintained(golden: FeatureStore) -> None:
    report = golden.verify()
    assert (report.parts, report.rows, report.damaged) == (4, 16, ())
    assert [info.duplicates for info in golden.info().fingerprints] == [1, 1]
    assert golden.pack().parts_after == 2
    for spec in map(golden.spec, golden.fingerprints()):
        assert golden.features(spec).get(digests()).tobytes() == features(spec).tobytes()
