"""What a reader looks at beside the numbers: a map of the features, and the training image nearest to a mistake.

Both are computed where the features are and kept with the result, so that a page needs the result and thumbnails only.

Layer: results; NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingMap:
    """Features of images in two dimensions.

    Attributes
    ----------
    model : str
    method : str
        What brought them there, such as ``"PCA"``, and how much of the variance is left where that is known.
    keys : list of str
    xy : ndarray of shape (n, 2), float32
    labels : list of str
        Empty where there are none.
    parts : list of str
        The split of each image; empty where there is none.
    """

    model: str
    method: str
    keys: list[str]
    xy: npt.NDArray[Any]
    labels: list[str]
    parts: list[str]

    def __post_init__(self) -> None:
        if np.shape(self.xy) != (len(self.keys), 2):
            raise ValueError(f"a map of {len(self.keys)} keys has places of shape {np.shape(self.xy)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestTrained:
    """The training image whose features are nearest to those of a tested one.

    Attributes
    ----------
    key, other_key : str
    label : str
        Of the other one.
    cosine : float
    """

    key: str
    other_key: str
    label: str
    cosine: float
