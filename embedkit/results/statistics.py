"""What `stats` wrote, and what `fit` made of the statistics of several sites.

Layer: results; above record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedkit.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsResult(Record):
    """A file of statistics, and what is in it.

    Attributes
    ----------
    output : str
    model : str
    fingerprint : str
        Of the features. Statistics add up with those of the same fingerprint only.
    width : int
        Features that the sums are of.
    rows : int
    labels : dict of str to int
        Rows of each class.
    left_out : dict of str to int
        Rows that are in no sum, by the reason.
    fourier : str or None
        The map that the features went through.
    """

    kind: ClassVar[str] = "statistics"

    output: str
    model: str
    fingerprint: str
    width: int
    rows: int
    labels: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    fourier: str | None = None

    def table(self) -> list[dict[str, Any]]:
        """Return one row a class."""
        return [{"class": name, "rows": count} for name, count in self.labels.items()]


@dataclass(frozen=True, slots=True)
class Site:
    """A file of statistics that a model was fitted on.

    Attributes
    ----------
    file : str
    rows, classes : int
    """

    file: str
    rows: int
    classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsFit(Record):
    """A model file that was fitted on statistics.

    No accuracy is known: statistics hold no rows to test on. `predict` with a labelled source says it.

    Attributes
    ----------
    output : str
        The model file.
    steps : list of str
        The types of the pipeline's steps.
    classes : list of str
    rows : int
        Of all sites together.
    sites : list of Site
    fingerprint : str
        That all of them have.
    params : dict
        Of the estimator.
    selected_on : str
        What chose them.
    """

    kind: ClassVar[str] = "fit-statistics"

    output: str
    steps: list[str]
    classes: list[str]
    rows: int
    sites: list[Site]
    fingerprint: str
    params: dict[str, float]
    selected_on: str
    pipeline: Any = field(default=None, metadata={"plain": False}, compare=False, repr=False)

    def table(self) -> list[dict[str, Any]]:
        """Return one row a site."""
        return [{"file": one.file, "rows": one.rows, "classes": one.classes} for one in self.sites]
