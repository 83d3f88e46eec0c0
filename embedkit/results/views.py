"""What a reader looks at beside the numbers: a map of the features, and the training image nearest to a mistake.

Both are computed where the features are and kept with the result, so that a page needs the result and thumbnails only.

Layer: results; above plain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from embedkit.results.plain import equal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
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
    xy: npt.NDArray[np.float32]
    labels: list[str]
    parts: list[str]

    def __post_init__(self) -> None:
        if self.xy.shape != (len(self.keys), 2):
            raise ValueError(f"a map of {len(self.keys)} keys has places of shape {self.xy.shape}")
        if {len(self.labels), len(self.parts)} - {0, len(self.keys)}:
            raise ValueError(f"a map of {len(self.keys)} keys has {len(self.labels)} labels, {len(self.parts)} parts")

    def __eq__(self, other: object) -> bool:
        return equal(self, other)


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


class ImagePair(NamedTuple):
    """Two images of a data set that show the same picture.

    Attributes
    ----------
    data : str
        The data set.
    key, other_key, split, other_split, label, other_label : str
        Blank where there is no split or label; several labels are joined by ``|``.
    similarity : float
        1 for copies; of near-duplicates the correlation of their details, or the cosine of their features.
    kind : {"exact", "near"}
    found_by : str
        ``"bytes"``, ``"pixels"`` or ``"features of NAME"``.
    """

    data: str
    key: str
    other_key: str
    split: str
    other_split: str
    label: str
    other_label: str
    similarity: float
    kind: Literal["exact", "near"]
    found_by: str
