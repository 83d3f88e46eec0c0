"""Layers and pools against what timm's own methods give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embedkit.backbones import Backbone, FeatureRequest, load_backbone, load_backbones, run_together
from embedkit.errors import UsageError
from tests.backbones.scenes import pictures, pixels_for, timm_model

TINY: dict[str, Any] = {"depth": 3, "embed_dim": 48, "num_heads": 3}
VIT = "vit_tiny_patch16_224"


def request(name: str, **fields: Any) -> FeatureRequest:
    return FeatureRequest(name, "random", precision="fp32", engine="torch", **fields)


def normalised(backbone: Backbone, pixels: NDArray[np.uint8]) -> torch.Tensor:
    return (torch.from_numpy(pixels).float() - backbone.module.shift) / backbone.module.scale


@pytest.fixture(scope="module")
def vit() -> Any:
    return timm_model(VIT, **TINY).eval()


@pytest.fixture(scope="module")
def vit_pixels() -> NDArray[np.uint8]:
    return pixels_for(load_backbone(request(VIT, model_args=TINY)), pictures(3))


@pytest.mark.parametrize("layer", [0, 2, -1, -3])
def test_layers_of_tokens(layer: int, vit: Any, vit_pixels: NDArray[np.uint8]) -> None:
    requests = [request(VIT, model_args=TINY, layer=layer, pool=p) for p in ("auto", "cls", "cls+avg", "max")]
    backbones = load_backbones(requests)
    with torch.inference_mode():
        images = normalised(backbones[0], vit_pixels)
        ((patches, prefix),) = vit.forward_intermediates(
            images, indices=[layer], return_prefix_tokens=True, norm=False, output_fmt="NLC", intermediates_only=True
        )
    mean, cls = patches.mean(1).numpy(), prefix[:, 0].numpy()
    auto, token, both, most = run_together(backbones, vit_pixels)
    assert backbones[0].spec.layer == layer % 3
    assert [backbone.spec.width for backbone in backbones] == [48, 48, 96, 48]
    for got, expected in ((auto, mean), (token, cls), (both, np.hstack([cls, mean])), (most, patches.amax(1).numpy())):
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_pools_of_the_last_tokens(vit: Any, vit_pixels: NDArray[np.uint8]) -> None:
    auto, avg, cls = load_backbones([request(VIT, model_args=TINY, pool=p) for p in ("auto", "avg", "cls")])
    with torch.inference_mode():
        images = normalised(auto, vit_pixels)
        tokens, own = vit.forward_features(images), vit(images)
    np.testing.assert_allclose(auto(vit_pixels), own.numpy(), atol=2e-5)
    np.testing.assert_allclose(cls(vit_pixels), tokens[:, 0].numpy(), atol=2e-5)
    np.testing.assert_allclose(avg(vit_pixels), tokens[:, 1:].mean(1).numpy(), atol=2e-5)


def test_register_tokens_are_no_patches() -> None:
    name, arguments = "vit_tiny_patch16_224", {**TINY, "reg_tokens": 4}
    avg, cls = load_backbones([request(name, model_args=arguments, pool=p) for p in ("avg", "cls")])
    pixels = pixels_for(avg, pictures(2))
    model = timm_model(name, **arguments).eval()
    with torch.inference_mode():
        tokens = model.forward_features(normalised(avg, pixels))
    np.testing.assert_allclose(avg(pixels), tokens[:, 5:].mean(1).numpy(), atol=2e-5)
    np.testing.assert_allclose(cls(pixels), tokens[:, 0].numpy(), atol=2e-5)


@pytest.mark.parametrize(("name", "nhwc"), [("resnet10t", False), ("swin_tiny_patch4_window7_224", True)])
def test_maps(name: str, nhwc: bool) -> None:
    arguments: dict[str, Any] = {"depths": [1, 1, 1, 1], "embed_dim": 24} if nhwc else {}
    requests = [
        request(name, model_args=arguments, **fields)
        for fields in ({}, {"pool": "avg"}, {"pool": "max"}, {"layer": 1}, {"layer": -1, "pool": "max"})
    ]
    backbones = load_backbones(requests)
    pixels = pixels_for(backbones[0], pictures(2))
    model = timm_model(name, **arguments).eval()
    with torch.inference_mode():
        images = normalised(backbones[0], pixels)
        last = model.forward_features(images)
        last = last.permute(0, 3, 1, 2) if nhwc else last
        maps = model.forward_intermediates(images, output_fmt="NCHW", norm=False, intermediates_only=True)
        expected = [model(images), last.mean((2, 3)), last.amax((2, 3)), maps[1].mean((2, 3)), maps[-1].amax((2, 3))]
    for got, wanted in zip(run_together(backbones, pixels), expected, strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-4, rtol=1e-4)


def test_several_layers_cost_one_pass(vit_pixels: NDArray[np.uint8]) -> None:
    backbones = load_backbones([request(VIT, model_args=TINY, layer=layer) for layer in (0, 1, 2)])
    calls: list[int] = []
    block = backbones[0].module.model.blocks[0]
    block.register_forward_hook(lambda *_: calls.append(1))
    together = run_together(backbones, vit_pixels)
    assert len(calls) == 1
    for backbone, features in zip(backbones, together, strict=True):
        np.testing.assert_array_equal(backbone(vit_pixels), features)
    alone = load_backbone(request(VIT, model_args=TINY, layer=1))
    np.testing.assert_array_equal(alone(vit_pixels), together[1])
    assert alone.spec == backbones[1].spec


def test_backbones_of_different_networks_do_not_load_together() -> None:
    with pytest.raises(UsageError, match="differ in layer and pool alone"):
        load_backbones([request("resnet10t"), request("resnet18")])
    with pytest.raises(UsageError, match="differ in layer and pool alone"):
        load_backbones([])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"layer": 3}, "expected -3 to 2"),
        ({"layer": -4}, "expected -3 to 2"),
    ],
)
def test_layers_that_are_not_there(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_backbone(request(VIT, model_args=TINY, **fields))


@pytest.mark.parametrize("fields", [{"pool": "cls"}, {"pool": "cls+avg", "layer": 1}])
def test_a_class_token_that_is_not_there(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no class token here: use avg, max or gem"):
        load_backbone(request("resnet10t", **fields))
    with pytest.raises(UsageError, match="no class token here"):
        load_backbone(request(VIT, model_args={**TINY, "class_token": False, "global_pool": "avg"}, **fields))


def test_a_model_that_leaves_pooling_to_its_classifier_is_pooled() -> None:
    backbone = load_backbone(request("resnet10t", model_args={"global_pool": ""}))
    pixels = pixels_for(backbone, pictures(2))
    pooled = load_backbone(request("resnet10t"))
    np.testing.assert_allclose(backbone(pixels), pooled(pixels), atol=1e-5)


def test_a_map_is_all_that_the_next_block_is_given(vit: Any, vit_pixels: NDArray[np.uint8]) -> None:
    backbone = load_backbone(request(VIT, model_args=TINY, layer=0, pool="map"))
    seen: list[torch.Tensor] = []
    hook = vit.blocks[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        vit(normalised(backbone, vit_pixels))
    hook.remove()
    np.testing.assert_allclose(backbone(vit_pixels), seen[0].flatten(1).numpy(), atol=2e-5)
    with pytest.raises(UsageError, match="pool is 'map', which keeps the map of a layer: name a layer"):
        load_backbone(request(VIT, model_args=TINY, pool="map"))
