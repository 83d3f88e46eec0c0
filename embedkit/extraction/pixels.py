"""Pixels as a network takes them, for training one: read once and kept where memory allows, else decoded as asked for.

Layer: extraction; above pipeline.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from embedkit.extraction.pipeline import Failed, Identified, Recipe, identify, prepare
from embedkit.images import ImageSource
from embedkit.specs import DecodeSpec, PreprocessSpec

KEPT_BYTES = 4 << 30
"""Pixels up to so many bytes are kept; of more, each batch is decoded anew."""


class PixelRows:
    """The images of a source and views of them, resized and cropped, not normalised.

    Parameters
    ----------
    source : ImageSource
        Every image can be read.
    decode : DecodeSpec
    views : sequence of PreprocessSpec
        Of one input size: what is done with an image, in each of the ways that may be asked for.
    kept_bytes : int
    """

    def __init__(
        self,
        source: ImageSource,
        decode: DecodeSpec,
        views: Sequence[PreprocessSpec],
        *,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._source = source
        self._recipes = [Recipe(decode, view) for view in views]
        self._shape = (*views[0].input_size, 3)
        size = len(views) * len(source) * int(np.prod(self._shape))
        self._kept = self._all() if size <= min(kept_bytes, _free_bytes() // 2) else None

    def read(self, rows: npt.NDArray[np.intp], views: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        """Return pixels, uint8 (n, H, W, 3), each row in its view."""
        if self._kept is not None:
            return self._kept[views, rows]
        found = np.empty((len(rows), *self._shape), np.uint8)
        with ThreadPoolExecutor(_cores()) as threads:
            list(threads.map(self._fill, rows.tolist(), views[:, None].tolist(), found[:, None]))
        return found

    def _all(self) -> npt.NDArray[np.uint8]:
        found = np.empty((len(self._recipes), len(self._source), *self._shape), np.uint8)
        every = range(len(self._recipes))
        with ThreadPoolExecutor(_cores()) as threads:
            list(threads.map(self._fill, range(len(self._source)), itertools.repeat(every), found.swapaxes(0, 1)))
        return found

    def _fill(self, row: int, views: Sequence[int], out: npt.NDArray[np.uint8]) -> None:
        """Write one image, in each of some views, where they belong."""
        found: Identified | Failed = identify(row, self._source.images[row])
        if isinstance(found, Failed):
            raise type(found.error)(f"{self._source.keys[row]}: {found.error}")
        places = [(self._recipes[view], place.transpose(2, 0, 1)) for view, place in zip(views, out, strict=True)]
        for error in prepare(found, places):
            if error is not None:
                raise type(error)(f"{self._source.keys[row]}: {error}")


def _cores() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _free_bytes() -> int:
    """Return the memory that is free; very much where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62
