"""Small JPEGs of images, for pages that people look at. Never for features.

Layer: images; above decoding and reading.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from embedkit.errors import ImageError
from embedkit.images.decoding import decode, to_rgb
from embedkit.images.reading import ImageRef, is_encoded, read_bytes
from embedkit.specs import DecodeSpec

SIDE = 72
"""Pixels of the longer side."""

_SPEC = DecodeSpec()
_QUALITY = 60
_THREADS = 4


def thumbnails_of(images: Iterable[tuple[str, ImageRef]]) -> dict[str, bytes]:
    """Make small JPEGs by key; images that cannot be read are left out.

    Parameters
    ----------
    images : iterable of (key, image)

    Returns
    -------
    dict of str to bytes
        About two kilobytes each.
    """
    listed = list(images)
    with ThreadPoolExecutor(_THREADS) as threads:
        made = threads.map(_thumbnail, (image for _, image in listed))
        return {key: data for (key, _), data in zip(listed, made, strict=True) if data is not None}


def _thumbnail(image: ImageRef) -> bytes | None:
    try:
        pixels = decode(read_bytes(image), _SPEC, _at_most) if is_encoded(image) else to_rgb(image, _SPEC)
    except ImageError:
        return None
    small = Image.fromarray(pixels)
    small.thumbnail((SIDE, SIDE))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=_QUALITY, optimize=True)
    return written.getvalue()


def _at_most(height: int, width: int) -> tuple[int, int]:
    scale = SIDE / max(height, width, SIDE)
    return max(1, round(height * scale)), max(1, round(width * scale))
