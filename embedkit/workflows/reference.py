"""A model file as one network: its backbone in fp32 on torch, and images as that takes them.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone, load_backbone
from embedkit.errors import ModelExportError, SpecMismatchError, UsageError
from embedkit.extraction import Resolution
from embedkit.images import ImageRef, decode, is_encoded, read_bytes, to_rgb
from embedkit.persistence import Model, load_model
from embedkit.preprocess import Preprocessor
from embedkit.specs import DecodeSpec, describe_differences, differences


def single_embedder(model: Any, trust_pickle: bool) -> Model:
    """Return a model that begins with its only embedder, so that one network can stand for it."""
    if isinstance(model, str | os.PathLike):
        loaded = load_model(cast(str, model), trust_pickle=trust_pickle)
    else:
        loaded = model if isinstance(model, Model) else Model(pipeline=model)
    if not loaded.begins_with_its_embedder:
        inside = f" with the embedders {', '.join(loaded.embedders)}" if loaded.embedders else ""
        raise UsageError(
            f"model is a {type(loaded.pipeline).__name__}{inside}; one network can be made of a fitted Pipeline whose "
            "first step is an ImageEmbedder, its only one (of a search: best_estimator_)"
        )
    return loaded


def reference_backbone(loaded: Model, weights: str | None, device: str = "cpu") -> Backbone:
    """Return the backbone of the fit in fp32 on torch: what the file computes, and what it is compared with."""
    request = loaded.pipeline.steps[0][1].request().pinned(loaded.spec)
    named = weights or request.weights
    backbone = load_backbone(
        dataclasses.replace(request, weights=named, precision="fp32", engine="torch", device=device)
    )
    if backbone.module is None:
        raise ModelExportError(f"{loaded.spec.backbone.architecture} is no network, and a network is needed")
    spec = Resolution.of(request, backbone).spec
    if spec.model_identity != loaded.spec.model_identity:
        found = differences(spec, loaded.spec)
        raise SpecMismatchError(
            f"the backbone at hand is not the one that the model was fitted on: {describe_differences(found)}; "
            "name the right weights by --weights (weights=...)",
            found,
        )
    return backbone


def rgb_of(ref: ImageRef, spec: DecodeSpec, preprocessor: Preprocessor) -> npt.NDArray[np.uint8]:
    """Decode an image to RGB, uint8 (height, width, 3), as small as the resize allows.

    Raises
    ------
    ImageError
        It cannot be read or decoded.
    """
    return decode(read_bytes(ref), spec, preprocessor.resized) if is_encoded(ref) else to_rgb(ref, spec)
