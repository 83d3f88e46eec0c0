"""Specs and rows for the tests of the store."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from embedkit.specs import BackboneSpec, DecodeSpec, Dtype, FeatureSpec, PreprocessSpec


def make_spec(width: int = 8, dtype: Dtype = "float32", **backbone: object) -> FeatureSpec:
    return FeatureSpec(
        backbone=dataclasses.replace(BackboneSpec(architecture="sample", weights="sha256:00", width=width), **backbone),
        preprocess=PreprocessSpec(
            input_size=(224, 224),
            interpolation="bicubic",
            crop_pct=0.9,
            crop_mode="center",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        decode=DecodeSpec(),
        dtype=dtype,
    )


def make_rows(
    count: int, width: int = 8, seed: int = 0, dtype: str = "float32"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.floating]]:
    chance = np.random.default_rng(seed)
    digests = chance.integers(0, 256, (count, 32), dtype=np.uint8)
    return digests, chance.standard_normal((count, width)).astype(dtype)
