"""Requests are remembered, and forgotten when what they rest on changes."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
import timm
from safetensors.torch import save_file

from embedkit.backbones import FeatureRequest, PreprocessOverrides
from embedkit.backbones.devices import available_precisions
from embedkit.errors import UsageError
from embedkit.extraction import resolve, run
from embedkit.images import rows_of
from embedkit.specs import FeatureSpec, differences
from embedkit.store import FeatureStore
from tests.photos import MODEL, make_photo


def request_for(weights: object, **more) -> FeatureRequest:
    # What `auto` decides is tested with the backbones.
    return FeatureRequest(MODEL, weights=str(weights), precision="fp32", engine="torch", **more)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model(MODEL, pretrained=False).state_dict(), path)
    return path


def test_a_request_is_resolved_once(store, weights):
    first, backbone = resolve(request_for(weights), store)
    assert backbone is not None
    second, nothing = resolve(request_for(weights), store)
    assert nothing is None
    assert second == dataclasses.replace(first, choice=second.choice)
    assert second.choice == f"{first.choice} (as chosen for this store before)"


def test_other_weights_in_the_same_file_are_noticed(store, weights):
    first, _ = resolve(request_for(weights), store)
    save_file(timm.create_model(MODEL, pretrained=False).state_dict(), weights)
    second, backbone = resolve(request_for(weights), store)
    assert backbone is not None
    assert [name for name, *_ in differences(second.spec, first.spec)] == ["backbone.weights"]


def test_the_same_weights_written_again_are_recognised(store, weights):
    resolve(request_for(weights), store)
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content)
    assert resolve(request_for(weights), store)[1] is None


def test_a_relative_path_means_the_same_from_everywhere(store, weights, monkeypatch):
    monkeypatch.chdir(weights.parent)
    resolve(request_for(weights.name), store)
    assert resolve(request_for(weights), store)[1] is None
    monkeypatch.chdir(os.path.dirname(weights.parent))
    with pytest.raises(FileNotFoundError):
        resolve(request_for(weights.name), store)


def test_a_damaged_memo_costs_a_loading_and_no_more(store, weights):
    first, _ = resolve(request_for(weights), store)
    for path in store.memo_folder.glob("request-*.json"):
        path.write_text("{}")
    second, backbone = resolve(request_for(weights), store)
    assert backbone is not None
    assert second.spec == first.spec


def test_every_part_of_a_request_counts(store, weights):
    base = request_for(weights)
    seen = {resolve(base, store)[0].spec.fingerprint}
    changed = [
        request_for(weights, layer=1),
        request_for(weights, layer=1, pool="max"),
        request_for(weights, resize="exact"),
        request_for(weights, preprocess=PreprocessOverrides(input_size=(64, 64))),
        request_for(weights, preprocess=PreprocessOverrides(mean=(0.1, 0.2, 0.3))),
        dataclasses.replace(base, dtype="float16"),
        request_for("random"),
    ]
    for request in changed:
        seen.add(resolve(request, store)[0].spec.fingerprint)
    assert len(seen) == len(changed) + 1


def test_requests_and_specs_survive_json(store, weights):
    request = request_for(weights, layer=-1, preprocess=PreprocessOverrides(input_size=(64, 96), crop_pct=0.5))
    record = json.loads(json.dumps(request.to_dict()))
    assert FeatureRequest.from_dict(record) == request
    spec = resolve(request, store)[0].spec
    assert FeatureSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    with pytest.raises(UsageError, match="model"):
        FeatureRequest.from_dict({})
    with pytest.raises(UsageError, match="dtype"):
        FeatureRequest(MODEL, dtype="int8")


def test_auto_keeps_to_what_the_store_holds(store):
    photos = [make_photo(number) for number in range(8)]
    auto = FeatureRequest(MODEL, weights="random")
    named = dataclasses.replace(auto, precision="fp32", engine="torch")
    run(rows_of(photos), named, store)
    resolution, _ = resolve(auto, store, expected_images=32)
    assert resolution.choice == "torch in fp32: the store holds 8 images of it"
    assert resolution.spec == resolve(named, store)[0].spec
    assert run(rows_of(photos), auto, store).forward_passes == 0


def test_auto_does_not_keep_to_a_handful(store):
    auto = FeatureRequest(MODEL, weights="random")
    named = dataclasses.replace(auto, precision="fp32", engine="torch")
    run(rows_of([make_photo(0)]), named, store)
    assert "the store holds" not in resolve(auto, store, expected_images=10_000)[0].choice


def test_what_auto_settled_for_a_trial_does_not_bind_very_many_images(store):
    auto = FeatureRequest(MODEL, weights="random", engine="torch")
    assert "for 8 images nothing faster" in resolve(auto, store, expected_images=8)[0].choice
    run(rows_of([make_photo(number) for number in range(8)]), auto, store)
    # The same again, as after a kill, and not many more: as it was.
    for expected in (8, 32, None):
        resolution, backbone = resolve(auto, store, expected_images=expected)
        assert backbone is None
        assert resolution.choice.startswith("torch in fp32: for 8 images")
    tried = resolve(auto, store, expected_images=10_000)[0]
    assert "for 8 images" not in tried.choice
    # That holds from then on, before anything is in the store.
    for expected in (10_000, 40_000, 8):
        resolution, backbone = resolve(auto, store, expected_images=expected)
        assert backbone is None
        assert resolution.spec == tried.spec


@pytest.mark.skipif("bf16" not in available_precisions("cpu"), reason="this CPU has no bf16")
def test_auto_does_not_keep_to_a_precision_whose_drift_nobody_measured(store):
    auto = FeatureRequest(MODEL, weights="random")
    named = dataclasses.replace(auto, precision="bf16", engine="torch")
    run(rows_of([make_photo(number) for number in range(8)]), named, store)
    assert "the store holds" not in resolve(auto, store, expected_images=8)[0].choice
