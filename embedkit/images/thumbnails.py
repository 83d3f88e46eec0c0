"""Small JPEGs of images, for pages that people look at. Never for features.

Layer: images; above decoding and reading.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from embedkit.errors import ImageError
from embedkit.files import INFLATING
from embedkit.images.decoding import decode, to_rgb
from embedkit.images.reading import ImageRef, is_encoded, read_bytes
from embedkit.specs import DecodeSpec

SIDE = 72
"""Pixels of the longer side, where nothing else is asked for."""

_SPEC = DecodeSpec()
_QUALITY = 60
_THREADS = 4


def thumbnails_of(images: Iterable[tuple[str, ImageRef]], side: int = SIDE) -> dict[str, bytes]:
    """Make small JPEGs by key; images that cannot be read are left out.

    Parameters
    ----------
    images : iterable of (key, image)
    side : int
        Pixels of the longer side.

    Returns
    -------
    dict of str to bytes
        About two kilobytes each at 72 pixels.
    """
    listed = list(images)
    with ThreadPoolExecutor(_THREADS) as threads:
        made = threads.map(_thumbnail, (image for _, image in listed), [side] * len(listed))
        return {key: data for (key, _), data in zip(listed, made, strict=True) if data is not None}


def _thumbnail(image: ImageRef, side: int) -> bytes | None:
    with INFLATING.hold():
        return _made_small(image, side)


def _made_small(image: ImageRef, side: int) -> bytes | None:
    try:
        if is_encoded(image):
            pixels = decode(read_bytes(image), _SPEC, lambda height, width: _at_most(height, width, side))
        else:
            pixels = to_rgb(image, _SPEC)
    except ImageError:
        return None
    small = Image.fromarray(pixels)
    small.thumbnail((side, side))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=_QUALITY, optimize=True)
    return written.getvalue()


def _at_most(height: int, width: int, side: int) -> tuple[int, int]:
    scale = side / max(height, width, side)
    return max(1, round(height * scale)), max(1, round(width * scale))
