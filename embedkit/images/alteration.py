"""Copies of an image as they come about: encoded again, smaller, or cropped. For checks of what finds them.

Layer: images; above decoding and reading.
"""

from __future__ import annotations

import io
from typing import Literal

from PIL import Image

from embedkit.images.decoding import decode, to_rgb
from embedkit.images.reading import ImageRef, is_encoded, read_bytes
from embedkit.specs import DecodeSpec

Alteration = Literal["re-encoded", "half size", "cropped"]
ALTERATIONS: tuple[Alteration, ...] = ("re-encoded", "half size", "cropped")

_SPEC = DecodeSpec()
_QUALITY, _CROP = 75, 0.05


def altered(image: ImageRef, how: Alteration) -> bytes:
    """Return an image as a JPEG: of quality 75, of half its size, or without 5 % of its width and height.

    Raises
    ------
    ImageError
        The image cannot be read.
    """
    pixels = decode(read_bytes(image), _SPEC) if is_encoded(image) else to_rgb(image, _SPEC)
    picture = Image.fromarray(pixels)
    width, height = picture.size
    quality = _QUALITY if how == "re-encoded" else 92
    if how == "half size":
        picture = picture.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BICUBIC)
    elif how == "cropped":
        left, top = round(width * _CROP / 2), round(height * _CROP / 2)
        picture = picture.crop((left, top, width - left, height - top))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=quality)
    return written.getvalue()
