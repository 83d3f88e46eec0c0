"""Networks from outside timm: built by a function of the user's, frozen, and known by their tensors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from embedkit import FeatureRequest, ImageEmbedder, extract, load_model, save_model
from embedkit.backbones import load_backbone, own_names_in
from embedkit.errors import DeviceError, UnknownModelError, UntrustedModelError, UsageError, WeightsError
from tests.backbones import own_models

NAME = "python:tests.backbones.own_models.means"
FAST: dict[str, Any] = {"precision": "fp32", "engine": "torch", "device": "cpu"}
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)


def load(model: Any, **parts: Any) -> Any:
    return load_backbone(FeatureRequest(model, **{**FAST, **parts}))


def test_it_computes_what_the_network_computes() -> None:
    backbone = load(own_models.means)
    network, transform = own_models.means()
    mean, std = (torch.tensor(transform[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        expected = network.eval()((torch.from_numpy(PIXELS).float() / 255 - mean) / std).numpy()
    np.testing.assert_allclose(backbone(PIXELS), expected, atol=1e-5)
    assert backbone.spec.architecture == NAME
    assert (backbone.preprocess.input_size, backbone.preprocess.crop_pct) == ((32, 32), 1.0)
    assert not any(parameter.requires_grad for parameter in backbone.module.parameters())


def test_its_tensors_and_its_arguments_tell_it_from_others(tmp_path: Path) -> None:
    first, named = load(own_models.means), load(NAME)
    assert first.spec == named.spec
    assert load(NAME, model_args={"seed": 1}).spec.weights != first.spec.weights
    assert load(NAME, model_args={"width": 8}).spec.width == 8
    torch.save(own_models.means(seed=1)[0].state_dict(), tmp_path / "own.pth")
    assert load(NAME, weights=tmp_path / "own.pth").spec.weights == load(NAME, model_args={"seed": 1}).spec.weights
    with pytest.raises(WeightsError, match=r"do not fit python:tests.*turn.weight \(is"):
        load(NAME, weights=tmp_path / "own.pth", model_args={"width": 8})


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ("python:tests.backbones.own_models.nothing", UnknownModelError, "has no attribute 'nothing'"),
        ("python:no_such_module.f", UnknownModelError, "No module named .*PYTHONPATH"),
        ("python:", UnknownModelError, "expected python:package.module.function"),
        (own_models.without_transform, UsageError, "did not return a pair"),
        (own_models.half_a_transform, UsageError, "input_size, mean, std"),
        (own_models.odd_transform, UsageError, "has 'size', expected input_size"),
        (own_models.failing, WeightsError, "failed: OSError: no such disk"),
        (lambda: None, UsageError, "no other process can find"),
    ],
)
def test_what_is_no_backbone(model: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load(model)


def test_what_a_function_cannot_have() -> None:
    with pytest.raises(UsageError, match="could not be built with .*depth"):
        load(NAME, model_args={"depth": 3})
    with pytest.raises(UsageError, match="weights are 'random'"):
        load(NAME, weights="random")
    with pytest.raises((UsageError, DeviceError)):
        load(NAME, layer=1)


def test_features_are_found_again_and_new_tensors_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(1).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    first = extract(images, NAME, store=tmp_path, **FAST)
    again = extract(images, NAME, store=tmp_path, **FAST)
    assert (first.forward_passes, again.forward_passes, again.cache_hits) == (6, 0, 6)
    monkeypatch.setattr(own_models, "means", lambda: (own_models.Means(16), own_models.TRANSFORM))
    changed = extract(images, NAME, store=tmp_path, **FAST)
    assert changed.forward_passes == 6
    assert changed.fingerprint != first.fingerprint


def test_names_are_found_wherever_they_hide() -> None:
    class Holder:
        def __init__(self, value: Any) -> None:
            self.value = value

    one: Any = Holder([{"a": (NAME,)}, np.array([Holder(f"{NAME}2"), 3], dtype=object), {f"{NAME}3": 1}])
    one.itself = one
    assert own_names_in(one) == {NAME, f"{NAME}2", f"{NAME}3"}
    assert own_names_in([1, None, "pythons", np.zeros(3), ImageEmbedder]) == set()


def test_files_run_no_code_that_the_user_did_not_call_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDKIT_MODELS", raising=False)
    images = np.random.default_rng(2).integers(0, 256, (12, 40, 40, 3), dtype=np.uint8)
    embedder = ImageEmbedder(own_models.means, store=str(tmp_path / "store"), **FAST)
    pipeline = make_pipeline(embedder, LogisticRegression()).fit(images, np.arange(12) % 2)
    assert pickle.loads(pickle.dumps(pipeline))[0].model == NAME
    save_model(pipeline, tmp_path / "m.skops")
    with pytest.raises(UntrustedModelError, match=r"EMBEDKIT_MODELS=tests\.backbones\.own_models"):
        load_model(tmp_path / "m.skops")
    request = FeatureRequest(own_models.means, **FAST)
    with pytest.raises(UsageError, match="EMBEDKIT_MODELS"):
        FeatureRequest.from_dict(request.to_dict())
    monkeypatch.setenv("EMBEDKIT_MODELS", "elsewhere, tests.backbones")
    assert FeatureRequest.from_dict(request.to_dict()) == request
    predicted = load_model(tmp_path / "m.skops").pipeline.predict(images)
    np.testing.assert_array_equal(predicted, pipeline.predict(images))
