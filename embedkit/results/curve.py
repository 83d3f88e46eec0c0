"""What `curve` leaves behind: how a metric grows with the number of labels.

Layer: results; above record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from embedkit.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One size of the training part.

    Attributes
    ----------
    size : int or float
        Images a class, or the fraction of the training rows.
    n_train : float
        Training images, mean over seeds.
    values : list of float
        The metric, one a seed.
    mean : float
    interval : (float, float) or None
        95 % interval of the mean over draws and test images together; Student's over the draws for values, and where
        each seed has a fold of its own. None for a single seed.
    converged : bool
    """

    size: int | float
    n_train: float
    values: list[float]
    mean: float
    interval: tuple[float, float] | None
    converged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points in ascending order of size.

    Attributes
    ----------
    model, estimator, metric : str
    kind : {"shots", "fractions"}
    seeds : int
    n_test : int
    reported_on : str
    points : list of Point
    floor : bool
    notes : list of str
    leaks : dict of str to int
        `Leaks` of the training images that are drawn from to the tested ones, of the first seed.
    """

    model: str
    estimator: str
    metric: str
    kind: Literal["shots", "fractions"]
    seeds: int
    n_test: int
    reported_on: str
    points: list[Point]
    floor: bool = False
    notes: list[str] = field(default_factory=list[str])
    leaks: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveReport(Record):
    """Curves, the one that ends highest first.

    Attributes
    ----------
    curves : list of Curve
    """

    kind: ClassVar[str] = "curve"

    curves: list[Curve]

    def __post_init__(self) -> None:
        if not self.curves:
            raise ValueError("a report of no curve")

    def table(self) -> list[dict[str, Any]]:
        """Return one row a point."""
        return [
            {
                "model": curve.model,
                "estimator": curve.estimator,
                "metric": curve.metric,
                "kind": curve.kind,
                "size": point.size,
                "mean": point.mean,
                "interval": point.interval,
                "n_train": point.n_train,
                "n_test": curve.n_test,
                "floor": curve.floor,
            }
            for curve in self.curves
            for point in curve.points
        ]
