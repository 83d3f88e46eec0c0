from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from embedkit.backbones import BackboneRequest, PreprocessOverrides
from embedkit.errors import UsageError
from embedkit.specs import canonical_json


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": "random"}, "no model was given for the weights 'random': name it"),
        ({"model": "bundled", "weights": "a.pth"}, "no model was given for the weights 'a.pth': name it"),
        ({"model": ""}, "model is empty"),
        ({"model": "resnet18", "weights": ""}, "weights is empty"),
        ({"model": "resnet18", "weights": "bundled"}, "no bundled weights of 'resnet18'; there are .*lite0.*lite2"),
        ({"model": "resnet18", "pool": "mean"}, "expected one of auto, avg"),
        ({"model": "resnet18", "precision": "int8"}, "expected one of auto, fp32"),
        ({"model": "resnet18", "engine": "onnx"}, "expected one of auto, torch"),
        ({"model": "resnet18", "resize": "slow"}, "expected one of fast"),
        ({"model": "resnet18", "model_args": {"num_classes": 5}}, "classifier is left out"),
        ({"model": "resnet18", "model_args": {"in_chans": 1}}, "three channels"),
        ({"model": "resnet18", "model_args": {"pretrained": True}}, "decided by weights"),
        ({"model": "resnet18", "model_args": {"norm": object()}}, "expected JSON values"),
        ({"model": "resnet18", "model_args": {"drop_rate": float("nan")}}, "expected JSON values"),
    ],
)
def test_what_no_backbone_could_honour(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        BackboneRequest(**fields)


def test_the_backbone_that_is_asked_for_without_a_name_has_one() -> None:
    asked = [BackboneRequest(), BackboneRequest(None, "bundled"), BackboneRequest("bundled")]
    assert {(request.model, request.weights) for request in asked} == {("tf_efficientnet_lite0", "bundled")}
    assert asked[0] == asked[1] == asked[2] == BackboneRequest("tf_efficientnet_lite0", "bundled")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input_size": (0, 5)}, "positive"),
        ({"input_size": (5,)}, "positive"),
        ({"mean": (0.5, 0.5)}, "three numbers"),
        ({"mean": (0.5, 0.5, float("inf"))}, "three numbers"),
        ({"std": (1.0, 1.0, 0.0)}, "above 0"),
        ({"crop_pct": 0.0}, "above 0"),
        ({"crop_mode": "middle"}, "center, squash or border"),
    ],
)
def test_overrides_out_of_range(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PreprocessOverrides(**fields)


def test_the_record_is_json_and_tells_requests_apart() -> None:
    requests = [
        BackboneRequest("resnet18"),
        BackboneRequest("resnet18", "random"),
        BackboneRequest("resnet18", model_args={"output_stride": 16}),
        BackboneRequest("resnet18", layer=2),
        BackboneRequest("resnet18", layer=2, pool="max"),
        BackboneRequest("resnet18", precision="bf16"),
        BackboneRequest("resnet18", engine="torch"),
        BackboneRequest("resnet18", device="cpu"),
        BackboneRequest("resnet18", resize="exact"),
        BackboneRequest("resnet18", preprocess=PreprocessOverrides(input_size=(96, 96))),
        BackboneRequest("resnet18", preprocess=PreprocessOverrides(mean=(0.5, 0.5, 0.5))),
    ]
    records = [canonical_json(request.to_dict()) for request in requests]
    assert len(set(records)) == len(requests)
    assert json.loads(records[9])["preprocess"] == {"input_size": [96, 96]}
    few = BackboneRequest("resnet18", expected_images=3)
    assert canonical_json(few.to_dict()) == records[0]


def test_requests_and_pseudo_backbones_import_neither_torch_nor_timm() -> None:
    code = """
import sys
import numpy as np
import embedkit.backbones
from embedkit.backbones import Backbone, BackboneRequest, PreprocessOverrides
from embedkit.backbones.load import load_backbone
backbone = load_backbone(BackboneRequest("pixels32"))
backbone(np.zeros((2, 3, 32, 32), np.uint8))
loaded = {"torch", "timm", "torchvision", "PIL", "h5py", "sklearn", "scipy"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", 3),
        ("weights", 3),
        ("layer", "x"),
        ("layer", True),
        ("preprocess", 5),
        ("model_args", 5),
        ("device", 0),
    ],
)
def test_values_of_another_type_are_named(name, value) -> None:
    with pytest.raises(UsageError, match=f"^{name} is {value!r}, expected"):
        BackboneRequest(**{"model": "resnet18", name: value})
