"""What enters a whole network: the pixels of images and of their views, read from the files each time.

Layer: adaptation. Imports images and preprocess; torch behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.adaptation.maps import Rows
from embedkit.images import ImageSource, decode, digest_bytes, digest_pixels, is_encoded, read_bytes, to_rgb
from embedkit.preprocess import Preprocessor
from embedkit.specs import FeatureSpec


class Pixels:
    """The pixels of images, by row and view.

    Parameters
    ----------
    source : ImageSource
    specs : sequence of FeatureSpec
        Of the images themselves, and of each view.
    """

    def __init__(self, source: ImageSource, specs: Sequence[FeatureSpec]) -> None:
        self._source, self._specs = source, specs
        self._preprocessors = [Preprocessor(spec.preprocess) for spec in specs]

    @property
    def fingerprint(self) -> str:
        """Name what is read."""
        return " ".join(spec.fingerprint for spec in self._specs)

    def read(self, rows: Rows, views: npt.NDArray[np.intp] | int = 0) -> npt.NDArray[np.float32]:
        """Return normalised pixels, float32 (n, 3, height, width), each row in its view."""
        wanted = np.broadcast_to(views, rows.shape)
        return np.stack([self._one(row, view) for row, view in zip(rows.tolist(), wanted.tolist(), strict=True)])

    def _one(self, row: int, view: int) -> npt.NDArray[np.float32]:
        spec, preprocessor, ref = self._specs[view], self._preprocessors[view], self._source.images[row]
        if is_encoded(ref):
            data = read_bytes(ref)
            pixels = preprocessor(decode(data, spec.decode, target=preprocessor.resized), digest_bytes(data))
        else:
            kept: Any = ref
            pixels = preprocessor(to_rgb(kept, spec.decode), digest_pixels(kept))
        mean, std = (
            255 * np.array(part, np.float32)[:, None, None] for part in (spec.preprocess.mean, spec.preprocess.std)
        )
        return (pixels - mean) / std
