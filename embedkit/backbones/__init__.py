"""Frozen timm backbones: load one by name, ask it for features.

Layer: beside images, preprocess and store, which it does not know. Imports torch and timm, but only when a backbone is
loaded or models are listed: `FeatureRequest` and the pseudo-backbones need neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedkit.backbones.backbone import Backbone, positions_of, run_together
from embedkit.backbones.drift import centred_cosines, drift_images
from embedkit.backbones.load import load_backbone, load_backbones
from embedkit.backbones.overrides import PreprocessOverrides
from embedkit.backbones.own import is_own, own_names_in, require_trusted
from embedkit.backbones.request import (
    FeatureRequest,
    as_request,
    as_requests,
    check_batch_size,
    weights_of,
)
from embedkit.backbones.threads import keep_thread_count, use_one_thread
from embedkit.backbones.weights_file import check_weights_file

if TYPE_CHECKING:
    from embedkit.backbones.build import build_model
    from embedkit.backbones.classes import own_classifier
    from embedkit.backbones.devices import available_devices, resolve_device
    from embedkit.backbones.hub import hub_answers
    from embedkit.backbones.models import ModelInfo, licence_of, list_models, quiet_timm
    from embedkit.backbones.network import count_layers
    from embedkit.backbones.shortlisting import ListedModel, shortlist, shortlist_source
else:

    def __getattr__(name: str) -> Any:
        if name in ("ModelInfo", "licence_of", "list_models"):
            from embedkit.backbones import models

            return getattr(models, name)
        if name == "build_model":
            from embedkit.backbones import build

            return build.build_model
        if name == "own_classifier":
            from embedkit.backbones import classes

            return classes.own_classifier
        if name == "quiet_timm":
            from embedkit.backbones import models

            return models.quiet_timm
        if name == "count_layers":
            from embedkit.backbones import network

            return network.count_layers
        if name == "hub_answers":
            from embedkit.backbones import hub

            return hub.hub_answers
        if name in ("ListedModel", "shortlist", "shortlist_source"):
            from embedkit.backbones import shortlisting

            return getattr(shortlisting, name)
        if name in ("available_devices", "resolve_device"):
            from embedkit.backbones import devices

            return getattr(devices, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Backbone",
    "FeatureRequest",
    "ListedModel",
    "ModelInfo",
    "PreprocessOverrides",
    "as_request",
    "as_requests",
    "build_model",
    "available_devices",
    "check_batch_size",
    "check_weights_file",
    "count_layers",
    "centred_cosines",
    "drift_images",
    "hub_answers",
    "is_own",
    "keep_thread_count",
    "licence_of",
    "list_models",
    "load_backbone",
    "load_backbones",
    "own_classifier",
    "own_names_in",
    "positions_of",
    "quiet_timm",
    "require_trusted",
    "resolve_device",
    "run_together",
    "shortlist",
    "shortlist_source",
    "use_one_thread",
    "weights_of",
]
