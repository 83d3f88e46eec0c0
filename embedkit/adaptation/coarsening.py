"""Images at a lower resolution: made smaller, and as large as before again.

Layer: adaptation. Imports torch.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

SIDES = (0.2, 0.7)
"""Of the smaller image, as a share of the larger one's; the logarithm is drawn evenly."""

Pixels = npt.NDArray[np.uint8]


def coarsened(pixels: Pixels, share: float, draws: np.random.Generator) -> Pixels:
    """Show some images as a smaller camera, or a smaller file, would have.

    Parameters
    ----------
    pixels : uint8 (n, H, W, 3)
    share : float
        Of images, drawn one by one, from 0 to 1.
    draws : numpy.random.Generator
    """
    if not share:
        return pixels
    shown = np.array(pixels)
    for row in np.flatnonzero(draws.random(len(pixels)) < share).tolist():
        side = math.exp(float(draws.uniform(math.log(SIDES[0]), math.log(SIDES[1]))))
        shown[row] = _smaller(shown[row], side)
    return shown


def _smaller(image: Pixels, side: float) -> Pixels:
    height, width = image.shape[:2]
    size = (max(1, round(side * height)), max(1, round(side * width)))
    whole: Tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()  # pyright: ignore[reportUnknownMemberType]
    small = functional.interpolate(whole, size=size, mode="area")
    large = functional.interpolate(small, size=(height, width), mode="bicubic", align_corners=False)
    return large[0].clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
