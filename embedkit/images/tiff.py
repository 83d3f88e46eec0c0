"""What the tags of a TIFF say about its pixels, where Pillow reads the first page and no more.

Tags by TIFF 6.0 and DNG 1.7.1.

Layer: images. Pillow only.
"""

from __future__ import annotations

import struct
from typing import Any, cast

from PIL import Image

from embedkit.errors import UndecodableImageError
from embedkit.images.notices import say_once

_SUBFILE_TYPE, _WIDTH, _LENGTH, _BITS, _PHOTOMETRIC, _SUB_IFDS, _SAMPLE_FORMAT = 254, 256, 257, 258, 262, 330, 339
_DNG_VERSION = 50706
_REDUCED = 1  # bit of NewSubfileType: a smaller version of another page
_WHITE_IS_ZERO = 0
_SIGNED = 2


def check_pages(image: Image.Image, data: bytes) -> None:
    """Refuse a TIFF whose first page is not its image, as in the raw files of cameras; say that others are not read.

    Raises
    ------
    UndecodableImageError
    """
    tags = _tags(image)
    if _DNG_VERSION in tags or data[8:10] == b"CR":
        raise UndecodableImageError("a camera raw file, whose first page is a thumbnail: convert it to JPEG or PNG")
    if int(tags.get(_SUBFILE_TYPE, 0)) & _REDUCED or _largest_below(tags, data) > image.width * image.height:
        raise UndecodableImageError(
            "its first page is a smaller version of another page, as in the raw files of cameras: convert it to JPEG "
            "or PNG"
        )
    if getattr(tags, "next", 0):
        say_once("a TIFF holds several pages: of such files only the first page is read")


def grey_range(image: Image.Image) -> tuple[int, bool]:
    """Return the largest grey value that 16-bit samples can have, and whether it is black.

    Raises
    ------
    UndecodableImageError
        The samples are signed: nothing says which of them is black.
    """
    if image.format != "TIFF":
        return 65535, False
    tags = _tags(image)
    if _first(tags, _SAMPLE_FORMAT, 1) == _SIGNED and _first(tags, _BITS, 1) == 16:
        raise UndecodableImageError("grey values are signed 16-bit integers without a stated range: save it unsigned")
    bits = _first(tags, _BITS, 16)
    return (1 << bits) - 1 if bits in (12, 16) else 65535, _first(tags, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO


def _tags(image: Image.Image) -> Any:
    return cast(Any, image).tag_v2 if hasattr(image, "tag_v2") else {}


def _first(tags: Any, tag: int, default: int) -> int:
    value: Any = tags.get(tag, default)
    return int(cast("tuple[Any, ...]", value)[0] if isinstance(value, tuple) else value)


def _largest_below(tags: Any, data: bytes) -> int:
    """Return how many pixels the largest of the directories below the first one has; 0 where there is none."""
    found: Any = tags.get(_SUB_IFDS, ())
    offsets = cast("tuple[Any, ...]", found if isinstance(found, tuple) else (found,))
    return max((_pixels(data, offset) for offset in offsets[:16] if isinstance(offset, int)), default=0)


def _pixels(data: bytes, directory: int) -> int:
    order = "<" if data[:2] == b"II" else ">"
    sides = {_WIDTH: 0, _LENGTH: 0}
    try:
        (count,) = struct.unpack_from(order + "H", data, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, _ = struct.unpack_from(order + "HHI", data, entry)
            if tag in sides and kind in (3, 4):
                (sides[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    except struct.error:
        return 0
    return sides[_WIDTH] * sides[_LENGTH]
