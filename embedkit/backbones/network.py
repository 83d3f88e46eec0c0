"""Loading a backbone that is a network.

Layer: backbones. Imports torch and timm.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from embedkit.backbones.backbone import Backbone
from embedkit.backbones.batching import BatchRunner
from embedkit.backbones.build import Built, build_model
from embedkit.backbones.choice import Choice, Wanted, choose_engine
from embedkit.backbones.conversions import Conversion
from embedkit.backbones.devices import resolve_device
from embedkit.backbones.features import FrozenFeatures, Tap
from embedkit.backbones.folding import fold_batch_norms
from embedkit.backbones.models import quiet_timm
from embedkit.backbones.openvino_engine import is_installed
from embedkit.backbones.request import FeatureRequest
from embedkit.backbones.threads import keep_thread_count, use_one_thread
from embedkit.backbones.transform import resolve_preprocess
from embedkit.backbones.weights import backbone_digest
from embedkit.errors import UsageError
from embedkit.specs import BackboneSpec, Json, Pool, PreprocessSpec

CPU_BATCH_SIZE = 8
CUDA_BATCH_SIZE = 128
LARGEST_CPU_BATCH = 256
LARGEST_CUDA_BATCH = 4096
"""On CPUs 8 to 32 images are best: beyond, activations leave the cache, and glibc gives each layer's memory back to
the system (from 32 MB on), which costs mobilenetv2 a factor of 1.2 at 8 images and 1.4 at 16, resnets nothing at 8.

