"""Encoded bytes, or an image in memory, to upright RGB pixels.

Pillow decides what is an image: simplejpeg only takes over the JPEGs that both decode to the same pixels. One decoder
plugin is chosen by the first bytes of the data, never by a file's name, and no other parser of Pillow sees them.

For ordinary files (RGB or grey JPEG, PNG, ...) the result equals ``PIL.Image.open(...).convert("RGB")`` bit for bit.
Where that would be wrong, a policy of `DecodeSpec` holds: EXIF orientation applied, transparency over white, 16 bits
scaled to 8. Of an animation the first frame counts.

Everything here may be called from many threads. One that has opened `INFLATING.hold` waits until there is room for the
pixels, and has it until it closes that again.

Layer: images. Pillow, simplejpeg and NumPy.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import (
    # Importing a plugin registers it; otherwise the first odd file would make Pillow import all forty.
    BmpImagePlugin,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    GifImagePlugin,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    PngImagePlugin,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    PpmImagePlugin,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    TiffImagePlugin,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    WebPImagePlugin,  # noqa: F401  # pyright: ignore[reportUnusedImport]
)

from embedkit.errors import ImageError, UndecodableImageError, UnreadableImageError, UsageError
from embedkit.files import INFLATING
from embedkit.images.exif import apply_orientation, image_orientation, jpeg_orientation
from embedkit.images.jpeg import TargetSize, check_scans, decode_with_simplejpeg, scale_factor
from embedkit.images.kinds import HEAD_BYTES, foreign_format, format_of
from embedkit.images.limits import Limits
from embedkit.images.modes import array_to_rgb, image_to_rgb
from embedkit.images.quiet import quiet
from embedkit.images.tiff import check_pages
from embedkit.specs import DecodeSpec

DEFAULT_LIMITS = Limits()

_BYTES_A_PIXEL = 11
"""That Pillow's copies and ours take together, at the most of them."""


def decode(
    data: bytes, spec: DecodeSpec, target: TargetSize | None = None, limits: Limits = DEFAULT_LIMITS
) -> npt.NDArray[np.uint8]:
    """Decode the bytes of an image file to upright RGB.

    Parameters
    ----------
    data : bytes
        JPEG, PNG, WebP, GIF, TIFF, BMP or PNM.
    spec : DecodeSpec
    target : callable, optional
        (height, width) -> (height, width) that the resize will ask for; allows a JPEG to be decoded at a reduced scale,
        as `spec.scale` says.
    limits : Limits

    Returns
    -------
    ndarray of shape (h, w, 3), uint8

    Raises
    ------
    UndecodableImageError
        The bytes are no image that embedkit accepts. The message is a short reason without a path, the same each time.
    UnreadableImageError
        There was not enough memory; a later run may have it.
    UsageError
        ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set, with which Pillow makes up what a truncated file lacks.
    """
    if not data:
        raise UndecodableImageError("empty file")
    kind = format_of(data[:HEAD_BYTES])
    if kind is None:
        raise UndecodableImageError(_unknown(data))
    try:
        if kind == "JPEG":
            check_scans(data)
            if spec.decoder == "simplejpeg":
                pixels = decode_with_simplejpeg(data, spec.scale, target, limits)
                if pixels is not None:
                    return pixels
        return _decode_with_pillow(data, kind, spec.scale, target, limits)
    except (ImageError, UsageError):
        raise
    except Exception as error:
        raise _reason(kind, error) from error


def to_rgb(
    image: Image.Image | npt.NDArray[Any], spec: DecodeSpec, limits: Limits = DEFAULT_LIMITS
) -> npt.NDArray[np.uint8]:
    """Return an image in memory as upright RGB, by the policies of `decode`.

    Parameters
    ----------
    image : PIL.Image.Image or ndarray
        Arrays of shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4): bool, uint8, uint16, or floats in [0, 1].
    spec : DecodeSpec
        The policies; so far there is one of each kind.
    limits : Limits

    Returns
    -------
    ndarray of shape (h, w, 3), uint8

    Raises
    ------
    UndecodableImageError
        Another shape, type or range; a lazily opened image that turns out to be damaged.
    UnreadableImageError
        There was not enough memory.
    """
    if isinstance(image, Image.Image):
        _refuse_invention()
        limits.check(*image.size)
        try:
            with quiet():
                return apply_orientation(image_to_rgb(image), image_orientation(image))
        except (ImageError, UsageError):
            raise
        except Exception as error:
            raise _reason(image.format or "image", error) from error
    if 2 <= image.ndim <= 3:
        limits.check(image.shape[1], image.shape[0])
    try:
        return array_to_rgb(image)
    except (ImageError, UsageError):
        raise
    except Exception as error:
        raise _reason("array", error) from error


def _decode_with_pillow(
    data: bytes, kind: str, scale: int, target: TargetSize | None, limits: Limits
) -> npt.NDArray[np.uint8]:
    _refuse_invention()
    # Not Image.open: it would raise or warn about large images before their size can be asked for.
    plugin, _ = Image.OPEN[kind]
    with quiet(), plugin(io.BytesIO(data), "") as image:
        width, height = image.size
        limits.check(width, height)
        INFLATING.take(_BYTES_A_PIXEL * width * height)
        if kind != "JPEG":
            if kind == "TIFF":
                check_pages(image, data)
            pixels = image_to_rgb(image)
            return apply_orientation(pixels, image_orientation(image))
        orientation = jpeg_orientation(data)
        factor = scale_factor(height, width, orientation, scale, target)
        if factor > 1:
            image.draft(None, (width // factor, height // factor))
        return apply_orientation(image_to_rgb(image), orientation)


def _refuse_invention() -> None:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise UsageError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, expected False: with it Pillow makes up the missing part of "
            "truncated images; unset it, and embedkit lists such images as failures"
        )


def _unknown(data: bytes) -> str:
    foreign = foreign_format(data[:HEAD_BYTES])
    if foreign is not None:
        return f"not an image that embedkit reads: {foreign}; convert it to JPEG or PNG"
    return "not an image: no JPEG, PNG, WebP, GIF, TIFF, BMP or PNM signature"


def _reason(kind: str, error: Exception) -> ImageError:
    """Turn whatever a decoder raises about damaged data into a reason; Pillow raises almost every class there is."""
    if isinstance(error, MemoryError):
        return UnreadableImageError(f"not enough memory to decode this {kind}")
    if isinstance(error, Image.DecompressionBombError):
        return UndecodableImageError("too many pixels for PIL.Image.MAX_IMAGE_PIXELS")
    if isinstance(error, (OSError, SyntaxError, ValueError)):  # what Pillow raises on purpose
        text = " ".join(str(error).split())[:100]
        if any(word in text.lower() for word in ("truncated", "eof", "not enough")):
            return UndecodableImageError(f"truncated {kind}")
        printable = "".join(letter if letter.isprintable() else "?" for letter in text)
        return UndecodableImageError(f"damaged {kind}: {printable or type(error).__name__}")
    # What its plugins stumble into: struct.error, IndexError, ZeroDivisionError, ...
    return UndecodableImageError(f"damaged {kind} ({type(error).__name__})")
