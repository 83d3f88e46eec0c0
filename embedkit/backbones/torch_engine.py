"""The torch engine: runs a frozen module on a device in a precision.

Layer: backbones. Imports torch.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.backbones.devices import DTYPES
from embedkit.backbones.features import FrozenFeatures
from embedkit.specs import Precision


class TorchEngine:
    """Run a frozen module.

    bf16 and fp16 mean that the network's weights and activations are of that type; pixels are normalised and maps
    are pooled into features in fp32. fp32 means fp32: on CUDA, convolutions and products are kept from TF32, for which
    a setting of the whole process is changed.

    Parameters
    ----------
    module : FrozenFeatures
        Changed in place: moved to the device, its model cast to the precision and laid out channels last.
    device : str
    precision : Precision
    """

    def __init__(self, module: FrozenFeatures, device: str, precision: Precision) -> None:
        model: Any = module.model
        model.to(dtype=DTYPES[precision], memory_format=torch.channels_last)
        module.dtype = DTYPES[precision]
        module.to(device)
        self.module = module
        self._device = torch.device(device)
        self._of_thread = threading.local()
        if self._device.type == "cuda" and precision == "fp32":
            # The older of torch's two interfaces: after the newer one, reading the older raises in everybody's code.
            backends: Any = torch.backends
            backends.cudnn.allow_tf32 = False
            backends.cuda.matmul.allow_tf32 = False

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (n, d), of pixels, uint8 (n, 3, height, width).

        Raises
        ------
        MemoryError
            The device has no room for so many images at once.
        """
        try:
            with torch.inference_mode():
                if self._device.type == "cuda":
                    return self._on_cuda(pixels)
                return self._on_cpu(pixels) if self._device.type == "cpu" else self._elsewhere(pixels)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error).splitlines()[0]) from error
        except RuntimeError as error:
            if "allocate memory" not in str(error):  # what torch's allocator for CPUs says, without a type of its own
                raise
            raise MemoryError(str(error).splitlines()[0]) from error

    def _on_cpu(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.module(_as_tensor(pixels).contiguous(memory_format=torch.channels_last)).numpy()

    def _elsewhere(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Copy, run and copy back, on a device whose streams and pinned memory nobody here has measured."""
        images = _as_tensor(pixels).to(self._device).contiguous(memory_format=torch.channels_last)
        return self.module(images).cpu().numpy()

    def _on_cuda(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Copy, run and copy back on the calling thread's own stream, so that threads overlap.

        When it returns the stream is done: `pixels` may be written to again.
        """
        if not hasattr(self._of_thread, "stream"):
            self._of_thread.stream = torch.cuda.Stream(self._device)
        with torch.cuda.stream(self._of_thread.stream):
            images = _as_tensor(pixels)
            if not images.is_pinned():  # the last batch, filled up, or one that was made elsewhere
                room = torch.empty(images.shape, dtype=torch.uint8, memory_format=torch.channels_last, pin_memory=True)
                images = room.copy_(images)
            there = images.to(self._device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            features = self.module(there)
            landed = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
            landed.copy_(features, non_blocking=True)
            self._of_thread.stream.synchronize()
            return landed.numpy()


def pinned(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return an array in memory that a GPU reads by itself, beside whatever else it does."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()


def _as_tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """See an array as a tensor, or copy one that is read-only or runs backwards: torch knows no such tensors."""
    if not pixels.flags.writeable or min(pixels.strides) < 0:
        pixels = pixels.copy(order="K")
    return torch.from_numpy(pixels)  # pyright: ignore[reportUnknownMemberType]
