"""Any mode of image to RGB, by the policies of `DecodeSpec`.

Transparency is laid over white. 16-bit samples are scaled by 255 / 65535 and rounded. Palettes, grey, bilevel, CMYK and
YCbCr are converted by Pillow; ICC profiles are ignored, as by timm. Samples without a stated range (32-bit integers,
floats in files) are refused: whatever range were guessed, some images would turn white or black without a word.

Layer: images. Pillow and NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedkit.errors import UndecodableImageError
from embedkit.images.notices import say_once
from embedkit.images.tiff import grey_range

_TWELVE_BITS = 4095
_WHITE = (255, 255, 255)
# Formats whose 32-bit mode "I" holds 16-bit samples.
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")


def image_to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the pixels of a Pillow image as RGB, uint8 (h, w, 3).

    Raises
    ------
    UndecodableImageError
        A mode without a stated range, or one that Pillow cannot convert to RGB.
    """
    image.load()
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.array(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BIT_FORMATS):
        return _sixteen_bit_grey(image)
    if image.mode in ("I", "F"):
        grey_range(image)
        kind = "32-bit integers" if image.mode == "I" else "floats"
        raise UndecodableImageError(f"grey values are {kind} without a stated range: save the image with 8 or 16 bits")
    if image.has_transparency_data:
        return np.array(_over_white(image))
    try:
        return np.array(image.convert("RGB"))
    except ValueError as error:
        raise UndecodableImageError(f"colour mode {image.mode} cannot be turned into RGB") from error


def array_to_rgb(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return an array in memory as RGB, uint8 (h, w, 3).

    Parameters
    ----------
    array : ndarray of shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)
        Grey, RGB, or RGB and opacity: bool, uint8, uint16 (0 to 65535) or floats in [0, 1].

    Raises
    ------
    UndecodableImageError
        Another shape, another type, or floats outside [0, 1].
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise UndecodableImageError(f"array of shape {array.shape}, expected (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)")
    if not array.size:
        raise UndecodableImageError(f"array without pixels, of shape {array.shape}")
    eight = _eight_bit(array)
    if eight.ndim == 2:
        eight = eight[:, :, None]
    if eight.shape[2] == 4:
        return np.array(_over_white(Image.fromarray(np.ascontiguousarray(eight), "RGBA")))
    if eight.shape[2] == 1:
        eight = np.repeat(eight, 3, axis=2)
    return np.ascontiguousarray(eight)


def in_range(floats: npt.NDArray[Any]) -> bool:
    """Say whether all floats, one at least, are in [0, 1]: above 1 by rounding alone is 1, and NaN is outside."""
    return bool(floats.min() >= 0 and floats.max() <= 1 + 1e-6)


def _eight_bit(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return _scaled(array)
    if array.dtype.kind != "f":
        raise UndecodableImageError(f"array of {array.dtype}, expected bool, uint8, uint16 or floats in [0, 1]")
    if not in_range(array):
        raise UndecodableImageError(f"floats from {array.min():g} to {array.max():g}, expected [0, 1]")
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)


def _scaled(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    # 255 / 65535 = 1 / 257; 257 is odd, so that adding 128 before the division rounds to the nearest.
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _sixteen_bit_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    samples = np.asarray(image)
    if samples.dtype.kind == "i" and samples.size and not (samples.min() >= 0 and samples.max() <= 65535):
        raise UndecodableImageError("grey values outside 0 to 65535 in a 16-bit image")
    largest, inverted = grey_range(image)
    if largest == _TWELVE_BITS:
        samples = np.minimum(samples, largest)
        grey = ((samples.astype(np.uint32) * 255 + largest // 2) // largest).astype(np.uint8)
    else:
        grey = _scaled(samples)
        if samples.size and not inverted and 255 < samples.max() <= _TWELVE_BITS:
            say_once(
                "a grey image of 16 bits holds no value above 4095: if such files hold 12 bits, they come out nearly "
                "black; save them with the full range of 16 bits, or with 8"
            )
    if inverted:
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[samples == transparent] = 255
    return np.repeat(grey[:, :, None], 3, axis=2)


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    flat = Image.new("RGB", rgba.size, _WHITE)
    flat.paste(rgba, mask=rgba.getchannel("A"))
    return flat
