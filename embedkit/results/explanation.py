"""What `explain` leaves behind: where a prediction comes from.

Layer: results; above record and views.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from embedkit.results.plain import equal
from embedkit.results.record import Record
from embedkit.results.views import NearestTrained


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """The score as more and more of an image is covered.

    Attributes
    ----------
    fractions : list of float
        Of the places that are covered, 0 to 1.
    by_map : list of float
        The score where those are covered first that contribute most.
    at_random : list of float
        The mean over random orders.
    """

    fractions: list[float]
    by_map: list[float]
    at_random: list[float]

    def __post_init__(self) -> None:
        if not len(self.fractions) == len(self.by_map) == len(self.at_random) > 0:
            raise ValueError(f"{len(self.fractions)} fractions, {len(self.by_map)} and {len(self.at_random)} scores")

    @property
    def gain(self) -> float:
        """How much lower the score is by the map than at random, mean over the fractions."""
        steps = zip(self.at_random, self.by_map, strict=True)
        return sum(other - own for other, own in steps) / max(1, len(self.fractions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """How much a training image adds to the score of the class that is explained; negative speaks against it."""

    key: str
    label: str
    contribution: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """Where the score of one class for one image comes from.

    Attributes
    ----------
    image : str
        Its key.
    class_ : str
        The class that is explained (``class`` in JSON); empty for values.
    predicted : str
        What the model says, a class or a value.
    logit : float
        The score of the class: a logit, decision value, probability or value, as `score` says.
    score : str
    method : {"contributions", "occlusion"}
        ``"contributions"``: the score is exactly the sum over places plus the bias. ``"occlusion"``: what the score
        loses when a place is covered.
    bias : float or None
        None for occlusion.
    contributions : ndarray of shape (rows, columns), float64
    box : (float, float, float, float)
        Where these places lie on the image: left, top, right, bottom as fractions of its width and height.
    size : (int, int)
        Height and width of the image in pixels.
    deletion : Deletion or None
    random_weights : float or None
        Spearman correlation with the map of the same network with random weights; a map near 1 shows the image, not
        what the network has learned. None where a map does not vary.
    nearest : list of NearestTrained
        Training images of the class with the nearest features.
    influence : list of Influence
        Training images that say most for the class, then those that say most against it; empty where the model is none
        of which that is known.
    """

    image: str
    class_: str
    predicted: str
    logit: float
    score: str
    method: Literal["contributions", "occlusion"]
    bias: float | None
    contributions: npt.NDArray[np.float64]
    box: tuple[float, float, float, float]
    size: tuple[int, int]
    deletion: Deletion | None = None
    random_weights: float | None = None
    nearest: list[NearestTrained] = field(default_factory=list[NearestTrained])
    influence: list[Influence] = field(default_factory=list[Influence])

    def __post_init__(self) -> None:
        if self.contributions.ndim != 2 or not self.contributions.size or min(self.size) < 1:
            raise ValueError(f"{self.contributions.shape} are no places of an image of {self.size} pixels")

    def __eq__(self, other: object) -> bool:
        return equal(self, other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanations(Record):
    """Explanations of one or more images.

    Attributes
    ----------
    explanations : list of Explanation
    """

    kind: ClassVar[str] = "explanations"

    explanations: list[Explanation]

    def table(self) -> list[dict[str, Any]]:
        """Return one row an image."""
        return [
            {
                "image": one.image,
                "class": one.class_,
                "predicted": one.predicted,
                "score": one.score,
                "logit": one.logit,
                "method": one.method,
                "random_weights": one.random_weights,
            }
            for one in self.explanations
        ]
