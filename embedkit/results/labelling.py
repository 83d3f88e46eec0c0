"""What `label` chose.

Layer: results; above record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from embedkit.results.record import Record


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """An image to label next.

    Attributes
    ----------
    key : str
    reason : str
        What it is typical of, or between which classes the labels so far leave it.
    """

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelResult(Record):
    """The images to label next, and whether it pays.

    Attributes
    ----------
    chosen : list of ChosenImage
        The most telling first.
    model : str
        Whose features were looked at.
    labelled, unlabelled : int
        Images with a label, answers counted, and without; those of a test split are neither.
    classes : list of str
        Of the labels so far.
    strategy : {"typical", "uncertain"}
    accuracy : float or None
        Of classifiers on the labels so far, out of fold; None of fewer than 20 labels.
    gain : float or None
        What as many further labels are expected to add to it.
    gain_interval : (float, float) or None
        95 %.
    output : str or None
        The CSV to fill in.
    """

    kind: ClassVar[str] = "label"

    chosen: list[ChosenImage]
    model: str
    labelled: int
    unlabelled: int
    classes: list[str]
    strategy: str
    accuracy: float | None = None
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None
    output: str | None = None

    def table(self) -> list[dict[str, Any]]:
        """Return one row an image."""
        return [{"path": one.key, "label": "", "reason": one.reason} for one in self.chosen]
