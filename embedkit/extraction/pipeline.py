"""The stages before the network: read and identify, then decode and preprocess, in threads and in order.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import ImageError, UnreadableImageError
from embedkit.files import INFLATING, Budget, Kept
from embedkit.images import (
    ArchiveMember,
    EncodedRef,
    ImageRef,
    PixelRef,
    decode,
    digest_bytes,
    digest_pixels,
    is_encoded,
    read_bytes,
    read_with_status,
    scale_factor,
    to_rgb,
)
from embedkit.preprocess import Preprocessor
from embedkit.specs import DecodeSpec, PreprocessSpec

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


def in_blocks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield the items in lists of `size`, the last one shorter."""
    remaining = iter(items)
    while block := list(itertools.islice(remaining, size)):
        yield block


_LARGEST_TASK = 16


def task_size(images: int, threads: int, ahead: int) -> int:
    """Return how many images a task reads or decodes: the more, the less Python it costs to hand over an image.

    Few enough that, with `ahead` images waiting or under way, all threads have a task and another one waits for each,
    and that they end at about the same time.
    """
    return max(1, min(_LARGEST_TASK, ahead // (2 * threads), images // (8 * threads)))


_CARRIED = Budget(2 << 30)
"""Encoded bytes that wait to be decoded, and keep the threads from reading them twice."""


class Identified(NamedTuple):
    """An image whose bytes were read. A tuple, as whatever is made for each image: a frozen dataclass costs five times.

    Attributes
    ----------
    row : int
        Its place in the source.
    digest : bytes
    image : ImageRef
        Encoded bytes, or the image in memory; of encoded bytes that would not fit beside those that wait already, where
        they are read from again.
    file : (str or ArchiveMember, os.stat_result) or None
        Where the bytes came from, and the status of that file before it was read.
    room : Kept or None
        What the bytes take of the memory for those that wait.
    """

    row: int
    digest: bytes
    image: ImageRef
    file: tuple[str | ArchiveMember, os.stat_result] | None
    room: Kept | None = None


class Ready(NamedTuple):
    """An image whose pixels have their place in a batch."""

    row: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """An image whose bytes could not be read."""

    row: int
    error: ImageError


def identify(row: int, ref: ImageRef) -> Identified | Failed:
    """Read one image and compute its digest."""
    try:
        if not is_encoded(ref):
            return Identified(row, digest_pixels(ref), ref, None)
        data, status = read_with_status(ref)
        with INFLATING.hold_large(len(data)):
            if isinstance(ref, bytes):
                return Identified(row, digest_bytes(data), ref, None)
            room = _CARRIED.keep(len(data))
            file = None if status is None else (ref, status)
            return Identified(row, digest_bytes(data), ref if room is None else data, file, room)
    except ImageError as error:
        return Failed(row, error)


@dataclass(frozen=True)
class Recipe:
    """How a network wants its pixels; networks of one recipe share them."""

    decode: DecodeSpec
    preprocess: PreprocessSpec

    @functools.cached_property
    def preprocessor(self) -> Preprocessor:
        """What brings pixels to the size of the network's input."""
        return Preprocessor(self.preprocess)

    @functools.cached_property
    def _hash(self) -> int:
        return hash((self.decode, self.preprocess))

    def __hash__(self) -> int:
        return self._hash  # several times an image


Pixels = npt.NDArray[np.uint8]


def prepare(identified: Identified, places: Sequence[tuple[Recipe, Pixels]]) -> list[ImageError | None]:
    """Bring one image to the size of each network's input, decoding it once for all that take the same RGB pixels.

    Parameters
    ----------
    identified : Identified
    places : sequence of (Recipe, ndarray)
        How the pixels are wanted, and where they are written: uint8 (3, height, width), not normalised.

    Returns
    -------
    list of ImageError or None
        For each place, why nothing of use is there.

    Notes
    -----
    A JPEG may be decoded at a reduced scale where the input is small. What a spec gives must not depend on which
    networks run beside it, so only networks that ask for the same scale share a decoded image.
    """
    again = not isinstance(identified.image, bytes) and is_encoded(identified.image)
    with INFLATING.hold(INFLATING.total if again else 0):
        try:
            image = _read_again(identified) if again else identified.image
        except ImageError as error:
            return [error] * len(places)
        return _prepare(image, identified.digest, places)


def _read_again(identified: Identified) -> bytes:
    data = read_bytes(cast(EncodedRef, identified.image))
    if digest_bytes(data) != identified.digest:
        raise UnreadableImageError("it changed while it was read")
    return data


def _prepare(image: ImageRef, digest: bytes, places: Sequence[tuple[Recipe, Pixels]]) -> list[ImageError | None]:
    decoded: list[_Decoded] = []
    made: dict[Recipe, Pixels | ImageError] = {}
    errors: list[ImageError | None] = []
    for recipe, place in places:
        done = made.get(recipe)
        if done is None:
            try:
                done = recipe.preprocessor(_rgb(image, recipe, decoded), digest, place)
            except ImageError as error:
                done = error
            made[recipe] = done
        elif not isinstance(done, ImageError):
            place[:] = done
        errors.append(done if isinstance(done, ImageError) else None)
    return errors


def _rgb(image: ImageRef, recipe: Recipe, decoded: list[_Decoded]) -> Pixels:
    """Take an image as it was decoded for another recipe, or decode it."""
    for one in decoded:
        if one.serves(recipe):
            return one.rgb
    found = _decode(image, recipe)
    decoded.append(found)
    return found.rgb


class _Decoded(NamedTuple):
    """An image in RGB, and what its scale was chosen for.

    `size` is the (height, width) of the upright image at full scale; None where no target was asked for, so that any
    recipe may have it.
    """

    rgb: Pixels
    recipe: Recipe
    size: tuple[int, int] | None

    def serves(self, recipe: Recipe) -> bool:
        if recipe.decode != self.recipe.decode:
            return False
        return self.size is None or _factor(self.size, recipe) == _factor(self.size, self.recipe)


def _factor(size: tuple[int, int], recipe: Recipe) -> int:
    return scale_factor(*size, 1, recipe.decode.scale, recipe.preprocessor.resized)


def _decode(image: ImageRef, recipe: Recipe) -> _Decoded:
    if not isinstance(image, bytes):
        return _Decoded(to_rgb(cast(PixelRef, image), recipe.decode), recipe, None)
    asked: list[tuple[int, int]] = []

    def target(height: int, width: int) -> tuple[int, int]:
        asked.append((height, width))
        return recipe.preprocessor.resized(height, width)

    rgb = decode(image, recipe.decode, target=target)
    return _Decoded(rgb, recipe, asked[-1] if asked else None)
