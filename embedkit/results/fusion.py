"""What fusing several backbones gains over the best of them alone.

Layer: results; above probe and record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from embedkit.results.probe import ProbeResult
from embedkit.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A fusion beside the best single backbone, on the same tested rows.

    Attributes
    ----------
    way : str
    difference : float
        Of the accuracies, the fusion's less the single one's.
    p : float
        McNemar's, corrected by Holm for the number of ways.
    """

    way: str
    difference: float
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionReport(Record):
    """Backbones alone and fused.

    Attributes
    ----------
    singles : list of ProbeResult
        Logistic regression on the features of each backbone, in the order given.
    fused : list of ProbeResult
        One a way; ``estimator`` is the way.
    best : int
        The place in `singles` of the one that is best on the validation rows: what the fusions are compared with.
    gains : list of Gain
        One a way.
    """

    kind: ClassVar[str] = "fusion"

    singles: list[ProbeResult]
    fused: list[ProbeResult]
    best: int
    gains: list[Gain]

    def __post_init__(self) -> None:
        if not 0 <= self.best < len(self.singles):
            raise ValueError(f"single backbone {self.best} is the best, and there are {len(self.singles)}")
        if len(self.gains) != len(self.fused):
            raise ValueError(f"{len(self.fused)} fusions have {len(self.gains)} gains")

    def table(self) -> list[dict[str, Any]]:
        """Return one row a backbone and a way."""
        alone = [{**one.summary(), "difference": None, "p": None} for one in self.singles]
        together = [
            {**one.summary(), "difference": gain.difference, "p": gain.p}
            for one, gain in zip(self.fused, self.gains, strict=True)
        ]
        return alone + together