Beyond the largest nothing is gained; and on a CPU, where each core has a batch of its own, a system that overcommits
its memory kills the process instead of saying that there is none."""


_LOADING = threading.Lock()


def load_network(
    requests: Sequence[FeatureRequest], batch_size: int | None, expected_images: int | None, memo_folder: Path | None
) -> list[Backbone]:
    """Load the network that the requests name; see `embedkit.backbones.load.load_backbones`."""
    request = requests[0]
    device = resolve_device(request.device)
    # Threads of one process share torch's generator: without the lock, two that draw random weights mix them up.
    with _LOADING, quiet_timm(), cast(Any, torch.random).fork_rng(devices=[]), keep_thread_count():
        if device == "cpu":
            use_one_thread()
        built = build_model(request)
        preprocess = resolve_preprocess(built.architecture, built.config, request.overrides, request.resize)
        weights = backbone_digest(built.model)
        parameters = sum(parameter.numel() for parameter in built.model.parameters())
        taps = _resolve_taps(built.model.eval(), requests, preprocess)
        module = FrozenFeatures(
            built.model, mean=preprocess.mean, std=preprocess.std, taps=[tap for several in taps for tap in several]
        )
        widths = _measure_widths(module, preprocess)
        conversion = None
        if memo_folder is not None and device == "cpu" and request.engine != "torch":
            conversion = Conversion(memo_folder, _conversion_key(built, weights, module, preprocess))
        # What is neither run by torch nor converted needs no folding, and that takes as long as several images.
        by_openvino = request.engine == "openvino" and request.precision != "auto"
        if not (by_openvino and conversion is not None and conversion.is_kept()):
            fold_batch_norms(module, _blank(preprocess) + 128)
        wanted = Wanted(
            engine=request.engine,
            precision=request.precision,
            device=device,
            expected_images=expected_images,
            input_size=preprocess.input_size,
            conversion=conversion,
        )
        choice = choose_engine(module, wanted)
    size = default_batch_size(device) if batch_size is None else min(batch_size, largest_batch_size(device))
    runner = BatchRunner(choice.engine, size, fixed=batch_size is not None)
    backbones: list[Backbone] = []
    measured, start = iter(widths), 0
    for own in taps:
        blocks = tuple(next(measured) for _ in own)
        layers: tuple[int | None, ...] = tuple([tap.layer for tap in own])
        pools: tuple[Pool, ...] = tuple([tap.pool for tap in own])
        width, several = sum(blocks), len(own) > 1
        backbones.append(
            Backbone(
                spec=BackboneSpec(
                    architecture=built.architecture,
                    weights=weights,
                    width=width,
                    model_args=built.model_args,
                    layer=layers if several else layers[0],
                    pool=pools if several else pools[0],
                    precision=choice.precision,
                    engine=choice.name,
                    blocks=blocks if several else (),
                ),
                preprocess=preprocess,
                runner=runner,
                columns=slice(start, start + width),
                device=device,
                choice=choice.reason,
                drift=choice.drift.worst if choice.drift else None,
                provenance={**_provenance(request, built, choice), "parameters": parameters},
                weights_files=built.files,
            )
        )
        start += width
    return backbones


def count_layers(request: FeatureRequest) -> int:
    """Return how many intermediate layers a request may name; no weights are read.

    Raises
    ------
    UsageError
        The model gives none.
    """
    plain = replace(request, weights="random", layer=None, pool="auto")
    with _LOADING, quiet_timm(), cast(Any, torch.random).fork_rng(devices=[]):
        built = build_model(plain)
        preprocess = resolve_preprocess(built.architecture, built.config, request.overrides, request.resize)
        return _layer_count(built.model.eval(), preprocess)


def _layer_count(model: nn.Module, preprocess: PreprocessSpec) -> int:
    if not hasattr(model, "forward_intermediates"):
        raise UsageError(f"a layer was named, but {type(model).__name__} gives no intermediate layers: leave it out")
    with torch.inference_mode():
        images = torch.zeros(1, 3, *preprocess.input_size)
        return len(cast(Any, model).forward_intermediates(images, intermediates_only=True))


def default_batch_size(device: str) -> int:
    """Return how many images should go through a network at once on a device."""
    return CPU_BATCH_SIZE if device == "cpu" else CUDA_BATCH_SIZE


def largest_batch_size(device: str) -> int:
    """Return how many images go through a network at once on a device, however many were named."""
    return LARGEST_CPU_BATCH if device == "cpu" else LARGEST_CUDA_BATCH


def _resolve_taps(model: nn.Module, requests: Sequence[FeatureRequest], preprocess: PreprocessSpec) -> list[list[Tap]]:
    """Count layers from the front: -1 and 11 of twelve layers are the same features and must have one name."""
    asked = [request.outputs for request in requests]
    if all(layer is None for outputs in asked for layer, _ in outputs):
        return [[Tap(None, pool) for _, pool in outputs] for outputs in asked]
    layers = _layer_count(model, preprocess)
    for layer in (layer for outputs in asked for layer, _ in outputs):
        if layer is not None and not -layers <= layer < layers:
            raise UsageError(
                f"layer is {layer}, expected {-layers} to {layers - 1}: {type(model).__name__} has {layers} layers"
            )
    taps = [[Tap(None if layer is None else layer % layers, pool) for layer, pool in outputs] for outputs in asked]
    for request, own in zip(requests, taps, strict=True):
        if len(set(own)) < len(own):
            raise UsageError(f"layer {request.layer} names a layer twice: {type(model).__name__} has {layers} layers")
    return taps


def _measure_widths(module: FrozenFeatures, preprocess: PreprocessSpec) -> list[int]:
    try:
        with torch.inference_mode():
            return [int(features.shape[1]) for features in module.each(_blank(preprocess))]
    except (AssertionError, RuntimeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        height, width = preprocess.input_size
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{type(module.model).__name__} does not take images of {height} x {width} pixels: {reason}"
        ) from error


def _conversion_key(built: Built, weights: str, module: FrozenFeatures, preprocess: PreprocessSpec) -> dict[str, Json]:
    """Return all that a conversion depends on. The number is raised when `FrozenFeatures` computes something else."""
    return {
        "version": 1,
        "architecture": built.architecture,
        "model_args": dict(built.model_args),
        "weights": weights,
        "taps": [[tap.layer, tap.pool] for tap in module.taps],
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "input_size": list(preprocess.input_size),
        "libraries": {name: version(name) for name in ("openvino", "timm", "torch")} if is_installed() else {},
    }


def _blank(preprocess: PreprocessSpec) -> torch.Tensor:
    return torch.zeros(1, 3, *preprocess.input_size, dtype=torch.uint8)


def _provenance(request: FeatureRequest, built: Built, choice: Choice) -> dict[str, Json]:
    record: dict[str, Json] = {
        "model": request.model,
        "weights": str(request.weights),
        "weights_files": [str(file) for file in built.files],
        "torch": torch.__version__,
        "timm": version("timm"),
        "choice": choice.reason,
    }
    if choice.name == "openvino":
        record["openvino"] = version("openvino")
    if choice.drift is not None:
        record["drift"] = {"worst": choice.drift.worst, "mean": choice.drift.mean}
    if built.note:
        record["note"] = built.note
    return record
