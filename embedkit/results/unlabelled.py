"""What rows without a label add to labelled ones.

Layer: results; above probe and record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from embedkit.results.probe import ProbeResult
from embedkit.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabelledGain:
    """A way of using unlabelled rows beside the same classifier on labelled rows alone, on the same tested rows.

    Attributes
    ----------
    way : str
    difference : float
        Of the accuracies.
    interval : (float, float)
        95 % of the difference, over tested rows.
    p : float
        McNemar's, corrected by Holm for the number of ways.
    """

    way: str
    difference: float
    interval: tuple[float, float]
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabelledReport(Record):
    """Classifiers on labelled rows alone, and with unlabelled rows.

    Attributes
    ----------
    labelled : list of ProbeResult
        On labelled rows alone: each backbone, and of several all together. The floor.
    used : list of ProbeResult
        With unlabelled rows, by all backbones together; ``estimator`` is the way.
    gains : list of UnlabelledGain
        One a result of `used`, over the last of `labelled`.
    n_labelled, n_unlabelled : int
        Rows with and without a label that are learnt from.
    """

    kind: ClassVar[str] = "unlabelled"

    labelled: list[ProbeResult]
    used: list[ProbeResult]
    gains: list[UnlabelledGain]
    n_labelled: int
    n_unlabelled: int

    def __post_init__(self) -> None:
        if not self.labelled or len(self.used) != len(self.gains):
            raise ValueError(f"{len(self.labelled)} classifiers, {len(self.used)} ways and {len(self.gains)} gains")

    def table(self) -> list[dict[str, Any]]:
        """Return one row a classifier."""
        gains = {gain.way: gain for gain in self.gains}
        found: list[dict[str, Any]] = []
        for one in (*self.labelled, *self.used):
            gain = gains.get(one.estimator)
            parts = (None, None, None) if gain is None else (gain.difference, gain.interval, gain.p)
            found.append({**one.summary(), **dict(zip(("difference", "difference_interval", "p"), parts, strict=True))})
        return found
