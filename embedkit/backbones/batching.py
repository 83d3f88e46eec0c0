"""Batches of any length through an engine that likes a few fixed ones, and smaller ones when memory runs out.

Layer: backbones. Imports numpy; neither torch nor timm.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import BackboneError

_log = logging.getLogger("embedkit")


class Engine(Protocol):
    """What computes. `module` is the frozen torch module that it runs, or None."""

    module: Any

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (n, d), of pixels, uint8 (n, 3, height, width).

        Raises
        ------
        MemoryError
            The device has no room for so many images at once.
        """
        ...


class BatchRunner:
    """Run pixels through an engine in batches.

    A short batch is filled up by repeating its last image, whose surplus features are dropped: to `batch_size` when
    that is `fixed`, so that every forward pass has the same shape and fp32 features are equal to the last bit
    whatever the batch an image came in; else to the next power of two, so that only a handful of shapes occur.

    Parameters
    ----------
    engine : Engine
    batch_size : int
        At least 1. Halved, for good, whenever memory runs out.
    fixed : bool
    """

    def __init__(self, engine: Engine, batch_size: int, *, fixed: bool) -> None:
        self.engine = engine
        self.batch_size = batch_size
        self._fixed = fixed

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (n, d), of pixels, uint8 (n, 3, height, width), n at least 1.

        Raises
        ------
        BackboneError
            There is no memory for a single image.
        """
        parts: list[NDArray[np.float32]] = []
        start = 0
        while start < len(pixels):
            batch = pixels[start : start + self.batch_size]
            try:
                parts.append(self.engine(self._filled(batch))[: len(batch)])
            except MemoryError as error:
                self._back_off(error)
            else:
                start += len(batch)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _filled(self, batch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        wanted = self.batch_size if self._fixed else min(1 << (len(batch) - 1).bit_length(), self.batch_size)
        missing = wanted - len(batch)
        # Views, since np.repeat would lay the surplus out another way and the whole batch with it.
        return batch if missing == 0 else np.concatenate([batch, *[batch[-1:]] * missing])

    def _back_off(self, error: MemoryError) -> None:
        if self.batch_size == 1:
            raise BackboneError(
                f"out of memory with a single image ({error}): use another device, a smaller model or input size"
            ) from error
        self.batch_size //= 2
        _log.warning("out of memory: the batch size is now %d", self.batch_size)
