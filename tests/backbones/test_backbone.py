"""What a backbone promises, whatever it is: rows of their own, frozen, one pass a batch."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from embedkit.backbones import Backbone, FeatureRequest, PreprocessOverrides, load_backbone
from embedkit.backbones.drift import drift_images
from embedkit.errors import DeviceError, UsageError
from embedkit.specs import DecodeSpec, FeatureSpec
from tests.backbones.scenes import pictures, pixels_for

NAMES = ["resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv2_100"]
SMALL: dict[str, Any] = {"preprocess": PreprocessOverrides(input_size=(96, 96))}


def fp32(name: str, batch_size: int | None = None, **fields: Any) -> Backbone:
    return load_backbone(
        FeatureRequest(name, "random", precision="fp32", engine="torch", **fields), batch_size=batch_size
    )


@pytest.mark.parametrize("name", NAMES)
def test_features_of_an_image_do_not_depend_on_its_batch(name: str) -> None:
    """Bit by bit with a fixed batch shape, whatever the order, the company and the place; else to 1e-5."""
    pixels = drift_images(96, 96)[:13]
    backbone = fp32(name, 4, **SMALL)
    expected = backbone(pixels)
    order = np.random.default_rng(0).permutation(13)
    np.testing.assert_array_equal(backbone(pixels[order]), expected[order])
    for row in (0, 5, 12):
        np.testing.assert_array_equal(backbone(pixels[row : row + 1])[0], expected[row])
    again = fp32(name, 4, **SMALL)
    np.testing.assert_array_equal(again(pixels[::-1]), expected[::-1])
    free = fp32(name, **SMALL)
    for count in (1, 2, 3, 8, 13):
        np.testing.assert_allclose(free(pixels[:count]), expected[:count], atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NAMES)
def test_the_backbone_is_frozen(name: str) -> None:
    backbone = fp32(name, **SMALL)
    module = backbone.module
    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    state = {key: value.clone() for key, value in module.state_dict().items()}
    backbone(drift_images(96, 96)[:4])
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert module(torch.zeros(1, 3, 96, 96, dtype=torch.uint8)).requires_grad is False


def test_images_are_counted_by_a_hook_on_the_module() -> None:
    backbone = fp32("resnet10t", 4, **SMALL)
    sizes: list[int] = []
    backbone.module.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    backbone(drift_images(96, 96)[:10])
    assert sizes == [4, 4, 4]


def test_threads_get_what_one_thread_gets() -> None:
    backbone = fp32("resnet10t", 4, **SMALL)
    pixels = drift_images(96, 96)
    expected = backbone(pixels)
    with ThreadPoolExecutor(3) as executor:
        parts = list(executor.map(lambda start: backbone(pixels[start : start + 4]), range(0, 32, 4)))
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_any_memory_layout_is_read() -> None:
    backbone = fp32("resnet10t", 4, **SMALL)
    pixels = np.ascontiguousarray(drift_images(96, 96)[:4])
    expected = backbone(pixels)
    channels_last = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    read_only = pixels.copy()
    read_only.flags.writeable = False
    for same in (channels_last, read_only, pixels[:, ::-1].copy()[:, ::-1], np.repeat(pixels, 2, axis=0)[::2]):
        np.testing.assert_array_equal(backbone(same), expected)


def test_no_images_give_no_rows() -> None:
    assert fp32("resnet10t", **SMALL)(np.zeros((0, 3, 96, 96), np.uint8)).shape == (0, 512)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 3, 95, 96), np.uint8),
        np.zeros((2, 96, 96, 3), np.uint8),
        np.zeros((3, 96, 96), np.uint8),
        np.zeros((2, 3, 96, 96), np.float32),
    ],
)
def test_pixels_of_another_shape_or_type(pixels: Any) -> None:
    with pytest.raises(UsageError, match=r"expected uint8 \(n, 3, 96, 96\)"):
        fp32("resnet10t", **SMALL)(pixels)


def test_rows_that_are_not_finite_are_returned() -> None:
    backbone = fp32("resnet10t", **SMALL)
    backbone.module.register_forward_hook(lambda _module, _inputs, output: output.masked_fill(output > 0, float("nan")))
    assert np.isnan(backbone(drift_images(96, 96)[:2])).any(axis=1).all()


def test_the_spec_names_what_decides_the_features() -> None:
    backbone = fp32("resnet10t", **SMALL)
    spec = backbone.spec
    assert (spec.architecture, spec.width, spec.model_args, spec.layer, spec.pool) == (
        "resnet10t",
        512,
        {},
        None,
        "auto",
    )
    assert (spec.precision, spec.engine, backbone.device, backbone.drift) == ("fp32", "torch", "cpu", None)
    assert backbone.preprocess.input_size == (96, 96)
    assert {"model", "weights", "torch", "timm"} <= set(backbone.provenance)
    assert "as asked for" in backbone.choice


def fingerprint(backbone: Backbone) -> str:
    return FeatureSpec(backbone=backbone.spec, preprocess=backbone.preprocess, decode=DecodeSpec()).fingerprint


def test_two_names_of_the_same_thing_have_one_fingerprint() -> None:
    same = fp32("resnet18", preprocess=PreprocessOverrides(crop_pct=0.95, interpolation="bicubic"))
    assert fingerprint(fp32("resnet18.a1_in1k")) == fingerprint(fp32("resnet18")) == fingerprint(same)
    default = fp32("vit_tiny_patch16_224", layer=-1)
    sized = fp32("vit_tiny_patch16_224", layer=11, preprocess=PreprocessOverrides(input_size=(224, 224)))
    assert fingerprint(default) == fingerprint(sized)


def test_whatever_changes_a_feature_changes_the_fingerprint() -> None:
    made = [
        fp32("resnet10t"),
        fp32("resnet10t", layer=4),
        fp32("resnet10t", layer=4, pool="max"),
        fp32("resnet10t", pool="gem"),
        fp32("resnet10t", model_args={"output_stride": 16}),
        fp32("resnet10t", resize="exact"),
        fp32("resnet10t", **SMALL),
        *(
            fp32("resnet10t", preprocess=PreprocessOverrides(**{name: value}))
            for name, value in (
                ("mean", (0.5, 0.5, 0.5)),
                ("std", (0.5, 0.5, 0.5)),
                ("interpolation", "bilinear"),
                ("crop_pct", 1.0),
                ("crop_mode", "squash"),
            )
        ),
        load_backbone(FeatureRequest("resnet10t", "random", precision="bf16", engine="torch")),
    ]
    assert len({fingerprint(backbone) for backbone in made}) == len(made)


def test_an_interpolation_that_torch_lacks_is_resized_exactly() -> None:
    backbone = fp32("resnet10t", preprocess=PreprocessOverrides(interpolation="lanczos"))
    assert backbone.preprocess.resize == "exact"
    assert backbone(pixels_for(backbone, pictures(1))).shape == (1, 512)


def test_a_model_of_which_timm_has_no_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    from embedkit.backbones import build

    known = dataclasses.replace(build.resolve_model("resnet10t"), config={})
    monkeypatch.setattr(build, "resolve_model", lambda _name: known)
    with pytest.raises(UsageError, match="give at least input_size"):
        fp32("resnet10t")
    assert fp32("resnet10t", **SMALL).preprocess.input_size == (96, 96)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_args": {"no_such_argument": 1}}, "could not create resnet10t with .*no_such_argument"),
        ({"preprocess": PreprocessOverrides(interpolation="fractal")}, None),
    ],
)
def test_arguments_that_the_model_refuses(fields: dict[str, Any], words: str | None) -> None:
    if words is None:
        backbone = fp32("resnet10t", **fields)  # which filter there is, the preprocess room knows
        assert backbone.preprocess.resize == "exact"
        return
    with pytest.raises(UsageError, match=words):
        fp32("resnet10t", **fields)


def test_a_size_that_the_model_cannot_take() -> None:
    with pytest.raises(UsageError, match=r"does not take images of 10 x 10 pixels|could not create"):
        fp32("vit_tiny_patch16_224", preprocess=PreprocessOverrides(input_size=(10, 10)))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"device": "tpu"}, "device 'tpu' is not available, there is cpu"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not available, there is cpu"),
        ({"device": "cpu", "precision": "fp16"}, "precision 'fp16' is not available on cpu, .* fp32, bf16: name one"),
    ],
)
def test_a_device_or_precision_that_was_named_and_is_not_there(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        load_backbone(FeatureRequest("resnet10t", "random", **fields))


def test_a_batch_of_nothing() -> None:
    with pytest.raises(UsageError, match="batch_size is 0"):
        fp32("resnet10t", 0)
