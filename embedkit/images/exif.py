"""The EXIF orientation of an image, and pixels turned the way it says.

Only the EXIF tag counts; XMP is not read. A block that cannot be understood counts as none, as in every viewer.

Layer: images. Pillow and NumPy.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

_PREFIX = b"Exif\x00\x00"
_ORIENTATION = 0x0112
_SHORT, _LONG = 3, 4
_ENDS = frozenset({0xD9, 0xDA})
"""Markers after which there is no more to know: end of image, start of scan."""
_BARE = _ENDS | {0x00, 0x01, *range(0xD0, 0xD9)}
"""Markers that no length follows."""


def jpeg_orientation(data: bytes) -> int:
    """Return the EXIF orientation (1 to 8) that a JPEG states; 1 where it states none.

    The marker segments are walked up to the first scan, as ITU-T T.81, annex B, lays them out.
    """
    at, last = 2, len(data) - 4
    while at <= last:
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # junk between segments, which decoders skip, or a fill byte
            at += 1
        elif marker not in _BARE:
            length = data[at + 2] << 8 | data[at + 3]
            if marker == 0xE1 and data[at + 4 : at + 10] == _PREFIX:
                return exif_orientation(data[at + 4 : at + 2 + length])
            at += 2 + length if length > 2 else 4
        elif marker in _ENDS:
            break
        else:
            at += 2
    return 1


def exif_orientation(block: bytes) -> int:
    """Return the orientation (1 to 8) in an EXIF block, with or without its ``Exif`` prefix; 1 where there is none.

    The block is a TIFF header and a first directory of 12-byte entries (Exif 2.32, section 4.5).
    """
    tiff = block[len(_PREFIX) :] if block.startswith(_PREFIX) else block
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, n = struct.unpack_from(order + "HHI", tiff, entry)
            if tag == _ORIENTATION and n == 1 and kind in (_SHORT, _LONG):
                (value,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), tiff, entry + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def image_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a loaded Pillow image; a TIFF has none left, Pillow has turned it."""
    block = image.info.get("exif") or _block_in_text(image.info.get("Raw profile type exif"))
    return exif_orientation(block) if isinstance(block, bytes) else 1


def _block_in_text(text: object) -> bytes | None:
    """Return the EXIF block in a text chunk of a PNG, as ImageMagick wrote it: a name, a length, hexadecimal digits."""
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.strip().split("\n")[2:]))
    except ValueError:
        return None


def apply_orientation(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Turn and mirror pixels (h, w, 3) the way an EXIF orientation says; contiguous."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
