"""JPEGs by simplejpeg, which decodes to the same pixels as Pillow in two thirds of the time, and at reduced scale.

libjpeg can leave out the high frequencies of every 8 x 8 block and so decode to 1/2, 1/4 or 1/8 of the size at a
fraction of the cost (scaled DCT). How far that may go is the business of `DecodeSpec.scale`.

Layer: images. simplejpeg and NumPy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import simplejpeg

from embedkit.errors import UndecodableImageError
from embedkit.files import INFLATING
from embedkit.images.exif import apply_orientation, jpeg_orientation
from embedkit.images.limits import Limits

TargetSize = Callable[[int, int], tuple[int, int]]
"""(height, width) of an upright image -> (height, width) that the resize will ask for."""

# Each scan of a progressive JPEG passes over the whole image. Encoders write about ten; a file of many thousand empty
# scans is an attack on the time ("Two Issues with the JPEG Standard", libjpeg-turbo project).
_MAX_SCANS = 100
_START_OF_SCAN = b"\xff\xda"
_FEW_BYTES = 4096
_COUNTED_BYTES = 1 << 20
"""At once: what comparing them takes beside them stays small."""
# libjpeg reduces to eighths and simplejpeg names the one it wants by the size that comes out. From a side of eight
# pixels on, no two of them give the same size.
_BLOCK = 8
_BYTES_A_PIXEL = 6  # twice RGB, where it has to be turned upright


def decode_with_simplejpeg(
    data: bytes, scale: int, target: TargetSize | None, limits: Limits
) -> npt.NDArray[np.uint8] | None:
    """Decode a JPEG to upright RGB, uint8 (h, w, 3); None for one that Pillow has to judge.

    Those are JPEGs in other colours than YCbCr and grey, which simplejpeg converts in its own way, and damaged ones.
    """
    try:
        header = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    height, width, colours = int(header[0]), int(header[1]), header[2]
    if colours not in ("YCbCr", "Gray"):
        return None
    limits.check(width, height)
    orientation = jpeg_orientation(data)
    factor = scale_factor(height, width, orientation, scale, target)
    INFLATING.take(_BYTES_A_PIXEL * (height // factor) * (width // factor))
    try:
        pixels = simplejpeg.decode_jpeg(
            data,
            "RGB",
            min_height=-(-height // factor),
            min_width=-(-width // factor),
            min_factor=factor,
        )
    except ValueError:
        return None
    return apply_orientation(pixels, orientation)


def scale_factor(height: int, width: int, orientation: int, scale: int, target: TargetSize | None) -> int:
    """Return by how much a JPEG may be reduced while it is decoded: 8, 4, 2 or 1.

    Parameters
    ----------
    height, width : int
        As stored, before the orientation is applied.
    orientation : int
        1 to 8; from 5 on, height and width change places.
    scale : int
        `DecodeSpec.scale`: 0 for never; else each side stays at least this many times the side that `target` names.
    """
    if not scale or target is None or min(height, width) < _BLOCK:
        return 1
    if orientation >= 5:
        height, width = width, height
    wanted_height, wanted_width = target(height, width)
    for factor in (8, 4, 2):
        # libjpeg rounds the reduced size up.
        if -(-height // factor) >= scale * wanted_height and -(-width // factor) >= scale * wanted_width:
            return factor
    return 1


def check_scans(data: bytes) -> None:
    """Raise UndecodableImageError for a JPEG that would be passed over too often."""
    scans = data.count(_START_OF_SCAN) if len(data) <= _FEW_BYTES else _count_scans(data)
    if scans > _MAX_SCANS:
        raise UndecodableImageError(f"JPEG of {scans} scans (limit {_MAX_SCANS})")


def _count_scans(data: bytes) -> int:
    # `bytes.count` keeps the interpreter's lock, a millisecond a megabyte; NumPy is faster and gives it up.
    content = np.frombuffer(data, np.uint8)
    scans = 0
    for start in range(0, len(content), _COUNTED_BYTES):
        marks = content[start : start + _COUNTED_BYTES] == _START_OF_SCAN[0]
        kinds = content[start + 1 : start + 1 + _COUNTED_BYTES] == _START_OF_SCAN[1]
        scans += int(np.count_nonzero(marks[: len(kinds)] & kinds))
    return scans
