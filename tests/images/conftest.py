from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]


@pytest.fixture
def photo() -> Image.Image:
    """An RGB picture of 64 x 48 pixels without any symmetry."""
    y, x = np.mgrid[:48, :64]
    noise = np.random.default_rng(0).integers(0, 16, (48, 64, 3))
    return Image.fromarray((np.stack([x * 3, y * 4, x + y], axis=-1) + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture
def encode() -> Encode:
    """Encode an image: ``encode(image, "PNG", **options)``."""

    def encode(image: Image.Image, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


def pillow_rgb(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture
def reference() -> Callable[[bytes], np.ndarray]:
    """What timm sees: ``PIL.Image.open(...).convert("RGB")``."""
    return pillow_rgb
