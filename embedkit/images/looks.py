"""What images look like, in a few numbers each: sizes, brightness, file type, camera, and whether a part is missing.

Each image is read once and decoded at the size of a thumbnail. Never for features.

Layer: images; above decoding, reading and thumbnails.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedkit.errors import ImageError
from embedkit.files import INFLATING
from embedkit.images.decoding import decode, to_rgb
from embedkit.images.quiet import quiet
from embedkit.images.reading import ImageRef, is_encoded, read_bytes
from embedkit.specs import DecodeSpec

_SIDE = 64
"""Least pixels of the shorter side that is decoded."""

_SPEC = DecodeSpec()
_THREADS = 4
_LUMA = np.array([0.299, 0.587, 0.114])
_MAKE, _MODEL = 0x010F, 0x0110
# What decoders fill the missing part of a JPEG with.
_FILL, _FILL_SLACK = 128, 2
_LEAST_FILLED = 0.04
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """One entry an image; NaN, and text that is empty, where an image could not be read.

    Attributes
    ----------
    width, height : ndarray of shape (n,), float64
        As stored; a camera's turn is not applied.
    bytes : ndarray of shape (n,), float64
        Of the encoded image; NaN for images in memory.
    brightness, contrast : ndarray of shape (n,), float64
        Mean and standard deviation of the luma, 0 to 255.
    variation : ndarray of shape (n,), float64
        The largest standard deviation of a colour channel: near 0 where there is nothing to see.
    filled : ndarray of shape (n,), float64
        The share of rows at the bottom that are of the grey that decoders fill a missing part with.
    cut : ndarray of shape (n,), bool
        The file lacks the mark at its end.
    kind : list of str
        ``"JPEG"``, ``"PNG"``, ...
    camera : list of str
        Make and model that the file names; empty where it names none.
    """

    width: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]
    bytes: npt.NDArray[np.float64]
    brightness: npt.NDArray[np.float64]
    contrast: npt.NDArray[np.float64]
    variation: npt.NDArray[np.float64]
    filled: npt.NDArray[np.float64]
    cut: npt.NDArray[np.bool_]
    kind: list[str]
    camera: list[str]

    def __len__(self) -> int:
        return len(self.kind)


def looks_of(images: Sequence[ImageRef]) -> Looks:
    """Look at each image once.

    Parameters
    ----------
    images : sequence of n images
        As of `ImageSource.images`.
    """
    with ThreadPoolExecutor(_THREADS) as threads:
        seen = list(threads.map(_look, images))
    numbers = np.array([one.numbers for one in seen], dtype=np.float64).reshape(len(seen), 7)
    return Looks(
        width=numbers[:, 0],
        height=numbers[:, 1],
        bytes=numbers[:, 2],
        brightness=numbers[:, 3],
        contrast=numbers[:, 4],
        variation=numbers[:, 5],
        filled=numbers[:, 6],
        cut=np.array([one.cut for one in seen], dtype=np.bool_),
        kind=[one.kind for one in seen],
        camera=[one.camera for one in seen],
    )


@dataclass(frozen=True, slots=True)
class _Look:
    numbers: tuple[float, ...] = (np.nan,) * 7
    cut: bool = False
    kind: str = ""
    camera: str = ""


def _look(image: ImageRef) -> _Look:
    with INFLATING.hold():
        return _look_at(image)


def _look_at(image: ImageRef) -> _Look:
    try:
        if not is_encoded(image):
            pixels = to_rgb(image, _SPEC)
            height, width = pixels.shape[:2]
            return _Look((width, height, np.nan, *_numbers(pixels)))
        data = read_bytes(image)
        pixels = decode(data, _SPEC, _at_most)
        kind, camera, width, height = _head(data)
    except ImageError:
        return _Look()
    # Some writers pad a file; a mark a little before its end is one.
    cut = kind in _ENDS and _ENDS[kind] not in data[-1024:]
    return _Look((width, height, len(data), *_numbers(pixels)), cut, kind, camera)


def _numbers(pixels: npt.NDArray[np.uint8]) -> tuple[float, float, float, float]:
    luma = pixels @ _LUMA
    near_fill = np.abs(pixels.astype(np.int16) - _FILL) <= _FILL_SLACK
    picture = np.flatnonzero(~near_fill.reshape(len(pixels), -1).all(axis=1))
    filled = 1 - (int(picture[-1]) + 1) / len(pixels) if len(picture) else 0.0
    variation = float(pixels.std(axis=(0, 1)).max())
    return float(luma.mean()), float(luma.std()), variation, filled if filled >= _LEAST_FILLED else 0.0


def _head(data: bytes) -> tuple[str, str, float, float]:
    """Read what a file says of itself, without decoding."""
    try:
        with quiet(), Image.open(io.BytesIO(data)) as image:
            exif = image.getexif()
            named = [str(exif.get(tag) or "").strip("\0 ") for tag in (_MAKE, _MODEL)]
            return image.format or "", " ".join(filter(None, named))[:80], image.width, image.height
    except Exception:  # a head that Pillow cannot read says nothing; the decoder has its own word
        return "", "", np.nan, np.nan


def _at_most(height: int, width: int) -> tuple[int, int]:
    scale = _SIDE / max(min(height, width), _SIDE)
    return max(1, round(height * scale)), max(1, round(width * scale))
