"""Floors beside real features: there once and for ever, or a reason why not."""

from __future__ import annotations

import pytest

from embedkit import FeatureRequest, FeatureTable, extract, probe
from embedkit.extraction import runner
from embedkit.workflows.targets import open_store, open_target, tables_of
from tests.photos import MODEL, make_manifest, make_photo

FAST = {"precision": "fp32", "engine": "torch"}


@pytest.fixture
def manifest(tmp_path):
    return make_manifest(tmp_path / "photos", {"red": 5, "green": 5}, test=2)


@pytest.fixture
def weights(tmp_path):
    """A file of weights that are no random ones of embedkit's."""
    import timm
    import torch

    torch.manual_seed(5)
    path = tmp_path / "trained.pth"
    torch.save(timm.create_model(MODEL, num_classes=3).state_dict(), path)
    return str(path)


def test_floors_come_with_the_models_in_one_pass(manifest, weights, tmp_path, monkeypatch):
    passes = []
    run_many = runner._Pass.execute
    monkeypatch.setattr(runner._Pass, "execute", lambda self, *rest: (passes.append(1), run_many(self, *rest))[1])
    store = open_store(tmp_path / "store")
    models = [FeatureRequest(MODEL, weights=weights, **FAST), FeatureRequest(MODEL, weights=weights, layer=1, **FAST)]
    target = tables_of(open_target(manifest), models, store, floors=True)
    names = [(named.name, named.floor) for named in target.named]
    assert names == [
        (MODEL, False),
        (f"{MODEL} layer 1", False),
        ("pixels32", True),
        ("colour-histogram", True),
        (f"{MODEL} random weights", True),
        (f"{MODEL} layer 1 random weights", True),
    ]
    assert len(passes) == 1
    assert target.unavailable == []
    for named in target.named:
        assert named.table.keys == target.named[0].table.keys
        assert (named.table.digests == target.named[0].table.digests).all()
        assert named.pace is not None
    random = {named.name: named.table.spec for named in target.named}[f"{MODEL} random weights"]
    trained = target.named[0].table.spec
    assert random.backbone.weights != trained.backbone.weights
    assert random.preprocess == trained.preprocess
    warm = tables_of(open_target(manifest), models, store, floors=True)
    assert all(named.pace is None for named in warm.named)  # nothing was computed again


def test_random_weights_are_their_own_floor(manifest, tmp_path):
    models = [FeatureRequest(MODEL, weights="random", **FAST)]
    target = tables_of(open_target(manifest), models, open_store(tmp_path / "store"), floors=True)
    assert [named.name for named in target.named] == [MODEL, "pixels32", "colour-histogram"]


def test_pseudo_backbones_have_no_floors(manifest, tmp_path):
    models = [FeatureRequest("pixels32")]
    target = tables_of(open_target(manifest), models, open_store(tmp_path / "store"), floors=True)
    assert [(named.name, named.floor) for named in target.named] == [("pixels32", True)]


def test_the_floors_of_a_feature_file(manifest, weights, tmp_path):
    store = tmp_path / "store"
    extract(manifest, MODEL, weights=weights, store=store, output=tmp_path / "photos.h5", **FAST)
    report = probe(tmp_path / "photos.h5", estimator="logistic", store=store)
    floors = {result.model for result in report.results if result.floor}
    assert floors == {"pixels32", "colour-histogram", f"{MODEL} random weights"}
    assert report.unavailable == []


def test_images_that_changed_have_no_floors(manifest, weights, tmp_path):
    store = tmp_path / "store"
    extract(manifest, MODEL, weights=weights, store=store, output=tmp_path / "photos.h5", **FAST)
    make_photo(99).save(manifest.parent / "red" / "000.png")
    report = probe(tmp_path / "photos.h5", estimator="logistic", store=store)
    assert not any(result.floor for result in report.results)
    reasons = {one.model: one.reason for one in report.unavailable}
    assert set(reasons) == {"pixels32", "colour-histogram", f"{MODEL} random weights"}
    assert all(reason == "1 of 10 images have changed since, are gone, or failed" for reason in reasons.values())
    assert [floor["model"] for floor in report.to_dict()["unavailable"]] == list(reasons)


def test_a_source_that_is_gone_has_no_floors(manifest, tmp_path):
    store = tmp_path / "store"
    extract(manifest, MODEL, weights="random", store=store, output=tmp_path / "photos.h5", **FAST)
    manifest.unlink()
    report = probe(tmp_path / "photos.h5", estimator="logistic", store=store)
    assert [one.model for one in report.unavailable] == ["pixels32", "colour-histogram", f"{MODEL} random weights"]
    assert all("the images it was made from cannot be had" in one.reason for one in report.unavailable)
    assert not any(result.floor for result in report.results)


def test_a_file_that_does_not_say_its_request_has_no_random_floor(manifest, weights, tmp_path):
    store = tmp_path / "store"
    extract(manifest, MODEL, weights=weights, store=store, output=tmp_path / "photos.h5", **FAST)
    table = FeatureTable.open(tmp_path / "photos.h5")
    del table.metadata.provenance["request"]
    table.write(tmp_path / "foreign.h5")
    report = probe(tmp_path / "foreign.h5", estimator="logistic", store=store)
    assert {result.model for result in report.results if result.floor} == {"pixels32", "colour-histogram"}
    [(name, reason, _)] = report.unavailable
    assert name == f"{MODEL} random weights"
    assert reason == "the feature file does not record the request it answers: extract again"
