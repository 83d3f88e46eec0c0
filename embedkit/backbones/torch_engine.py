"""The torch engine: runs a frozen module on a device in a precision.

Layer: backbones. Imports torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.backbones.devices import DTYPES
from embedkit.backbones.features import FrozenFeatures
from embedkit.specs import Precision


class TorchEngine:
    """Run a frozen module.

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

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features, float32 (n, width), of pixels, uint8 (n, 3, height, width)."""
        with torch.inference_mode():
            batch = torch.from_numpy(pixels)  # pyright: ignore[reportUnknownMemberType]
            batch = batch.contiguous(memory_format=torch.channels_last).to(self._device)
            features = self.module(batch)
            return features.cpu().numpy()
