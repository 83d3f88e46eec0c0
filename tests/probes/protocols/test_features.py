"""What is said of features that were not made as a protocol prescribes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from embedkit.probes.protocols import run_protocol
from embedkit.probes.protocols.features import CLIP_MEAN, CLIP_STD
from embedkit.specs import BackboneSpec, FeatureSpec
from tests.probes.protocols.samples import rows_of, table_of
from tests.tables.table_samples import make_spec


def departures(protocol: str, spec: FeatureSpec) -> list[str]:
    rows = rows_of(n=90)
    table = table_of(rows.table.X, rows.table.y.tolist(), rows.table.split.tolist(), spec=spec)
    notes = run_protocol(protocol, table, model="m").result.notes
    return [note for note in notes if "depart from the protocol's" in note]


def made(**changes: Any) -> FeatureSpec:
    spec = make_spec(8)
    exact = {"resize": "exact", "crop_pct": 1.0} | changes
    return dataclasses.replace(spec, preprocess=dataclasses.replace(spec.preprocess, **exact))


def test_features_as_prescribed_need_no_word() -> None:
    assert departures("dinov3-logreg", made()) == []
    assert departures("dinov2-knn", made(crop_pct=0.875)) == []
    assert departures("clip", made(mean=CLIP_MEAN, std=CLIP_STD, input_size=(336, 336))) == []
    assert departures("voc-svm", made(interpolation="bilinear", crop_mode="squash")) == []
    assert departures("simpleshot", made(crop_pct=0.5, mean=(0.5, 0.5, 0.5), input_size=(96, 96))) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input_size": (256, 256)}, "input size (256, 256), not (224, 224)"),
        ({"interpolation": "bilinear"}, "interpolation bilinear, not bicubic"),
        ({"crop_mode": "squash"}, "crop mode squash, not center"),
        ({"crop_pct": 0.9}, "crop fraction 0.9, not 1"),
        ({"mean": (0.5, 0.5, 0.5)}, "mean (0.5, 0.5, 0.5), not (0.485, 0.456, 0.406)"),
        ({"std": (0.5, 0.5, 0.5)}, "std (0.5, 0.5, 0.5), not (0.229, 0.224, 0.225)"),
        ({"resize": "fast"}, "a fast resize"),
    ],
)
def test_a_departure_is_said(changes: dict[str, Any], said: str) -> None:
    (note,) = departures("dinov3-logreg", made(**changes))
    assert note.startswith("dinov3-logreg: ")
    assert said in note
    assert ";" not in note


def test_another_layer_or_pool_is_said() -> None:
    spec = made(crop_pct=0.875)
    backbone = dataclasses.replace(spec.backbone, layer=-2, pool="avg")
    (note,) = departures("dinov2-knn", dataclasses.replace(spec, backbone=backbone))
    assert "layer -2" in note
    assert "pool avg" in note


def test_floors_have_no_network_to_depart_from() -> None:
    floor = BackboneSpec(architecture="pixels32", weights="none", width=8)
    assert departures("clip", dataclasses.replace(make_spec(8), backbone=floor)) == []
