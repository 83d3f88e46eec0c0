"""From a target to images, tables and embedders."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit import FeatureRequest, FeatureTable, ImageEmbedder, compare, curve, extract, fit, plan_extraction, probe
from embedkit.errors import SourceError, SpecMismatchError, UsageError
from embedkit.workflows.targets import images_of, open_store, open_target, tables_of, with_floors
from tests.photos import MODEL, make_manifest, make_photo

FAST = {"precision": "fp32", "engine": "torch"}
REQUEST = FeatureRequest(MODEL, weights="random", **FAST)


@pytest.fixture
def manifest(tmp_path):
    return make_manifest(tmp_path / "photos", {"red": 5, "green": 5}, test=2)


@pytest.fixture
def table(manifest, tmp_path):
    extract(manifest, REQUEST, store=tmp_path / "store", output=tmp_path / "photos.h5")
    return tmp_path / "photos.h5"


def test_a_target_says_what_it_is_before_anything_is_computed(manifest, table, tmp_path):
    for target in (manifest, table):
        opened = open_target(target)
        assert opened.target_type == "class"
    assert open_target(manifest, label_column="split").target_type == "class"
    with pytest.raises(UsageError, match="is a feature file and has its model already"):
        tables_of(open_target(table), [REQUEST], open_store(tmp_path / "store"))


def test_a_source_without_a_model_has_the_bundled_backbone(manifest, tmp_path):
    [named] = tables_of(open_target(manifest), [], open_store(tmp_path / "store")).named
    assert named.table.provenance["request"]["weights"] == "bundled"
    assert extract(manifest, store=tmp_path / "store").fingerprint == named.table.spec.fingerprint


def test_an_opened_table_stands_for_its_file(table):
    opened = FeatureTable.open(table)
    of_file, of_table = probe(table, estimator="knn", floors=False), probe(opened, estimator="knn", floors=False)
    assert of_table.results[0].value == of_file.results[0].value
    assert of_table.origin.fingerprints == of_file.origin.fingerprints
    assert of_table.origin.request["target"] == "<FeatureTable>"
    with pytest.raises(UsageError, match=r"FeatureTable.open\(path, label_column="):
        probe(opened, label_column="split")


def test_the_images_of_a_feature_file(manifest, table, tmp_path):
    store = open_store(tmp_path / "store")
    part = FeatureTable.open(table)[[7, 0, 3]]
    part.write(tmp_path / "part.h5")
    images = images_of(open_target(tmp_path / "part.h5"), store)
    assert images.keys == part.keys
    assert images.labels == part.y.tolist()
    again = ImageEmbedder.from_spec(part.spec, part.provenance["request"], store=tmp_path / "other")
    np.testing.assert_array_equal(again.transform(list(images.images)), part.X)
    assert images_of(open_target(manifest), store).keys == FeatureTable.open(table).keys
    # Names do not matter, bytes do.
    first = manifest.parent / part.keys[0]
    first.write_bytes(first.read_bytes() + b" ")
    with pytest.raises(SourceError, match="1 of 3 images have changed since"):
        images_of(open_target(tmp_path / "part.h5"), store)


def test_floors_come_to_a_table_that_is_there(table, tmp_path):
    store = open_store(tmp_path / "store")
    alone = tables_of(open_target(table), [], store)
    assert [one.name for one in with_floors(alone, store).named] == [MODEL, "pixels32", "colour-histogram"]


def test_the_embedder_of_a_table_makes_its_features(table, tmp_path):
    opened = FeatureTable.open(table)
    embedder = opened.embedder(store=tmp_path / "other", root=tmp_path / "photos", batch_size=4)
    assert embedder.spec_ == opened.spec
    assert (embedder.precision, embedder.engine, embedder.batch_size) == ("fp32", "torch", 4)
    np.testing.assert_allclose(embedder.transform(opened.keys), opened.X, rtol=1e-4, atol=1e-5)
    known = opened.embedder(store=tmp_path / "store", input="key")
    np.testing.assert_array_equal(known.transform(opened.digests), opened.X)


def test_an_embedder_from_a_spec_alone_needs_its_weights(table, tmp_path):
    opened = FeatureTable.open(table)
    embedder = ImageEmbedder.from_spec(
        opened.spec, weights="random", store=tmp_path / "other", root=tmp_path / "photos"
    )
    np.testing.assert_allclose(embedder.transform(opened.keys), opened.X, rtol=1e-4, atol=1e-5)
    del opened.metadata.provenance["request"]
    with pytest.raises(UsageError, match="does not record the request"):
        opened.embedder()
    other = ImageEmbedder.from_spec(opened.spec, FeatureRequest("lcnet_050", "random"), store=tmp_path / "other")
    with pytest.raises(SpecMismatchError, match=r"backbone\.architecture"):
        other.transform([make_photo(0)])


def test_blocks_are_the_features_of_their_layers_side_by_side(manifest, tmp_path):
    store, asked = tmp_path / "store", [(1, "avg"), (-1, "max"), (None, "auto")]
    request = FeatureRequest(MODEL, "random", layer=[1, -1, None], pool=["avg", "max", "auto"], **FAST)
    result = extract(manifest, request, store=store, output=tmp_path / "blocks.h5", batch_size=4)
    assert result.forward_passes == 10
    table = FeatureTable.open(tmp_path / "blocks.h5")
    parts = []
    for number, (layer, pool) in enumerate(asked):
        extract(
            manifest,
            MODEL,
            weights="random",
            layer=layer,
            pool=pool,
            store=store,
            output=tmp_path / f"{number}.h5",
            batch_size=4,
            **FAST,
        )
        parts.append(FeatureTable.open(tmp_path / f"{number}.h5"))
    assert table.spec.backbone.blocks == tuple(part.shape[1] for part in parts)
    assert table.spec.backbone.layer == tuple(part.spec.backbone.layer for part in parts)
    np.testing.assert_allclose(table.X, np.hstack([part.X for part in parts]), rtol=1e-5, atol=1e-6)
    embedder = table.embedder(store=store, root=manifest.parent)
    np.testing.assert_array_equal(embedder.transform(table.keys), table.X)
    layers = ImageEmbedder(MODEL, weights="random", layer=[1, -1], pool="avg", store=store, **FAST)
    assert layers.fit_transform([make_photo(3)]).shape == (1, sum(layers.spec_.backbone.blocks))


def test_a_layer_named_twice_is_refused(manifest, tmp_path):
    last = FeatureRequest(MODEL, "random", layer=[-1, 4], **FAST)
    with pytest.raises(UsageError, match="names a layer twice"):
        extract(manifest, last, store=tmp_path / "store")


def test_everything_takes_a_request(manifest, tmp_path):
    given = {"input_size": (48, 48)}
    request = FeatureRequest(MODEL, "random", preprocess=given, **FAST)
    store = tmp_path / "store"
    first = extract(manifest, request, store=store)
    named = extract(manifest, MODEL, weights="random", preprocess=given, store=store, **FAST)
    assert (named.fingerprint, named.forward_passes) == (first.fingerprint, 0)
    plan = plan_extraction(manifest, request, tmp_path / "P.json", store=store)
    assert plan.fingerprint == first.fingerprint
    options = {"store": store, "floors": False, "folds": 2}
    assert probe(manifest, request, estimator="ridge", **options).results[0].model == MODEL
    assert curve(manifest, request, shots=[1, 2], seeds=2, **options).curves[0].model == MODEL
    assert compare(manifest, request, **options).leaderboards[0].rows[0].model == MODEL
    fitted = fit(manifest, request, estimator="ridge", output=tmp_path / "m.skops", store=store)
    assert fitted.pipeline[0].spec_.fingerprint == first.fingerprint
    with pytest.raises(UsageError, match="layer was given beside a FeatureRequest"):
        extract(manifest, request, layer=3, store=store)
