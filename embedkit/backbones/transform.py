"""The preprocessing that belongs to a model: timm's configuration of it, and what a user replaces.

Layer: backbones. Imports timm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import timm.data

from embedkit.backbones.overrides import PreprocessOverrides
from embedkit.errors import UsageError
from embedkit.specs import PreprocessSpec

TENSOR_INTERPOLATIONS = ("bicubic", "bilinear")
"""What the fast resize has; with any other interpolation the spec says ``resize="exact"``."""


def resolve_preprocess(
    name: str, config: Mapping[str, Any], overrides: PreprocessOverrides, resize: Literal["exact", "fast"]
) -> PreprocessSpec:
    """Resolve how images are prepared for a model, as ``timm.data.resolve_data_config`` does.

    Parameters
    ----------
    name : str
        The model's name, for messages.
    config : mapping
        timm's ``pretrained_cfg`` of the model.
    overrides : PreprocessOverrides
    resize : {"exact", "fast"}
        As asked for.

    Raises
    ------
    UsageError
        timm has no configuration and nothing was given instead: its silent default (224 pixels, ImageNet mean) may be
        wrong for the model. Or the model does not take three channels.
    """
    given = overrides.given()
    if not config and "input_size" not in given:
        raise UsageError(
            f"timm has no preprocessing for {name}: give at least input_size, and mean, std, interpolation, crop_pct "
            "and crop_mode where the model was trained with others than timm's defaults"
        )
    resolved = cast(
        dict[str, Any], cast(Any, timm.data).resolve_data_config(pretrained_cfg={"architecture": name, **config})
    )
    channels, height, width = resolved["input_size"]
    if channels != 3:
        raise UsageError(f"{name} takes images of {channels} channels, expected 3")
    interpolation = given.get("interpolation", resolved["interpolation"])
    return PreprocessSpec(
        input_size=given.get("input_size", (int(height), int(width))),
        interpolation=interpolation,
        crop_pct=float(given.get("crop_pct", resolved["crop_pct"])),
        crop_mode=given.get("crop_mode", resolved["crop_mode"]),
        mean=_three(given.get("mean", resolved["mean"])),
        std=_three(given.get("std", resolved["std"])),
        resize=resize if interpolation in TENSOR_INTERPOLATIONS else "exact",
        view=given.get("view", 0),
        view_seed=given.get("view_seed", 0) if given.get("view") else 0,
    )


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
