"""How well features of one class tell that class from all others.

Layer: results; above record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from embedkit.results.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class OneClassResult:
    """A detector on the features of one model.

    Attributes
    ----------
    model, detector : str
    roc_auc : float
        The share of pairs of a normal and another image of which the other is farther from the normal ones.
    interval : (float, float) or None
        95 %, over tested images.
    found, false_alarms : float
        Shares of the other, and of the normal, tested images that are called unlike the normal ones.
    found_interval, false_alarms_interval : (float, float)
        95 %.
    gain : float or None
        Of `roc_auc` over the best floor by the same detector, which tested rows chose, in the floor's favour. None of
        floors, and where there is none.
    gain_interval : (float, float) or None
        95 %, of the same tested images.
    n_train, n_calibration : int
        Normal images that distances are measured to, and that set the threshold.
    floor : bool
    """

    model: str
    detector: str
    roc_auc: float
    interval: tuple[float, float] | None
    found: float
    found_interval: tuple[float, float]
    false_alarms: float
    false_alarms_interval: tuple[float, float]
    n_train: int
    n_calibration: int
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None
    floor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OneClassReport(Record):
    """Detectors that know one class alone.

    Attributes
    ----------
    normal : str
        The class.
    results : list of OneClassResult
        Best first, floors among them.
    error : float
        The share of normal images that may be called unlike the others; thresholds are set for it.
    n_normal, n_other : int
        Tested images of the class, and of others.
    reported_on : str
        Which these are.
    """

    kind: ClassVar[str] = "one-class"

    normal: str
    results: list[OneClassResult]
    error: float
    n_normal: int
    n_other: int
    reported_on: str

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("a report of no detector")

    def table(self) -> list[dict[str, Any]]:
        """Return one row a detector."""
        names = ("model", "detector", "roc_auc", "interval", "found", "false_alarms", "gain", "gain_interval", "floor")
        return [{name: getattr(one, name) for name in names} for one in self.results]
