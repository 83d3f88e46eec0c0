"""The same picture among the training and the tested images: counted and said, never removed.

Copies are known by their digests, groups by their column. A near-duplicate (re-encoded, resized, slightly cropped) is
known by its features alone: its nearest training image is very near, and far nearer than the tenth, which is what
different pictures of one thing look like. Features of random networks and of simple drawings are all near each other,
so that nearness alone would flag them.

Layer: evaluation; above feature_rows and the estimators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedkit.evaluation.feature_rows import FeatureRows
from embedkit.evaluation.neighbours import nearest
from embedkit.evaluation.splits import Rows, Split, shared_groups
from embedkit.tables import FeatureTable

NEAR_COSINE = 0.93
NEAR_RATIO = 0.15
"""Least cosine to the nearest training image after subtracting the mean, and largest ratio of its distance (1 - cosine)
to that of the tenth nearest.

Measured with vit_tiny_patch16_224, mobilenetv2_100 and pixels32 on photographs of groceries, PACS and ImageNet
(`benchmarks/near_duplicates.py`, docs/design/003-near-duplicates.md): of different images 0 to 0.4 % are flagged, of
re-encoded ones (JPEG, quality 75) 74 to 100 %, of ones cropped by 2 % 86 to 100 %, by 5 % 25 to 89 %. pixels32, the
floor, finds all that were re-encoded or halved in size.
"""

_NEIGHBOURS = 10
# Distances of features that are equal but for rounding in float32: the same picture, however often it is there.
_SAME = 1e-5
# Multiplications of a search, a second or two of one core; beyond, a sample of the tested images is compared.
_BUDGET = 5e10
_LEAST_SAMPLE = 1000
# Different drawings may have the same histogram.
_BLIND = ("colour-histogram",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """What tested images share with the training images of their split.

    Attributes
    ----------
    tested : int
    copies : int
        Tested images that are byte for byte among the training images.
    compared : int
        Tested images without a copy that were compared by features: all, or a random sample.
    near_duplicates : int
        Of these.
    shared_groups : int
        Tested images of a group that has training images.
    """

    tested: int
    copies: int
    compared: int
    near_duplicates: int
    shared_groups: int

    def notes(self) -> list[str]:
        """Say what was found, a line each; nothing where nothing was."""
        found: list[str] = []
        if self.copies:
            are = "is" if self.copies == 1 else "are"
            found.append(
                f"{self.copies} of {self.tested} tested images {are} byte for byte among the training images too: "
                "the number flatters"
            )
        if self.near_duplicates:
            all_compared = self.compared + self.copies == self.tested
            looks = "looks" if self.near_duplicates == 1 else "look"
            images = f"{self.tested} tested images" if all_compared else f"{self.compared} tested images compared"
            found.append(
                f"{self.near_duplicates} of {images} {looks} like a training image re-encoded, resized or cropped "
                f"(cosine at least {NEAR_COSINE}): the number may flatter"
            )
        if self.shared_groups:
            are = "is" if self.shared_groups == 1 else "are"
            found.append(
                f"{self.shared_groups} of {self.tested} tested images {are} of a group that has training images too: "
                "the number flatters"
            )
        return found


def leaks(table: FeatureTable, features: FeatureRows, splits: Sequence[Split], random_state: int = 0) -> Leaks:
    """Count what leaks from the training images of each split to its tested ones."""
    random = np.random.default_rng(random_state)
    _, digests = np.unique(table.digests, axis=0, return_inverse=True)
    copies = compared = near = grouped = 0
    for split in splits:
        train = split.train
        copied = np.isin(digests[split.test], digests[train])
        copies += int(copied.sum())
        if table.groups is not None:
            grouped += int(shared_groups(table.groups.tolist(), train, split.test).sum())
        if table.spec.backbone.architecture in _BLIND or len(train) < _NEIGHBOURS:
            continue
        cost = len(train) * features.shape[1]
        most = max(_LEAST_SAMPLE, int(_BUDGET / cost)) // len(splits)
        others = split.test[~copied]
        if len(others) > most:
            others = np.sort(random.choice(others, most, replace=False))
        compared += len(others)
        near += int(_are_near(features, train, others).sum())
    tested = sum(len(split.test) for split in splits)
    return Leaks(tested=tested, copies=copies, compared=compared, near_duplicates=near, shared_groups=grouped)


def _are_near(features: FeatureRows, train: Rows, rows: Rows) -> npt.NDArray[np.bool_]:
    centre = np.zeros(features.shape[1])
    for _, X in features.batches(train):
        centre += X.sum(axis=0, dtype=np.float64)
    distances, _ = nearest(features, train, rows, _NEIGHBOURS, (centre / len(train)).astype(np.float32))
    apart = (distances[:, 0] <= NEAR_RATIO * distances[:, -1]) | (distances[:, 0] <= _SAME)
    return (distances[:, 0] <= 1 - NEAR_COSINE) & apart
