"""Several requests in one pass: what is shared, and that sharing changes no feature."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from embedkit.backbones import FeatureRequest, PreprocessOverrides
from embedkit.errors import UsageError
from embedkit.extraction import pipeline, run, run_many
from embedkit.images import open_source
from embedkit.store import FeatureStore
from tests.photos import MODEL, make_folder, make_photo
from tests.stores import new_store


def ask(model: str = MODEL, **options) -> FeatureRequest:
    if model not in ("pixels32", "colour-histogram"):
        options = {"weights": "random", "precision": "fp32", "engine": "torch", **options}
    return FeatureRequest(model, **options)


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "photos", {"red": 5, "green": 6}, suffix=".jpg")


@pytest.fixture
def decoded(monkeypatch):
    """Count the calls of the decoder."""
    calls: list[int] = []
    lock = threading.Lock()
    decode = pipeline.decode

    def counting(data, spec, target=None):
        with lock:
            calls.append(len(data))
        return decode(data, spec, target=target)

    monkeypatch.setattr(pipeline, "decode", counting)
    return calls


@pytest.fixture
def passes():
    """Count the images that go through a network, those of one colour left out (loading tries the network on them)."""
    from embedkit.backbones.features import FrozenFeatures

    seen: list[int] = []
    lock = threading.Lock()

    def hook(module, inputs, output):
        if isinstance(module, FrozenFeatures):
            with lock:
                seen.append(int((inputs[0].flatten(1).float().std(1) > 0).sum()))

    handle = torch.nn.modules.module.register_module_forward_hook(hook)
    yield seen
    handle.remove()


def features_of(extraction) -> np.ndarray:
    return extraction.features.get(extraction.digests[extraction.rows])


def test_images_are_read_and_decoded_once_for_all_networks(folder, decoded, monkeypatch):
    read: list[object] = []
    reading = pipeline.read_with_status
    monkeypatch.setattr(pipeline, "read_with_status", lambda ref: (read.append(ref), reading(ref))[1])
    requests = [ask(), ask("test_vit"), ask("test_convnext"), ask("test_vit", layer=0)]
    extractions = run_many(open_source(folder), requests, new_store())
    assert (len(read), len(decoded)) == (11, 11)
    assert [extraction.forward_passes for extraction in extractions] == [11] * 4


def test_one_by_one_they_would_be_decoded_for_each(folder, decoded):
    """So that the test above could fail."""
    store = new_store()
    for request in (ask(), ask("test_vit")):
        run(open_source(folder), request, store)
    assert len(decoded) == 22


def test_networks_that_want_another_scale_decode_for_themselves(tmp_path, decoded):
    """A large JPEG for a small input is decoded at a reduced scale; sharing that would change the other's features."""
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        make_photo(seed, size=(1500, 1200)).save(tmp_path / "photos" / f"{seed}.jpg")
    large = ask("test_vit", preprocess=PreprocessOverrides(input_size=(480, 480)))
    together = run_many(open_source(tmp_path / "photos"), [ask(), large], new_store(), batch_size=4)
    assert len(decoded) == 6
    alone = [run(open_source(tmp_path / "photos"), request, new_store(), batch_size=4) for request in (ask(), large)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(features_of(one), features_of(other))


def test_features_are_those_of_single_runs(folder):
    requests = [ask(), ask("test_vit"), ask(layer=0), ask(layer=-1, pool="max"), ask("pixels32")]
    together = run_many(open_source(folder), requests, new_store(), batch_size=4)
    for request, extraction in zip(requests, together, strict=True):
        alone = run(open_source(folder), request, new_store(), batch_size=4)
        assert extraction.resolution.spec == alone.resolution.spec
        np.testing.assert_array_equal(extraction.digests, alone.digests)
        np.testing.assert_array_equal(features_of(extraction), features_of(alone))
        assert extraction.pace is not None
        assert extraction.pace > 0


def test_layers_of_one_network_share_its_passes(folder, passes, tmp_path):
    store = FeatureStore(tmp_path / "store")
    requests = [ask(layer=0), ask(layer=1), ask(layer=-1)]
    run_many(open_source(folder), requests, store, batch_size=1)
    assert sum(passes) == 11
    passes.clear()
    # What is remembered of two layers holds for a third: one network, one pass, and only what is missing is added.
    extractions = run_many(open_source(folder), [*requests, ask(layer=2)], store, batch_size=1)
    assert [extraction.forward_passes for extraction in extractions] == [0, 0, 0, 11]
    assert sum(passes) == 11


def test_only_what_is_missing_is_computed(folder, decoded, tmp_path):
    store = FeatureStore(tmp_path / "store")
    run(open_source(folder), ask(), store)
    decoded.clear()
    first, second = run_many(open_source(folder), [ask(), ask("test_vit")], store)
    assert (first.cache_hits, first.forward_passes, first.backbone) == (11, 0, None)
    assert (second.cache_hits, second.forward_passes) == (0, 11)
    assert len(decoded) == 11
    decoded.clear()
    again = run_many(open_source(folder), [ask(), ask("test_vit")], store)
    assert [extraction.cache_hits for extraction in again] == [11, 11]
    assert decoded == []


def test_requests_that_mean_the_same_features_are_computed_once(folder, passes):
    layers = run_many(open_source(folder), [ask(layer=-1), ask(layer=4)], new_store(), batch_size=1)
    assert layers[0].resolution.spec == layers[1].resolution.spec
    assert sum(passes) == 11
    assert [extraction.forward_passes for extraction in layers] == [11, 11]


def test_what_fails_fails_for_all(folder):
    (folder / "red" / "001.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    (folder / "red" / "002.jpg").unlink()
    source = open_source(folder)
    (folder / "red" / "003.jpg").unlink()
    extractions = run_many(source, [ask(), ask("test_vit"), ask("pixels32")], new_store())
    assert [sorted(extraction.failures) for extraction in extractions] == [sorted(extractions[0].failures)] * 3
    assert {source.keys[row] for row in extractions[0].failures} == {"red/001.jpg", "red/003.jpg"}


def test_progress_counts_each_kind_of_features(folder):
    ticks = []
    run_many(open_source(folder), [ask(), ask("pixels32")], new_store(), progress=ticks.append)
    assert {tick.total for tick in ticks} == {22}
    assert ticks[-1].done == 22


def test_another_process_that_computes_one_of_them_is_waited_for(folder, tmp_path):
    store = FeatureStore(tmp_path / "store")
    source = open_source(folder)
    reference = run(source, ask(), new_store())
    with store.features(reference.resolution.spec).writer() as other:
        mine = reference.digests[5:]
        assert other.claim(mine).all()
        done: list = []
        thread = threading.Thread(target=lambda: done.append(run_many(source, [ask(), ask("test_vit")], store)))
        thread.start()
        thread.join(timeout=4)
        assert not done
        other.add(mine, features_of(reference)[5:])
        other.commit()
        thread.join(timeout=30)
    [[first, second]] = done
    assert (first.forward_passes, second.forward_passes) == (5, 11)
    assert len(first.rows) == len(second.rows) == 11


def test_no_request_is_an_error(folder):
    with pytest.raises(UsageError, match="at least one request"):
        run_many(open_source(folder), [], new_store())
