"""Several kinds of features from one pass, each in a file of its own."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit import FeatureRequest, FeatureTable, extract, extract_several
from embedkit.errors import OutputExistsError, UsageError
from embedkit.extraction import pipeline
from tests.photos import MODEL, make_manifest

FAST = {"weights": "random", "precision": "fp32", "engine": "torch"}


@pytest.fixture
def manifest(tmp_path):
    return make_manifest(tmp_path / "photos", {"red": 4, "green": 4}, test=1)


def ask(model: str = MODEL, **options) -> FeatureRequest:
    return FeatureRequest(model, **{**FAST, **options})


def test_one_file_each_from_one_reading(manifest, tmp_path, monkeypatch):
    read = []
    for name in ("read_with_status", "read_bytes"):  # the first time, and again where bytes were not carried
        reading = getattr(pipeline, name)
        monkeypatch.setattr(pipeline, name, lambda ref, reading=reading: (read.append(ref), reading(ref))[1])
    models = [ask(layer=0), ask(layer=-1), ask("test_vit", pool="avg"), ask("test_vit")]
    results = extract_several(manifest, models, store=tmp_path / "store", output=tmp_path / "out", batch_size=4)
    assert len(read) == 8
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "test_resnet-layer--1.h5",
        "test_resnet-layer-0.h5",
        "test_vit-avg.h5",
        "test_vit.h5",
    ]
    assert [result.forward_passes for result in results] == [8, 8, 8, 8]
    for model, result in zip(models, results, strict=True):
        alone = extract(
            manifest,
            model.model,
            layer=model.layer,
            pool=model.pool,
            store=tmp_path / "other",
            output=tmp_path / "alone.h5",
            batch_size=4,
            force=True,
            **FAST,
        )
        assert alone.fingerprint == result.fingerprint
        table, expected = FeatureTable.open(result.output), FeatureTable.open(tmp_path / "alone.h5")
        np.testing.assert_array_equal(table.X, expected.X)
        assert table.keys == expected.keys
        assert table.y.tolist() == expected.y.tolist()


def test_outputs_that_may_not_be_replaced_are_refused_before_any_work(manifest, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "test_vit.h5").write_bytes(b"something else")
    with pytest.raises(OutputExistsError):
        extract_several(manifest, [ask(), ask("test_vit")], store=tmp_path / "store", output=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["test_vit.h5"]


@pytest.mark.parametrize(
    ("models", "output", "message"),
    [
        ([ask(), ask("test_vit")], "photos.h5", "names one file"),
        ([ask(), ask("test_vit")], "nowhere/out", "does not exist"),
        ([ask(), ask()], "out", "ask for each once"),
        ([], "out", "at least one request"),
    ],
)
def test_what_cannot_be_honoured_is_refused(manifest, tmp_path, models, output, message):
    with pytest.raises(UsageError, match=message):
        extract_several(manifest, models, store=tmp_path / "store", output=tmp_path / output)
