"""Batches of any length through an engine that likes a few fixed ones, and smaller ones when memory runs out.

Layer: backbones. Imports numpy; neither torch nor timm.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import BackboneError

_log = logging.getLogger("embedkit")

ALWAYS_FILLED = 32
"""A fixed batch of up to so many images is filled up however few images there are: seconds at worst, for features that
are equal to the last bit whatever a run has to do. A larger one is filled up to no more than the images of the run."""


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

    It may be called from several threads.

    Parameters
    ----------
    engine : Engine
    batch_size : int
        At least 1. Halved, for good, whenever memory runs out; said once what size there was room for.
    fixed : bool
    """

    def __init__(self, engine: Engine, batch_size: int, *, fixed: bool) -> None:
        self.engine = engine
        self.batch_size = batch_size
        self._fixed = fixed
        self._said = batch_size
        self._changing = threading.Lock()

    def __call__(self, pixels: NDArray[np.uint8], images: int | None = None) -> NDArray[np.float32]:
        """Return the features, float32 (n, d), of pixels, uint8 (n, 3, height, width), n at least 1.

        Parameters
        ----------
        pixels : uint8 (n, 3, height, width)
        images : int, optional
            How many images the run has that these belong to. A fixed batch larger than that is filled up to so many
            (but see `ALWAYS_FILLED`), which is the same shape for all of the run.

        Raises
        ------
        BackboneError
            There is no memory for a single image.
        """
        parts: list[NDArray[np.float32]] = []
        start = 0
        while start < len(pixels):
            size = self.batch_size
            batch = pixels[start : start + size]
            filled = self._filled(batch, size, images)
            try:
                parts.append(self.engine(filled)[: len(batch)])
            except MemoryError as error:
                self._back_off(len(filled), error)
            else:
                start += len(batch)
                self._say_size()
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _filled(self, batch: NDArray[np.uint8], size: int, images: int | None) -> NDArray[np.uint8]:
        if self._fixed:
            wanted = size if images is None else min(size, max(images, ALWAYS_FILLED))
        else:
            wanted = min(1 << (len(batch) - 1).bit_length(), size)
        missing = wanted - len(batch)
        # Views, since np.repeat would lay the surplus out another way and the whole batch with it.
        return batch if missing == 0 else np.concatenate([batch, *[batch[-1:]] * missing])

    def _back_off(self, tried: int, error: MemoryError) -> None:
        if tried == 1:
            raise BackboneError(
                f"out of memory with a single image ({error}): use another device, a smaller model or input size"
            ) from error
        with self._changing:  # several threads may have tried the same size
            self.batch_size = min(self.batch_size, tried // 2)

    def _say_size(self) -> None:
        with self._changing:
            if self.batch_size < self._said:
                self._said = self.batch_size
                _log.warning("out of memory: the batch size is now %d", self.batch_size)
