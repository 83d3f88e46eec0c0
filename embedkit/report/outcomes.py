"""What the outcome of each row says: classes, mistakes, how sure a model was. Counted, never fitted.

Layer: report; above results. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedkit.results import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOutcome:
    """One class among the tested rows.

    Attributes
    ----------
    name : str
    tested, right, claimed : int
        Rows of the class; of these named right; rows that were given its name.
    taken_for : str
        What its rows are most often taken for; empty where none is wrong.
    gain : float
        By how much accuracy would grow if all its rows were named right, a fraction.
    """

    name: str
    tested: int
    right: int
    claimed: int
    taken_for: str
    gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A row that was named wrong."""

    key: str
    true: str
    predicted: str
    sure: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Predictions that are about equally sure.

    Attributes
    ----------
    images : int
    sure : float
        Their mean confidence.
    right : float
        The share of them that is right.
    """

    images: int
    sure: float
    right: float


def reliability_bins(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> list[ReliabilityBin]:
    """Put predictions into at most ten bins of equally many, by how sure they are."""
    order = np.argsort(sure, kind="stable")
    parts = np.array_split(order, min(10, max(1, len(order) // 10)))
    return [
        ReliabilityBin(images=len(part), sure=float(sure[part].mean()), right=float(right[part].mean()))
        for part in parts
        if len(part)
    ]


def is_classification(rows: Rows | None) -> bool:
    """Whether rows are of one class each."""
    return rows is not None and len(rows) > 0 and rows.y_true.ndim == 1 and rows.y_true.dtype.kind in "UO"


def sureness(rows: Rows) -> npt.NDArray[np.float64] | None:
    """Give the score of the predicted class of each row; None where there are no scores."""
    if rows.scores is None:
        return None
    places = {name: place for place, name in enumerate(rows.classes)}
    columns = np.array([places[name] for name in rows.y_pred.tolist()], dtype=np.intp)
    return rows.scores[np.arange(len(rows)), columns].astype(np.float64)


def class_outcomes(rows: Rows) -> list[ClassOutcome]:
    """Count rows class by class; first those whose mistakes cost most accuracy."""
    counts = rows.confusion()
    found: list[ClassOutcome] = []
    for place, name in enumerate(rows.classes):
        wrong = counts[place].copy()
        wrong[place] = 0
        found.append(
            ClassOutcome(
                name=name,
                tested=int(counts[place].sum()),
                right=int(counts[place, place]),
                claimed=int(counts[:, place].sum()),
                taken_for=rows.classes[int(wrong.argmax())] if wrong.any() else "",
                gain=float(wrong.sum() / max(1, counts.sum())),
            )
        )
    return sorted((one for one in found if one.tested or one.claimed), key=lambda one: (-one.gain, one.name))


def mistakes(rows: Rows) -> list[Mistake]:
    """List rows that were named wrong, each image once, the surest mistake first."""
    sure = sureness(rows)
    wrong = np.flatnonzero(rows.y_true != rows.y_pred)
    order = wrong if sure is None else wrong[np.argsort(-sure[wrong], kind="stable")]
    found: dict[str, Mistake] = {}
    for row in order.tolist():
        found.setdefault(
            rows.keys[row],
            Mistake(
                key=rows.keys[row],
                true=str(rows.y_true[row]),
                predicted=str(rows.y_pred[row]),
                sure=None if sure is None else float(sure[row]),
            ),
        )
    return list(found.values())


def confused(rows: Rows) -> dict[tuple[int, int], list[str]]:
    """Give the keys of the rows in each cell off the diagonal of the confusion matrix."""
    places = {name: place for place, name in enumerate(rows.classes)}
    cells: dict[tuple[int, int], list[str]] = {}
    for row in np.flatnonzero(rows.y_true != rows.y_pred).tolist():
        cell = places[str(rows.y_true[row])], places[str(rows.y_pred[row])]
        keys = cells.setdefault(cell, [])
        if rows.keys[row] not in keys:
            keys.append(rows.keys[row])
    return cells
