"""Random views of an image, drawn by its digest: the same on every machine, whatever is drawn beside it.

A part of 40 to 100 % of the area with sides in a ratio of 3/4 to 4/3, half of them mirrored, brightness, contrast and
saturation changed by up to a fifth, in this order. The arithmetic is that of ``RandomResizedCrop`` and ``ColorJitter``
of torchvision 0.20, which timm's training transforms follow; there the order of the three changes is drawn too.

Layer: preprocess. Imports numpy alone.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AREA = (0.4, 1.0)
RATIO = (3 / 4, 4 / 3)
JITTER = 0.2
_TRIES = 10

_GREY = np.array([0.2989, 0.587, 0.114], np.float32)
"""Weights of ITU-R BT.601, as torchvision has them."""


@dataclass(frozen=True, slots=True)
class View:
    """What was drawn.

    Attributes
    ----------
    parts : tuple of (float, float)
        Area, as a share, and ratio of width to height of the parts that are tried, in order.
    place : (float, float)
        Where the part lies, from 0 (top, left) to 1 (bottom, right).
    flipped : bool
    brightness, contrast, saturation : float
        Factors.
    """

    parts: tuple[tuple[float, float], ...]
    place: tuple[float, float]
    flipped: bool
    brightness: float
    contrast: float
    saturation: float

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return top, left, height and width of the part of an image in pixels.

        The first that fits; if none does, the largest in the middle whose ratio is allowed.
        """
        for share, ratio in self.parts:
            area = share * height * width
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(self.place[0] * (height - h + 1)), int(self.place[1] * (width - w + 1)), h, w
        w = max(1, min(width, round(height * RATIO[1])))
        h = max(1, min(height, round(width / RATIO[0])))
        return (height - h) // 2, (width - w) // 2, h, w

    def coloured(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Change brightness, contrast and saturation of pixels, uint8 (h, w, 3)."""
        changed = np.minimum(pixels * np.float32(self.brightness), 255)
        mean = (changed @ _GREY).mean()
        changed = np.clip(changed * np.float32(self.contrast) + np.float32(1 - self.contrast) * mean, 0, 255)
        grey = (changed @ _GREY)[..., None]
        changed = np.clip(changed * np.float32(self.saturation) + np.float32(1 - self.saturation) * grey, 0, 255)
        return np.rint(changed).astype(np.uint8)


def draw_view(digest: bytes, number: int, seed: int) -> View:
    """Draw the view of an image.

    Parameters
    ----------
    digest : bytes
        The image's.
    number : int
        Of the view, from 1 on.
    seed : int
    """
    key = hashlib.sha256(digest + f"view {number} seed {seed}".encode()).digest()
    draws = random.Random(int.from_bytes(key, "big"))  # its `random` gives the same numbers in every version of Python

    def between(low: float, high: float) -> float:
        return low + (high - low) * draws.random()

    parts = tuple((between(*AREA), math.exp(between(*map(math.log, RATIO)))) for _ in range(_TRIES))
    return View(
        parts=parts,
        place=(draws.random(), draws.random()),
        flipped=draws.random() < 0.5,
        brightness=between(1 - JITTER, 1 + JITTER),
        contrast=between(1 - JITTER, 1 + JITTER),
        saturation=between(1 - JITTER, 1 + JITTER),
    )
