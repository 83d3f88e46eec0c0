"""Which images choose and which are reported on, and how to go on with what was chosen.

Layer: workflows; shared by select and layers.
"""

from __future__ import annotations

import copy
import os
import shlex
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest
from embedkit.errors import LabelsError
from embedkit.evaluation import make_splits
from embedkit.images import ImageSource
from embedkit.tables import FeatureTable

_FOLDS = 5
"""One of so many parts of a data set without splits is held back, to be reported on."""


@dataclass(frozen=True, kw_only=True)
class ChoosingRows:
    """Which images choose, and which are reported on.

    Attributes
    ----------
    choosing, tested : ndarray of intp
        Rows of the source.
    classes, groups : ndarray of intp
        Of the rows that choose.
    declared : bool
        Whether the source names its splits.
    """

    choosing: npt.NDArray[np.intp]
    tested: npt.NDArray[np.intp]
    classes: npt.NDArray[np.intp]
    groups: npt.NDArray[np.intp]
    declared: bool
    notes: list[str]

    @classmethod
    def of(cls, images: ImageSource, random_state: int) -> ChoosingRows:
        """Split the images of a source.

        Raises
        ------
        LabelsError
            Labels are missing, no classes, or of one class.
        SplitError
            There is no train or no test split, or no class has two training images.
        """
        if images.target_type != "class":
            kind = {"none": "there are no labels", "value": "labels are values"}.get(
                images.target_type, "an image has several labels"
            )
            raise LabelsError(
                f"{kind}, and probes of few images need one class an image; name its column with --label-column, or "
                "use `embedkit compare`"
            )
        y = np.asarray(cast("list[str]", images.labels), dtype=np.str_)
        split = make_splits(y, images.split, groups=images.groups, folds=_FOLDS, random_state=random_state)[0]
        choosing = split.train
        groups = np.arange(len(choosing))
        if images.groups is not None:
            # Rows without a group are groups of their own.
            names = [images.groups[row] or f"\0{row}" for row in row_numbers(choosing)]
            groups = np.unique(names, return_inverse=True)[1]
        classes = np.unique(y[choosing], return_inverse=True)[1].astype(np.intp)
        notes = list(split.notes)
        if images.split is None:
            notes.append(
                f"the data set has no splits: {len(split.test)} of {len(y)} images were held back and chose nothing"
            )
        return cls(
            choosing=choosing,
            tested=split.test,
            classes=classes,
            groups=groups.astype(np.intp),
            declared=images.split is not None,
            notes=notes,
        )


def row_numbers(rows: npt.NDArray[np.intp]) -> list[int]:
    """Return rows as plain numbers."""
    return rows.tolist()


def with_split(table: FeatureTable, images: ImageSource, rows: ChoosingRows) -> FeatureTable:
    """Return a table whose split keeps apart what chose and what is reported on."""
    if rows.declared:
        return table
    tested = {images.keys[row] for row in row_numbers(rows.tested)}
    head = copy.copy(table.metadata)
    head.split = np.array(["test" if key in tested else "train" for key in table.keys], dtype=object)
    return FeatureTable(head, cast(npt.NDArray[np.float32], table.X.astype(head.spec.dtype)))


def extract_command(target: Any, request: FeatureRequest) -> str:
    """Return the command that goes on with the features of a request."""
    words = ["--model", cast(str, request.model)]
    if request.weights != "pretrained":
        words += ["--weights", str(request.weights)]
    if request.layer is not None:
        words += ["--layer", str(request.layer)]
    if request.pool != "auto":
        words += ["--pool", str(request.pool)]
    words += ["--precision", request.precision, "--engine", request.engine, "-o", "features.h5"]
    return f"embedkit extract {target_words(target)} {shlex.join(words)}"


def target_words(target: Any) -> str:
    """Return a target as a command names it."""
    several = cast("list[Any]", target) if isinstance(target, list) else [target]
    if all(isinstance(one, str | os.PathLike) for one in several):
        return shlex.join(os.fspath(cast(str, one)) for one in several)
    return str(getattr(cast(Any, target), "name", "TARGET"))
