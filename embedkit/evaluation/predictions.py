"""What a model says of rows: targets, and scores of the classes.

Layer: evaluation; NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Targets = npt.NDArray[Any]
"""Class numbers (n,) intp, marks (n, n_classes) bool, or values (n,) float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What a fitted model says of rows.

    Attributes
    ----------
    targets : ndarray
        Class numbers (n,), marks (n, n_classes), or values (n,).
    scores : ndarray of shape (n, n_classes), float64, or None
        Larger is more likely; -inf for a class that the model does not know. None for values.
    are_probabilities : bool
        The scores of a row are probabilities that sum to 1 (several labels a row: each is one).
    """

    targets: Targets
    scores: Float64 | None = None
    are_probabilities: bool = False

    def __len__(self) -> int:
        return len(self.targets)


def joined(parts: Sequence[Predicted]) -> Predicted:
    """Put predictions behind one another; they have scores where all parts have."""
    scores = [part.scores for part in parts if part.scores is not None]
    all_scored = len(scores) == len(parts)
    return Predicted(
        targets=np.concatenate([part.targets for part in parts]),
        scores=np.concatenate(scores) if all_scored else None,
        are_probabilities=all_scored and all(part.are_probabilities for part in parts),
    )


def predicted_classes(scores: npt.NDArray[Any], *, are_probabilities: bool = False) -> Predicted:
    """Predict the class of the highest score; of equals, the first."""
    values = np.asarray(scores, dtype=np.float64)
    return Predicted(targets=values.argmax(axis=1).astype(np.intp), scores=values, are_probabilities=are_probabilities)


def spread(scores: npt.NDArray[Any], classes: npt.NDArray[np.intp], n_classes: int, absent: float) -> Float64:
    """Give scores of some classes the columns of all; classes that the model does not know get `absent`."""
    wide = np.full((len(scores), n_classes), absent)
    wide[:, classes] = scores
    return wide
