"""The outcome of each tested row: what a confusion matrix, the worst mistakes and any paired test are made from.

Layer: results; above plain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.results.plain import equal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Tested rows, one or more behind each other; protocols of several draws have each row once a draw.

    Attributes
    ----------
    keys : list of str
        Of the images.
    y_true : ndarray of shape (n,), str or float64, or of shape (n, n_classes), bool
    y_pred : ndarray of the same shape and type
    scores : ndarray of shape (n, n_classes), float64, or None
        Larger is more likely; the columns are `classes`.
    probabilities : bool
        Whether the scores are probabilities.
    classes : list of str
        Empty for values.
    fold : ndarray of shape (n,), int64
        The fold in which a row was tested; of protocols of several draws, the draw. 0 where there is one.
    """

    keys: list[str]
    y_true: npt.NDArray[Any]
    y_pred: npt.NDArray[Any]
    scores: npt.NDArray[np.float64] | None = None
    probabilities: bool = False
    classes: list[str]
    fold: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        n, dimensions = len(self.keys), {"U": 1, "f": 1, "b": 2}.get(self.y_true.dtype.kind)
        if not n:
            raise ValueError("no row was tested; a result without rows has None in their place")
        shape = (n,) if dimensions == 1 else (n, len(self.classes))
        if dimensions is None or self.y_pred.dtype.kind != self.y_true.dtype.kind:
            raise ValueError(f"labels are {self.y_true.dtype} and {self.y_pred.dtype}, expected str, float64 or bool")
        if not self.y_true.shape == self.y_pred.shape == shape or self.fold.shape != (n,):
            raise ValueError(f"{n} keys have labels of shapes {self.y_true.shape} and {self.y_pred.shape}")
        if self.scores is not None and self.scores.shape != (n, len(self.classes)):
            raise ValueError(f"{n} keys and {len(self.classes)} classes have scores of shape {self.scores.shape}")
        if self.y_true.dtype.kind == "U" and {*self.y_true.tolist(), *self.y_pred.tolist()} - {*self.classes}:
            raise ValueError("some labels are none of the classes")

    def __eq__(self, other: object) -> bool:
        return equal(self, other)

    def __len__(self) -> int:
        return len(self.keys)

    def confusion(self) -> npt.NDArray[np.int64]:
        """Count rows by true class (row) and predicted class (column), in the order of `classes`.

        Raises
        ------
        ValueError
            The labels are values, or several a row.
        """
        if self.y_true.dtype.kind != "U":
            raise ValueError("a confusion matrix is of one class a row, and these labels are not")
        places = {name: place for place, name in enumerate(self.classes)}
        counts = np.zeros((len(places), len(places)), np.int64)
        np.add.at(counts, ([places[one] for one in self.y_true], [places[one] for one in self.y_pred]), 1)
        return counts

    def per_image(self) -> dict[str, float]:
        """Give what paired tests compare, by key: the share of draws (and of labels) in which a row is right.

        Of values it is minus the squared error, mean over draws.
        """
        if self.y_true.dtype.kind == "f":
            score = -((self.y_true - self.y_pred) ** 2)
        else:
            right = self.y_true == self.y_pred
            score = (right if right.ndim == 1 else right.mean(axis=1)).astype(np.float64)
        totals: dict[str, list[float]] = {}
        for key, one in zip(self.keys, score.tolist(), strict=True):
            totals.setdefault(key, []).append(one)
        return {key: float(np.mean(values)) for key, values in totals.items()}
