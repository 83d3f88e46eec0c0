"""How large an image may claim to be.

Layer: images. Errors only.
"""

from __future__ import annotations

from dataclasses import dataclass

from embedkit.errors import UndecodableImageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that are checked on the header, before any pixel is decoded.

    Parameters
    ----------
    max_pixels : int
        Width times height. The default is the size above which Pillow refuses an image: half a gigabyte of RGB.
        With a larger one, TIFF and GIF are still held to ``2 * PIL.Image.MAX_IMAGE_PIXELS``, by Pillow itself.
    max_aspect : float
        The long side over the short side. A strip of 1 x 5,000 pixels is a small file and, with its short side
        resized to 256, an image of a gigabyte.
    """

    max_pixels: int = 178_956_970
    max_aspect: float = 200.0

    def check(self, width: int, height: int) -> None:
        """Raise UndecodableImageError for an image that is empty, too large or too long."""
        if width < 1 or height < 1:
            raise UndecodableImageError(f"no pixels: {width} x {height}")
        if width * height > self.max_pixels:
            raise UndecodableImageError(f"too many pixels: {width} x {height} (limit {self.max_pixels:,} in all)")
        if max(width, height) > self.max_aspect * min(width, height):
            raise UndecodableImageError(f"too long and thin: {width} x {height} (limit {self.max_aspect:g} to 1)")
