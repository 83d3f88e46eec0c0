"""Frozen timm backbones: load one by name, ask it for features.

Layer: beside images, preprocess and store, which it does not know. Imports torch and timm, but only when a backbone is
loaded or models are listed: `FeatureRequest` and the pseudo-backbones need neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedkit.backbones.backbone import Backbone, run_together
from embedkit.backbones.drift import drift_images
from embedkit.backbones.load import load_backbone, load_backbones
from embedkit.backbones.request import (
    FeatureRequest,
    PreprocessOverrides,
    as_request,
    as_requests,
    check_batch_size,
)

if TYPE_CHECKING:
    from embedkit.backbones.devices import resolve_device
    from embedkit.backbones.models import ModelInfo, list_models
else:

    def __getattr__(name: str) -> Any:
        if name in ("ModelInfo", "list_models"):
            from embedkit.backbones import models

            return getattr(models, name)
        if name == "resolve_device":
            from embedkit.backbones import devices

            return devices.resolve_device
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Backbone",
    "FeatureRequest",
    "ModelInfo",
    "PreprocessOverrides",
    "as_request",
    "as_requests",
    "check_batch_size",
    "drift_images",
    "list_models",
    "load_backbone",
    "load_backbones",
    "resolve_device",
    "run_together",
]
