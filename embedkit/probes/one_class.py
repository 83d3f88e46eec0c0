"""Detectors that are fitted on one class, calibrated on it, and tested on it and on everything else.

Images of other classes choose nothing and set no threshold: they are tested on alone.

Layer: probes; above evaluation and the estimators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier

from embedkit.errors import LabelsError, SplitError, UsageError
from embedkit.estimators import Distance, UnknownDetector, held_out_rows
from embedkit.evaluation import Estimate, FeatureRows, Rows, interval_of, is_test, roc_area, share_interval
from embedkit.results import OneClassResult
from embedkit.tables import FeatureTable

_TESTED = 0.3
"""Of the normal images of a table without splits."""

_LEAST = 10
"""Normal images to fit and calibrate on; below, no threshold means anything."""

_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalSplit:
    """Rows of one class that are fitted on, and the tested rows of it and of all others.

    Attributes
    ----------
    train, normal, other : ndarray of intp
    reported_on : str
    """

    train: Rows
    normal: Rows
    other: Rows
    reported_on: str

    @property
    def tested(self) -> Rows:
        """Normal rows, then others."""
        return np.concatenate([self.normal, self.other])


def normal_split(table: FeatureTable, normal: str, *, random_state: int = 0) -> NormalSplit:
    """Split a table into what a detector of one class learns from, and what it is tested on.

    Tested are the rows of its test split; without splits, three tenths of the class (groups whole) and all others.

    Raises
    ------
    LabelsError
        The labels are no classes, or the class is not among them, or nothing else is.
    SplitError
        Too few images of the class, or none to test on.
    """
    if table.target_type == "none" or not table.labelled.any():
        raise LabelsError(f"no row has a label, so there is no class {normal!r} to learn; name a column of them")
    if table.target_type != "class":
        raise LabelsError(
            f"the labels are of the kind {table.target_type!r}, and --one-class takes one class an image: name a "
            "column of classes by --label-column (label_column=...)"
        )
    labels = np.asarray(cast("npt.NDArray[np.str_]", table.y)).astype(str)
    mine, others = labels == normal, table.labelled & (labels != normal)
    if not mine.any():
        known = [name for name in table.classes if (labels == name).any()]
        raise LabelsError(
            f"no image is labelled {normal!r}, which was to be the normal class; there are {', '.join(known[:20])}"
            + (", ..." if len(known) > 20 else "")
        )
    if not others.any():
        raise LabelsError(f"all labelled images are of the class {normal!r}, so there is nothing to tell it from")
    if table.split is not None:
        tested = is_test(table.split.tolist())
        train, checked, other = (np.flatnonzero(rows) for rows in (mine & ~tested, mine & tested, others & tested))
        said = f"test split ({len(checked)} images of {normal}, {len(other)} of other classes)"
    else:
        rows, other = np.flatnonzero(mine), np.flatnonzero(others)
        groups = None if table.groups is None else table.groups[rows]
        rest, held_out = _cut(labels[rows], groups, random_state, normal)
        train, checked = rows[rest], rows[held_out]
        said = f"{len(checked)} images of {normal}, three tenths of them, and {len(other)} of other classes"
    if len(train) < _LEAST:
        raise SplitError(
            f"{len(train)} images of {normal} are there to learn from, expected at least {_LEAST}; add some"
        )
    if not len(checked) or not len(other):
        which = "of the class" if not len(checked) else "of other classes"
        raise SplitError(f"the test split has no image {which}, so nothing can be said; move some there")
    return NormalSplit(train=train, normal=checked, other=other, reported_on=said)


def detect(
    table: FeatureTable,
    split: NormalSplit,
    distance: Distance,
    *,
    model: str,
    error: float = 0.05,
    floor: bool = False,
    random_state: int = 0,
) -> tuple[OneClassResult, Estimate]:
    """Fit a detector on normal rows, and say how far the tested others lie from these.

    Returns
    -------
    OneClassResult
        Without a gain.
    Estimate
        Of its ROC area, with the influence of each of `split.tested`.

    Raises
    ------
    UsageError
        `error` is no share, or features are not finite.
    """
    if not 0 < error < 1:
        raise UsageError(f"error={error!r}, expected a share between 0 and 1, such as 0.05")
    features = FeatureRows(table)
    fitted = one_class_detector(features, split.train, "", distance, _groups(table, split.train), random_state)
    distances = fitted.distances(_taken(features, split.tested))
    beyond = fitted.is_unknown(_taken(features, split.tested), error)
    marks = np.arange(len(distances)) >= len(split.normal)
    area = roc_area(marks, distances)
    found, alarms = int(beyond[marks].sum()), int(beyond[~marks].sum())
    result = OneClassResult(
        model=model,
        detector=distance,
        roc_auc=area.value,
        interval=interval_of("roc_auc", marks.astype(np.intp), [area]),
        found=found / len(split.other),
        found_interval=share_interval(found, len(split.other)),
        false_alarms=alarms / len(split.normal),
        false_alarms_interval=share_interval(alarms, len(split.normal)),
        n_train=len(split.train) - len(fitted.distances_),
        n_calibration=len(fitted.distances_),
        floor=floor,
    )
    return result, area


def one_class_detector(
    features: FeatureRows,
    rows: Rows,
    normal: str,
    distance: Distance,
    groups: npt.NDArray[Any] | None,
    random_state: int,
) -> UnknownDetector:
    """Fit a detector on rows of one class (ascending), a fifth of which sets its threshold."""
    detector = UnknownDetector(DummyClassifier(), distance=distance, n_neighbors=_NEIGHBOURS, random_state=random_state)
    return detector.fit(features.take(rows), np.full(len(rows), normal), groups)


def _groups(table: FeatureTable, rows: Rows) -> npt.NDArray[Any] | None:
    return None if table.groups is None else table.groups[rows]


def _taken(features: FeatureRows, rows: Rows) -> npt.NDArray[np.float32]:
    """Give features of rows in any order."""
    order = np.argsort(rows)
    found = np.empty((len(rows), features.shape[1]), np.float32)
    found[order] = features.take(rows[order])
    return found


def _cut(
    labels: npt.NDArray[np.str_], groups: npt.NDArray[Any] | None, random_state: int, normal: str
) -> tuple[Rows, Rows]:
    try:
        return held_out_rows(labels, _TESTED, random_state, groups)
    except UsageError as error:
        raise SplitError(
            f"{len(labels)} image{'s' if len(labels) > 1 else ''} of {normal} cannot be cut into some to learn from "
            "and some to test on; add some, of other groups too"
        ) from error
