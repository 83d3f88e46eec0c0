from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embedkit.backbones import FeatureRequest, PreprocessOverrides, as_request, as_requests
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
        ({"model": "resnet18", "layer": []}, "no layer or no pool"),
        ({"model": "resnet18", "layer": [3, "x"]}, "expected a whole number, None, or a list"),
        ({"model": "resnet18", "layer": [1, 2], "pool": ["avg", "max", "gem"]}, "2 layers and 3 pools"),
        ({"model": "resnet18", "layer": [1, 1]}, "asks for a block of columns twice"),
        ({"model": "resnet18", "pool": ["avg", "mean"]}, "pool is 'mean', expected one of"),
        ({"model": "resnet18", "dtype": "int8"}, "dtype is 'int8', expected one of float32"),
        ({"model": "resnet18", "preprocess": {"size": 3}}, "expected fields of PreprocessOverrides"),
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
        FeatureRequest(**fields)


def test_the_backbone_that_is_asked_for_without_a_name_has_one() -> None:
    asked = [FeatureRequest(), FeatureRequest(None, "bundled"), FeatureRequest("bundled")]
    assert {(request.model, request.weights) for request in asked} == {("tf_efficientnet_lite0", "bundled")}
    assert asked[0] == asked[1] == asked[2] == FeatureRequest("tf_efficientnet_lite0", "bundled")


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
        FeatureRequest("resnet18"),
        FeatureRequest("resnet18", "random"),
        FeatureRequest("resnet18", model_args={"output_stride": 16}),
        FeatureRequest("resnet18", layer=2),
        FeatureRequest("resnet18", layer=2, pool="max"),
        FeatureRequest("resnet18", precision="bf16"),
        FeatureRequest("resnet18", engine="torch"),
        FeatureRequest("resnet18", device="cpu"),
        FeatureRequest("resnet18", resize="exact"),
        FeatureRequest("resnet18", preprocess=PreprocessOverrides(input_size=(96, 96))),
        FeatureRequest("resnet18", preprocess=PreprocessOverrides(mean=(0.5, 0.5, 0.5))),
    ]
    records = [canonical_json(request.to_dict()) for request in requests]
    assert len(set(records)) == len(requests)
    assert json.loads(records[9])["preprocess"] == {"input_size": [96, 96]}
    for request in (*requests, FeatureRequest("resnet18", layer=[1, None], pool=["avg", "auto"], dtype="float16")):
        record = json.loads(canonical_json(request.to_dict()))
        assert FeatureRequest.from_dict(record) == request
        dtype, backbone = record.pop("dtype"), record  # as it was recorded until 0.1.0
        assert FeatureRequest.from_dict({"backbone": backbone, "dtype": dtype}) == request


def test_arguments_come_into_one_form() -> None:
    assert FeatureRequest() == FeatureRequest(None, "bundled")
    assert FeatureRequest("bundled").weights == "bundled"
    given = FeatureRequest("m", Path("w.pth"), layer=[3], pool=["avg"], preprocess={"input_size": [96, 96]})
    assert given == FeatureRequest(
        "m", "w.pth", layer=3, pool="avg", preprocess=PreprocessOverrides(input_size=(96, 96)), model_args={}
    )
    assert FeatureRequest("m", layer=[3, None]).outputs == ((3, "auto"), (None, "auto"))
    assert FeatureRequest("m", pool=["avg", "cls"]).outputs == ((None, "avg"), (None, "cls"))
    assert FeatureRequest("m", layer=[3, 4], pool=["avg", "cls"]).outputs == ((3, "avg"), (4, "cls"))


def test_a_request_or_a_name_with_parts_beside_it() -> None:
    request = FeatureRequest("resnet18", layer=2)
    assert as_request("resnet18", layer=2, preprocess=None) == request
    assert as_request(request, weights="pretrained", layer=None, pool="auto") is request
    with pytest.raises(UsageError, match="pool was given beside a FeatureRequest"):
        as_request(request, pool="max")
    assert as_requests(None) == as_requests(()) == []
    assert as_requests("resnet18") == [FeatureRequest("resnet18")]
    assert as_requests([request, "resnet18"]) == [request, FeatureRequest("resnet18")]


def test_requests_and_pseudo_backbones_import_neither_torch_nor_timm() -> None:
    code = """
import sys
import numpy as np
import embedkit.backbones
from embedkit.backbones import Backbone, FeatureRequest, PreprocessOverrides
from embedkit.backbones.load import load_backbone
backbone = load_backbone(FeatureRequest("pixels32"))
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
        FeatureRequest(**{"model": "resnet18", name: value})
