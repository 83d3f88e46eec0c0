"""The backbone as the rest of the house sees it: pixels in, features out, with all that describes them.

Layer: backbones. Imports numpy and specs; neither torch nor timm, which stay behind the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.specs import BackboneSpec, PreprocessSpec


class RunsBatches(Protocol):
    """What computes: an engine. `module` is the frozen torch module whose forward it is, or None."""

    module: Any

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (n, width), of pixels, uint8 (n, 3, height, width)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A frozen backbone.

    Attributes
    ----------
    spec : BackboneSpec
    preprocess : PreprocessSpec
        What its pixels must have gone through.
    engine : RunsBatches
    device : str
        ``"cpu"`` or ``"cuda:<index>"``.
    batch_size : int
        Images that go through the network at once.
    choice : str
        Which engine and precision compute, and why.
    drift : float or None
        Worst cosine to fp32 torch after subtracting the mean feature, over `embedkit.backbones.drift`'s images;
        None where fp32 torch itself computes.
    provenance : mapping
        Library versions, the model's name as it was typed, where the weights came from, notes.
    weights_files : sequence of Path
        The files of weights that were read.
    """

    spec: BackboneSpec
    preprocess: PreprocessSpec
    engine: RunsBatches
    device: str
    batch_size: int
    choice: str
    drift: float | None
    provenance: Mapping[str, Any]
    weights_files: Sequence[Path]

    @property
    def module(self) -> Any:
        """The frozen torch module (uint8 (n, 3, h, w) to float32 (n, width)); None for a pseudo-backbone."""
        return self.engine.module

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute features.

        Parameters
        ----------
        pixels : uint8 (n, 3, height, width)
            RGB, 0 to 255, of the size in `preprocess.input_size`, in any memory layout; not normalised.

        Returns
        -------
        float32 (n, width)
            Row i belongs to image i and to no other. A row may hold NaN or infinity: judging it is the caller's.

        Raises
        ------
        UsageError
            `pixels` is of another type or shape.
        """
        expected = (3, *self.preprocess.input_size)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
            raise UsageError(f"pixels are {pixels.dtype} {pixels.shape}, expected uint8 (n, {expected})")
        features = np.empty((len(pixels), self.spec.width), np.float32)
        for start in range(0, len(pixels), self.batch_size):
            batch = pixels[start : start + self.batch_size]
            features[start : start + len(batch)] = self.engine(batch)
        return features
