"""What a user decides of distillation, and what a student is taught: the teacher's features, normalised, row by row.

Layer: adaptation. NumPy, and the checks of its settings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError

Rows = npt.NDArray[np.intp]
Features = npt.NDArray[np.float32]

_RATE = 2e-3
_RATE_OF_TRAINED = 4e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillSettings:
    """How a student is taught.

    Parameters
    ----------
    epochs : int
        In an epoch each image comes once, as itself or as one of its views, drawn; mirrored half of the time.
    views : int
        Random views beside each image, of each of which the teacher's features are kept in the store.
    rate : float, optional
        Peak learning rate of AdamW; warm-up over a twentieth of the steps, then a cosine to 0. By default 2e-3 from
        random weights and 4e-4 from trained ones, which a larger one would undo.
    weight_decay : float
    batch_size : int
        Halved where memory does not suffice.
    relational : float
        Weight of how alike the images of a batch are, beside each image's own features.
    task : float
        Weight of the classes, where there are any.
    coarse : float
        Share of images that the student sees at a lower resolution, drawn; the teacher's features are of the sharp one.
    random_state : int

    Raises
    ------
    UsageError
        A value out of its range.
    """

    epochs: int = 60
    views: int = 4
    rate: float | None = None
    weight_decay: float = 0.05
    batch_size: int = 64
    relational: float = 10.0
    task: float = 1.0
    coarse: float = 0.3
    random_state: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("views", 0), ("random_state", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"{name} is {value!r}, expected a whole number of at least {least}")
        for name in ("rate", "weight_decay", "relational", "task"):
            value = getattr(self, name)
            if name == "rate" and value is None:
                continue
            if not math.isfinite(value) or value < 0 or (name == "rate" and not value):
                raise UsageError(f"{name} is {value!r}, expected a number {'above' if name == 'rate' else 'from'} 0")
        if not 0 <= self.coarse <= 1:
            raise UsageError(f"coarse is {self.coarse!r}, expected a share of images, from 0 to 1")

    def peak_rate(self, *, trained: bool) -> float:
        """Return the peak learning rate of a student that starts from trained weights, or from random ones."""
        if self.rate is not None:
            return self.rate
        return _RATE_OF_TRAINED if trained else _RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What is taught about each image.

    Attributes
    ----------
    targets : float32 (views + 1, n, width)
        The teacher's features of each image and its views, normalised.
    classes : int
        Of the task; 0: there is none.
    chances : float32 (views + 1, n, classes) or None
        Probability of each class; zeros in the rows of images of which nothing is known.
    """

    targets: Features
    classes: int = 0
    chances: Features | None = None

    @property
    def views(self) -> int:
        """Random views beside the images themselves."""
        return len(self.targets) - 1


def normalised(features: Sequence[Features]) -> Features:
    """Return features of images and of their views, each column with mean 0 and variance 1 over all of them.

    Without it the few columns that vary most would be all that is learnt.

    Parameters
    ----------
    features : sequence of float32 (n, width)
        Of the images themselves, then of each view.

    Returns
    -------
    float32 (views + 1, n, width)
    """
    stacked = np.stack(features).astype(np.float32)
    columns = stacked.reshape(-1, stacked.shape[-1])
    deviation = columns.std(axis=0)
    return (stacked - columns.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


def one_hot(codes: Rows, classes: int, views: int) -> Features:
    """Return certain probabilities, float32 (views + 1, n, classes), of codes (n,); zeros where a code is -1."""
    known = np.zeros((len(codes), classes), np.float32)
    there = np.flatnonzero(codes >= 0)
    known[there, codes[there]] = 1
    return np.broadcast_to(known, (views + 1, *known.shape))
