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
    best : str
        The model that is best on the validation rows: what the fusions are compared with.
    gains : list of Gain
        One a way.
    """

    kind: ClassVar[str] = "fusion"

    singles: list[ProbeResult]
    fused: list[ProbeResult]
    best: str
    gains: list[Gain]

    def __post_init__(self) -> None:
        if self.best not in [one.model for one in self.singles]:
            raise ValueError(f"the best single backbone, {self.best!r:.60}, is none of those measured")
        if len(self.fused) != len(self.gains):
            raise ValueError(f"{len(self.fused)} fusions have {len(self.gains)} gains")

    def table(self) -> list[dict[str, Any]]:
        """Return one row a backbone and a way."""
        gains = {gain.way: (gain.difference, gain.p) for gain in self.gains}
        found: list[dict[str, Any]] = []
        for one in (*self.singles, *self.fused):
            difference, p = gains.get(one.estimator, (None, None))
            found.append({**one.summary(), "difference": difference, "p": p})
        return found
