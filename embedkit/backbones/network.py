"""Loading a backbone that is a network.

Layer: backbones. Imports torch and timm.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, cast

import torch
from torch import nn

from embedkit.backbones.backbone import Backbone
from embedkit.backbones.build import build_model
from embedkit.backbones.devices import check_precision, resolve_device
from embedkit.backbones.features import FrozenFeatures
from embedkit.backbones.models import quiet_timm
from embedkit.backbones.request import BackboneRequest
from embedkit.backbones.torch_engine import TorchEngine
from embedkit.backbones.transform import resolve_preprocess
from embedkit.backbones.weights import backbone_digest
from embedkit.errors import UsageError
from embedkit.specs import BackboneSpec, Precision, PreprocessSpec

DEFAULT_BATCH_SIZE = {"cpu": 16, "cuda": 128}


def load_network(request: BackboneRequest, *, batch_size: int | None) -> Backbone:
    """Load the network that a request names; see `embedkit.backbones.load.load_backbone`."""
    device = resolve_device(request.device)
    precision: Precision = "fp32" if request.precision == "auto" else request.precision
    check_precision(precision, device)
    with quiet_timm():
        built = build_model(request)
        preprocess = resolve_preprocess(built.architecture, built.config, request.preprocess, request.resize)
        weights = backbone_digest(built.model)
        layer = _resolve_layer(built.model, request.layer, preprocess)
        module = FrozenFeatures(built.model, mean=preprocess.mean, std=preprocess.std, layer=layer, pool=request.pool)
        width = _measure_width(module, preprocess)
    engine = TorchEngine(module, device, precision)
    spec = BackboneSpec(
        architecture=built.architecture,
        weights=weights,
        width=width,
        model_args=built.model_args,
        layer=layer,
        pool=request.pool,
        precision=precision,
        engine="torch",
    )
    return Backbone(
        spec=spec,
        preprocess=preprocess,
        engine=engine,
        device=device,
        batch_size=batch_size or DEFAULT_BATCH_SIZE[device.split(":")[0]],
        choice=f"torch in {precision} on {device}",
        drift=None,
        provenance={
            "model": request.model or "bundled",
            "weights": request.weights,
            "torch": torch.__version__,
            "timm": version("timm"),
            "note": built.note,
        },
        weights_files=built.files,
    )


def _resolve_layer(model: nn.Module, layer: int | None, preprocess: PreprocessSpec) -> int | None:
    """Count a layer from the front: -1 and 11 of twelve layers are the same features and must have one name."""
    if layer is None:
        return None
    if not hasattr(model, "forward_intermediates"):
        raise UsageError(f"layer is {layer}, but {type(model).__name__} gives no intermediate layers: leave it out")
    with torch.inference_mode():
        images = torch.zeros(1, 3, *preprocess.input_size)
        layers = len(cast(Any, model.eval()).forward_intermediates(images, intermediates_only=True))
    if not -layers <= layer < layers:
        raise UsageError(f"layer is {layer}, expected {-layers} to {layers - 1}: the model has {layers} layers")
    return layer % layers


def _measure_width(module: FrozenFeatures, preprocess: PreprocessSpec) -> int:
    height, width = preprocess.input_size
    try:
        with torch.inference_mode():
            features = module(torch.zeros(1, 3, height, width, dtype=torch.uint8))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{type(module.model).__name__} does not take images of {height} x {width} pixels: {reason}"
        ) from error
    return int(features.shape[1])
