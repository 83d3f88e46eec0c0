"""What `finetune` measured: rung after rung, each with a paired test against the one below.

Layer: results; above rows and record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedkit.results.record import Record
from embedkit.results.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Something that was tried, and what the validation rows say of it.

    Attributes
    ----------
    depth : int
        How many of the last blocks were tuned; 0: the classifier alone.
    rate : float
        Peak learning rate of the classifier.
    alpha : float
        Share of the tuned weights in the mean with those of the start: 1 of short trials, of the last one the best on
        the validation rows.
    accuracy, loss : float
        On the validation rows, the loss being the mean of -log p after temperature.
    epochs : int
        Of the schedule.
    weight_decay : float
    stopped_at : int
        The epoch that was best, where the validation rows stopped training early; else 0.
    """

    depth: int
    rate: float
    alpha: float
    accuracy: float
    loss: float
    epochs: int = 0
    weight_decay: float = 0.0
    stopped_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RungResult:
    """One rung.

    Attributes
    ----------
    rung : str
        ``"frozen"``, ``"head"``, ``"cached"``, ``"lora"``, ``"bias"``, ``"gradual"`` or ``"full"``.
    value : float
        Accuracy on the tested rows, which chose nothing.
    interval : (float, float)
        95 %.
    p : float or None
        McNemar's, against the rung below; None of the first.
    validation : float
        Accuracy on the rows that choose, of what was kept.
    validation_loss : float
        Their mean of -log p after temperature, which decides.
    depth : int
        How many of the last blocks were tuned.
    supported : bool
        Whether the validation rows support it; if not, the rung is the one below.
    seconds, cpu_seconds : float
        By the wall clock and by the processors; of ``"cached"`` without the maps (`FineTuneReport.prefix_seconds`).
    peak_bytes : int
        Largest memory of the process in this rung.
    trained_parameters : int
    chosen : Attempt or None
    attempts : list of Attempt
    rows : Rows or None
    """

    rung: str
    value: float
    interval: tuple[float, float]
    p: float | None
    validation: float
    validation_loss: float = 0.0
    depth: int = 0
    supported: bool = True
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    trained_parameters: int = 0
    chosen: Attempt | None = None
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    rows: Rows | None = field(default=None, metadata={"rows": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneReport(Record):
    """The ladder of a data set.

    Attributes
    ----------
    rungs : list of RungResult
        From the cheapest up.
    recommended : str
        The last rung that the validation rows support over the ones before by their log-loss.
    output : str or None
        The file of weights that was written: of the highest rung that tuned blocks.
    model, data : str
    n_train, n_test, classes : int
    selected_on, reported_on : str
        Which rows chose, and which gave the values.
    views : int
        Random views beside each training image.
    maps_bytes : int
        What the maps of the blocks before the tuned ones take in the store.
    prefix_passes : int
        Images and views that went through these blocks in this run; the store held the others.
    prefix_seconds : float
    """

    kind: ClassVar[str] = "finetune"

    rungs: list[RungResult]
    recommended: str
    output: str | None = None
    model: str
    data: str = ""
    n_train: int
    n_test: int
    classes: int
    selected_on: str
    reported_on: str
    views: int = 0
    maps_bytes: int = 0
    prefix_passes: int = 0
    prefix_seconds: float = 0.0

    def table(self) -> list[dict[str, Any]]:
        """Return one row a rung."""
        return [
            {
                "rung": one.rung,
                "value": one.value,
                "interval": one.interval,
                "p": one.p,
                "validation": one.validation,
                "depth": one.depth,
                "seconds": one.seconds,
                "cpu_seconds": one.cpu_seconds,
                "peak_bytes": one.peak_bytes,
                "trained_parameters": one.trained_parameters,
            }
            for one in self.rungs
        ]
