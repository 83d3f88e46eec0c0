"""What an image is, whatever it is called: digests of encoded bytes and of pixels in memory.

Layer: images. Pillow and NumPy.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedkit.errors import UndecodableImageError, UnreadableImageError
from embedkit.images.exif import image_orientation
from embedkit.images.quiet import quiet

_PIXELS = b"embedkit pixels 1\x00"
# The mode under which an array of such a number of channels is the same image as Pillow's.
_ARRAY_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def digest_bytes(data: bytes) -> bytes:
    """Return the identity of a file: SHA-256 of its encoded bytes, 32 bytes."""
    return hashlib.sha256(data).digest()


def digest_pixels(image: Image.Image | npt.NDArray[Any]) -> bytes:
    """Return the identity of an image in memory, 32 bytes.

    SHA-256 of a prefix, a header (mode, shape, dtype, palette, transparency, EXIF orientation; canonical JSON, with its
    length in front) and the samples, row by row and little endian. A uint8 array (h, w, 3) and an RGB image of
    the same pixels are the same image.

    Raises
    ------
    UndecodableImageError
        A lazily opened image that turns out to be damaged; an array that holds objects.
    """
    if isinstance(image, Image.Image):
        header, samples = _image_parts(image)
    else:
        header, samples = _array_parts(image)
    if samples.dtype.hasobject:
        raise UndecodableImageError(f"array of {samples.dtype}, expected numbers")
    samples = np.ascontiguousarray(samples, dtype=samples.dtype.newbyteorder("<"))
    text = json.dumps(
        {**header, "shape": list(samples.shape), "dtype": samples.dtype.str}, sort_keys=True, separators=(",", ":")
    ).encode("ascii")
    digest = hashlib.sha256(_PIXELS + len(text).to_bytes(8, "little") + text)
    digest.update(samples.data if samples.size else b"")
    return digest.digest()


def _array_parts(array: npt.NDArray[Any]) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    mode = _ARRAY_MODES.get(channels, "") if array.dtype == np.uint8 else ""
    return {"mode": mode, "palette": None, "transparency": None, "orientation": 1}, array


def _image_parts(image: Image.Image) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    try:
        with quiet():
            image.load()
            samples = np.asarray(image)
    except MemoryError as error:
        raise UnreadableImageError("not enough memory to decode this image") from error
    except Exception as error:
        raise UndecodableImageError(f"damaged {image.format or 'image'}") from error
    palette = image.palette
    header = {
        "mode": image.mode,
        "palette": None if palette is None else [palette.mode, bytes(palette.palette).hex()],
        "transparency": _plain(image.info.get("transparency")),
        "orientation": image_orientation(image),
    }
    return header, samples


def _plain(transparency: Any) -> Any:
    """Return Pillow's transparency (None, an int, bytes or a tuple) as JSON has it."""
    return transparency.hex() if isinstance(transparency, bytes) else transparency
