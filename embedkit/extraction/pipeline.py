"""The stages before the network: read and identify, then decode and preprocess, in threads and in order.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import ImageError
from embedkit.images import (
    ArchiveMember,
    ImageRef,
    PixelRef,
    decode,
    digest_bytes,
    digest_pixels,
    is_encoded,
    read_bytes,
    to_rgb,
)
from embedkit.preprocess import Preprocessor
from embedkit.specs import DecodeSpec

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prefetch(
    executor: Executor, function: Callable[[_Item], _Result], items: Iterable[_Item], ahead: int
) -> Iterator[_Result]:
    """Map a function over items in order, with at most `ahead` results waiting or under way.

    `items` is consumed only as far ahead as that, so memory stays bounded however many there are.
    """
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@dataclass(frozen=True, slots=True)
class Identified:
    """An image whose bytes were read.

    Attributes
    ----------
    row : int
        Its place in the source.
    digest : bytes
    image : ImageRef
        Encoded bytes, or the image in memory.
    file : (str or ArchiveMember, os.stat_result) or None
        Where the bytes came from, and the status of that file before it was read.
    """

    row: int
    digest: bytes
    image: ImageRef
    file: tuple[str | ArchiveMember, os.stat_result] | None


@dataclass(frozen=True, slots=True)
class Ready:
    """An image as the network eats it: uint8 pixels of shape (3, height, width), not normalised."""

    row: int
    digest: bytes
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Failed:
    """An image that will have no features; the digest is known when its bytes could be read."""

    row: int
    digest: bytes | None
    error: ImageError


def identify(row: int, ref: ImageRef) -> Identified | Failed:
    """Read one image and compute its digest."""
    try:
        if not is_encoded(ref):
            return Identified(row, digest_pixels(ref), ref, None)
        file = None if isinstance(ref, bytes) else _file(ref)
        data = read_bytes(ref)
        return Identified(row, digest_bytes(data), data, file)
    except ImageError as error:
        return Failed(row, None, error)


def prepare(identified: Identified, decode_spec: DecodeSpec, preprocessor: Preprocessor) -> Ready | Failed:
    """Decode one image and bring it to the size of the network's input."""
    image = identified.image
    try:
        if isinstance(image, bytes):
            rgb = decode(image, decode_spec, target=preprocessor.resized)
        else:
            rgb = to_rgb(cast(PixelRef, image), decode_spec)
        return Ready(identified.row, identified.digest, preprocessor(rgb))
    except ImageError as error:
        return Failed(identified.row, identified.digest, error)


def _file(ref: str | ArchiveMember) -> tuple[str | ArchiveMember, os.stat_result] | None:
    try:
        return ref, os.stat(ref if isinstance(ref, str) else ref.archive)
    except (OSError, ValueError):
        return None  # reading it will say why
