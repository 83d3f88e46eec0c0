"""Pseudo-backbones: features without a network, the floors that a real backbone must beat.

Layer: backbones. Imports numpy; neither torch nor timm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.backbones.backbone import Backbone
from embedkit.backbones.batching import BatchRunner
from embedkit.backbones.request import FeatureRequest
from embedkit.errors import DeviceError, UsageError
from embedkit.specs import BackboneSpec, PreprocessSpec

BATCH_SIZE = 256
PIXELS_SIDE = 32
HISTOGRAM_SIDE = 64
HISTOGRAM_LEVELS = 8
"""Bins a channel: 8 x 8 x 8 = 512 colours, each 32 grey levels wide in red, green and blue."""

PSEUDO_BACKBONES = ("pixels32", "colour-histogram")


def pixels32(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the pixels themselves, scaled to [0, 1].

    Parameters
    ----------
    pixels : uint8 (n, 3, 32, 32)

    Returns
    -------
    float32 (n, 3072)
        Red, then green, then blue, each by rows.
    """
    return pixels.reshape(len(pixels), 3 * PIXELS_SIDE**2).astype(np.float32) / np.float32(255)


def colour_histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how much of each image has each of 512 colours.

    Parameters
    ----------
    pixels : uint8 (n, 3, h, w)

    Returns
    -------
    float32 (n, 512)
        Shares that sum to 1. Bin ``64 r + 8 g + b`` holds the pixels with red in [32 r, 32 r + 31], and so on.
    """
    levels = pixels.reshape(len(pixels), 3, -1) // (256 // HISTOGRAM_LEVELS)
    bins = (levels[:, 0] * np.int64(HISTOGRAM_LEVELS) + levels[:, 1]) * HISTOGRAM_LEVELS + levels[:, 2]
    colours = HISTOGRAM_LEVELS**3
    bins += colours * np.arange(len(pixels))[:, None]
    counts = np.bincount(bins.ravel(), minlength=len(pixels) * colours).reshape(len(pixels), colours)
    return (counts / bins.shape[1]).astype(np.float32)


class PseudoEngine:
    """Run a function on batches; there is no module."""

    module: Any = None

    def __init__(self, function: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> None:
        self._function = function

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (n, width), of pixels, uint8 (n, 3, height, width)."""
        return self._function(pixels)


def load_pseudo(request: FeatureRequest) -> Backbone:
    """Build the pseudo-backbone that a request names.

    Raises
    ------
    UsageError
        The request asks for what only a network has: a layer, a pool, model arguments, another preprocessing.
    DeviceError
        The request names a device, an engine or a precision that numpy does not have.
    """
    asked = {
        "layer": request.layer is not None,
        "pool": request.pool != "auto",
        "model_args": bool(request.model_args),
        "preprocess": bool(request.overrides.given()),
    }
    for name, given in asked.items():
        if given:
            raise UsageError(f"{name} was given for {request.model}, which is no network: leave it out")
    for name, fits in (("device", "cpu"), ("precision", "fp32"), ("engine", "torch")):
        if getattr(request, name) not in ("auto", fits):
            raise DeviceError(f"{name} {getattr(request, name)!r} was named for {request.model}, which runs in numpy")
    if request.model == "pixels32":
        side, width, function = PIXELS_SIDE, 3 * PIXELS_SIDE**2, pixels32
    else:
        side, width, function = HISTOGRAM_SIDE, HISTOGRAM_LEVELS**3, colour_histogram
    return Backbone(
        spec=BackboneSpec(architecture=str(request.model), weights="none", width=width),
        preprocess=PreprocessSpec(
            input_size=(side, side),
            interpolation="box",
            crop_pct=1.0,
            crop_mode="squash",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            resize="exact",
        ),
        runner=BatchRunner(PseudoEngine(function), BATCH_SIZE, fixed=False),
        columns=slice(None),
        device="cpu",
        choice="numpy: no network to run",
        drift=None,
        provenance={"model": request.model, "numpy": np.__version__},
        weights_files=(),
    )
