from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.errors import SpecMismatchError, UsageError
from embedkit.specs import (
    BackboneSpec,
    DecodeSpec,
    FeatureSpec,
    PreprocessSpec,
    canonical_json,
    differences,
    require_equal,
)

SPEC = FeatureSpec(
    backbone=BackboneSpec(architecture="resnet18", weights="sha256:00", width=512, model_args={"b": 1, "a": [1, "x"]}),
    preprocess=PreprocessSpec(
        input_size=(224, 224),
        interpolation="bicubic",
        crop_pct=0.95,
        crop_mode="center",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    decode=DecodeSpec(),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_the_fingerprint_is_the_one_written_down():
    """A change of this digest orphans every store in the world; raise FORMAT_VERSION or DECODE_CONTRACT on purpose."""
    assert SPEC.fingerprint == "f5447f7588196f3fb2726d5e29e350484af32747261feab5477afc1c47281667"


@pytest.mark.parametrize(
    "known", json.loads((Path(__file__).parent / "golden" / "fingerprints-1.json").read_text()), ids=lambda _: ""
)
def test_fingerprints_of_version_1_stay(known):
    spec = FeatureSpec.from_dict(known["spec"])
    assert (spec.canonical, spec.fingerprint) == (known["canonical"], known["fingerprint"])
    assert spec.model_identity == known["model_identity"]


def test_a_later_field_is_in_the_fingerprint_only_where_it_says_something():
    assert "blocks" not in SPEC.canonical
    several = dataclasses.replace(SPEC.backbone, layer=(3, None), pool=("avg", "auto"), blocks=(256, 256))
    spec = dataclasses.replace(SPEC, backbone=several)
    assert '"blocks":[256,256]' in spec.canonical
    assert FeatureSpec.from_dict(json.loads(spec.canonical)) == spec


def test_the_order_of_model_args_does_not_matter():
    other = dataclasses.replace(SPEC, backbone=dataclasses.replace(SPEC.backbone, model_args={"a": [1, "x"], "b": 1}))
    assert other.fingerprint == SPEC.fingerprint


def changed(part: str | None, name: str, value: object) -> FeatureSpec:
    if part is None:
        return dataclasses.replace(SPEC, **{name: value})
    return dataclasses.replace(SPEC, **{part: dataclasses.replace(getattr(SPEC, part), **{name: value})})


CHANGES = [
    ("backbone", "architecture", "resnet34", True),
    ("backbone", "weights", "sha256:01", True),
    ("backbone", "width", 513, True),
    ("backbone", "model_args", {}, True),
    ("backbone", "layer", 3, True),
    ("backbone", "pool", "avg", True),
    ("backbone", "blocks", (256, 256), True),
    ("backbone", "precision", "bf16", False),
    ("backbone", "engine", "openvino", False),
    ("preprocess", "input_size", (224, 256), True),
    ("preprocess", "interpolation", "bilinear", True),
    ("preprocess", "crop_pct", 0.9, True),
    ("preprocess", "crop_mode", "squash", True),
    ("preprocess", "mean", (0.5, 0.5, 0.5), True),
    ("preprocess", "std", (0.5, 0.5, 0.5), True),
    ("preprocess", "resize", "exact", False),
    ("preprocess", "view", 1, True),
    ("preprocess", "view_seed", 1, True),
    ("decode", "decoder", "pillow", False),
    ("decode", "scale", 0, False),
    ("decode", "contract", 3, True),
    (None, "dtype", "float16", False),
]


@pytest.mark.parametrize(("part", "name", "value", "changes_model"), CHANGES)
def test_every_field_is_in_the_fingerprint(part, name, value, changes_model):
    other = changed(part, name, value)
    assert other.fingerprint != SPEC.fingerprint
    assert (other.model_identity != SPEC.model_identity) is changes_model
    found = differences(other, SPEC)
    assert found
    assert all(field.startswith(f"{part}.{name}" if part else name) for field, *_ in found)


def test_the_list_of_changes_is_complete():
    fields = {(part, name) for part, name, *_ in CHANGES}
    for part in ("backbone", "preprocess", "decode"):
        for field in dataclasses.fields(getattr(SPEC, part)):
            policy = field.name in ("exif", "alpha", "sixteen_bit", "cmyk")  # one value each, so far
            assert policy or (part, field.name) in fields


def test_require_equal_names_the_fields():
    require_equal(SPEC, SPEC, "nothing")
    with pytest.raises(SpecMismatchError, match="file.h5: backbone.layer is 3, expected None") as caught:
        require_equal(changed("backbone", "layer", 3), SPEC, "file.h5")
    assert caught.value.differences == (("backbone.layer", 3, None),)


def test_records_of_other_versions_are_refused():
    record = SPEC.to_dict()
    assert FeatureSpec.from_dict(record) == SPEC
    with pytest.raises(UsageError, match="another version"):
        FeatureSpec.from_dict({**record, "future": 1})
    del record["decode"]
    with pytest.raises(UsageError, match="decode"):
        FeatureSpec.from_dict(record)


@given(json_values)
def test_canonical_json_is_ascii_and_stable(value):
    import json

    text = canonical_json(value)
    assert text.isascii()
    assert canonical_json(json.loads(text)) == text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([value])
