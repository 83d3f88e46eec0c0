"""The backbone as the rest of the house sees it: pixels in, features out, with all that describes them.

Layer: backbones. Imports numpy and specs; torch inside `positions_of` alone, else it stays behind the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.backbones.batching import BatchRunner
from embedkit.errors import UsageError
from embedkit.specs import BackboneSpec, PreprocessSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A frozen backbone.

    It may be called from several threads. On a GPU, two threads that take turns keep it busy: each has its own stream,
    so one's copies run beside the other's forward pass. On a CPU each core takes a call of its own
    (see `embedkit.backbones.threads`).

    Attributes
    ----------
    spec : BackboneSpec
    preprocess : PreprocessSpec
        What its pixels must have gone through.
    runner : BatchRunner
        Shared by backbones that were loaded together and differ in layer and pool alone.
    columns : slice
        Which of the runner's columns are this backbone's.
    device : str
        ``"cpu"`` or ``"cuda:<index>"``.
    choice : str
        Which engine and precision compute, and why.
    drift : float or None
        Worst cosine to fp32 torch after subtracting the mean feature, over `embedkit.backbones.drift`'s images;
        None where fp32 torch itself computes, and where it was not measured.
    provenance : mapping
        Library versions, the model's name as it was typed, where the weights came from, notes; JSON values.
    weights_files : sequence of Path
        The files of weights that were read.
    """

    spec: BackboneSpec
    preprocess: PreprocessSpec
    runner: BatchRunner
    columns: slice
    device: str
    choice: str
    drift: float | None
    provenance: Mapping[str, Any]
    weights_files: Sequence[Path]

    @property
    def module(self) -> Any:
        """The frozen torch module (uint8 (n, 3, h, w) to float32 (n, width)); None for a pseudo-backbone."""
        return self.runner.engine.module

    @property
    def batch_size(self) -> int:
        """Images that go through the network at once."""
        return self.runner.batch_size

    def new_pixels(self, images: int) -> NDArray[np.uint8]:
        """Return memory for the pixels of so many images, from which a call reads without another copy.

        Returns
        -------
        uint8 (images, 3, height, width)
            Laid out (images, height, width, 3), what is in it is undefined. For CUDA it is pinned, which takes time:
            it is meant to be used again, once the call that reads from it has returned.
        """
        shape = (images, *self.preprocess.input_size, 3)
        if self.device.startswith("cuda"):
            from embedkit.backbones.torch_engine import pinned

            return pinned(shape).transpose(0, 3, 1, 2)
        return np.empty(shape, np.uint8).transpose(0, 3, 1, 2)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute features.

        Parameters
        ----------
        pixels : uint8 (n, 3, height, width)
            RGB, 0 to 255, of the size in `preprocess.input_size`, not normalised. Any memory layout will do; that of
            an array (n, height, width, 3) seen as (n, 3, height, width) is read without rearranging.

        Returns
        -------
        float32 (n, width)
            Row i belongs to image i and to no other. A row may hold NaN or infinity: judging it is the caller's.

        Raises
        ------
        UsageError
            `pixels` is of another type or shape.
        BackboneError
            There is no memory for a single image.
        """
        return run_together([self], pixels)[0]


def positions_of(backbone: Backbone, pixels: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Compute the map whose mean over places is the feature vector of each image.

    Parameters
    ----------
    backbone : Backbone
        By torch in fp32.
    pixels : uint8 (n, 3, height, width)

    Returns
    -------
    float32 (n, rows, columns, width), or None
        None where the features are no such mean.
    """
    import torch

    _check(backbone, pixels)
    with torch.inference_mode():
        found = backbone.module.positions(torch.as_tensor(pixels, device=backbone.device))
    return None if found is None else found.cpu().numpy()


def run_together(
    backbones: Sequence[Backbone], pixels: NDArray[np.uint8], images: int | None = None
) -> list[NDArray[np.float32]]:
    """Compute the features of several backbones; those that were loaded together share one pass.

    Parameters
    ----------
    backbones : sequence of Backbone
        All with the preprocessing that `pixels` went through.
    pixels : uint8 (n, 3, height, width)
    images : int, optional
        How many images the run has that these belong to: a larger batch is not filled up with images that do not exist.

    Returns
    -------
    list of float32 (n, width)
        One for each backbone.

    Raises
    ------
    UsageError
        `pixels` is of another type or shape than a backbone expects.
    BackboneError
        There is no memory for a single image.
    """
    computed: dict[int, NDArray[np.float32]] = {}
    features: list[NDArray[np.float32]] = []
    for backbone in backbones:
        _check(backbone, pixels)
        if len(pixels) == 0:
            features.append(np.empty((0, backbone.spec.width), np.float32))
            continue
        if id(backbone.runner) not in computed:
            computed[id(backbone.runner)] = backbone.runner(pixels, images)
        features.append(np.ascontiguousarray(computed[id(backbone.runner)][:, backbone.columns]))
    return features


def _check(backbone: Backbone, pixels: NDArray[np.uint8]) -> None:
    height, width = backbone.preprocess.input_size
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (3, height, width):
        raise UsageError(f"pixels are {pixels.dtype} {pixels.shape}, expected uint8 (n, 3, {height}, {width})")
