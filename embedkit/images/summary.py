"""What a source holds, in a few numbers and in one line: rows, labels, splits, and what is passed over.

Layer: images; above source. NumPy only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.images.manifest import normal_path
from embedkit.images.reading import ImageRef
from embedkit.images.source import ImageSource
from embedkit.specs import TargetType

_SHOWN = 6  # classes in the line


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """One image under several labels: the keys of its rows, and the labels they have."""

    keys: list[str]
    labels: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """What a source holds.

    Attributes
    ----------
    rows : int
    target_type : str
        ``"class"``, ``"value"``, ``"multilabel"`` or ``"none"``.
    labels : dict of str to int
        Class -> images; empty for values.
    value_range : (float, float), or None
        The least and the largest of labels that are values.
    unlabelled : int
        Rows without a label, of a source that has labels.
    splits, passed_over : dict of str to int
        Split -> images; reason -> files.
    failures : int
    notes : list of str
    contradictions : list of Contradiction
    """

    rows: int
    target_type: TargetType
    labels: dict[str, int]
    value_range: tuple[float, float] | None
    unlabelled: int
    splits: dict[str, int]
    passed_over: dict[str, int]
    failures: int
    notes: list[str]
    contradictions: list[Contradiction]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "rows": self.rows,
            "target_type": self.target_type,
            "labels": dict(self.labels),
            "value_range": list(self.value_range) if self.value_range is not None else None,
            "unlabelled": self.unlabelled,
            "splits": dict(self.splits),
            "passed_over": dict(self.passed_over),
            "failures": self.failures,
            "notes": list(self.notes),
            "contradictions": [{"keys": c.keys, "labels": c.labels} for c in self.contradictions],
        }

    def line(self) -> str:
        """Return it as one line.

        >>> SourceSummary(rows=3, target_type="class", labels={"cat": 1, "dog": 2}, value_range=None, unlabelled=0,
        ...     splits={}, passed_over={"no image: .txt": 4, "no image: .dng": 1}, failures=0, notes=[],
        ...     contradictions=[]).line()
        'labels: 2 classes (dog 2, cat 1); passed over: 5 files (no image: .txt 4, .dng 1)'
        """
        parts = [self._labels()]
        if self.unlabelled:
            parts.append(f"without a label: {self.unlabelled:,}")
        if self.splits:
            named = ", ".join(f"{name or '(none)'} {count:,}" for name, count in self.splits.items())
            parts.append(f"splits: {named}")
        if self.passed_over:
            parts.append(f"passed over: {_passed_over(self.passed_over)}")
        if self.contradictions:
            first = self.contradictions[0]
            parts.append(
                f"contradictions: {_count(len(self.contradictions), 'image')} under several labels "
                f"({', '.join(first.keys[:2])}: {', '.join(first.labels[:2])})"
            )
        return "; ".join(parts)

    def _labels(self) -> str:
        if self.value_range is not None:
            return f"labels: values from {self.value_range[0]:g} to {self.value_range[1]:g}"
        if not self.labels:
            return f"labels: none ({_count(self.rows, 'image')})"
        ordered = sorted(self.labels.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{name} {count:,}" for name, count in ordered[:_SHOWN])
        if len(ordered) > _SHOWN:
            shown += f", ... {ordered[-1][0]} {ordered[-1][1]:,}"
        several = ", several an image" if self.target_type == "multilabel" else ""
        return f"labels: {len(ordered):,} {'class' if len(ordered) == 1 else 'classes'}{several} ({shown})"


def describe(source: ImageSource, digests: npt.NDArray[np.uint8] | None = None) -> SourceSummary:
    """Say what a source holds.

    Parameters
    ----------
    source : ImageSource
    digests : ndarray of shape (n, 32), uint8, optional
        Of the images, one a row, zeros where not known: with them, images of equal bytes under several labels are
        found, without them only files that are named twice.
    """
    labels: dict[str, int] = {}
    value_range = None
    unlabelled = 0
    if isinstance(source.labels, list):
        counts = Counter(source.labels)
        unlabelled = counts.pop("", 0)
        labels = dict(sorted(counts.items()))
    elif source.labels is not None and source.labels.ndim == 2:
        totals = source.labels.sum(axis=0).tolist()
        labels = {name: int(count) for name, count in zip(source.label_classes, totals, strict=True)}
    elif source.labels is not None:
        known = source.labels[~np.isnan(source.labels)]
        unlabelled = len(source) - len(known)
        value_range = (float(known.min()), float(known.max())) if len(known) else None
    return SourceSummary(
        rows=len(source),
        target_type=source.target_type,
        labels=labels,
        value_range=value_range,
        unlabelled=unlabelled,
        splits=_by_name(Counter(source.split or [])),
        passed_over=dict(source.passed_over),
        failures=len(source.failures),
        notes=list(source.notes),
        contradictions=contradictions(source, digests),
    )


def contradictions(source: ImageSource, digests: npt.NDArray[np.uint8] | None = None) -> list[Contradiction]:
    """Return the images that have several labels, in the order of their first rows; see `describe`."""
    texts = _label_texts(source)
    if texts is None:
        return []
    same: dict[object, list[int]] = {}
    for row, label in enumerate(texts):
        if label:
            identity = _identity(source, row, digests)
            if identity is not None:
                same.setdefault(identity, []).append(row)
    found = [(rows, list(dict.fromkeys(texts[row] for row in rows))) for rows in same.values() if len(rows) > 1]
    return [
        Contradiction(keys=[source.keys[row] for row in rows], labels=labels)
        for rows, labels in found
        if len(labels) > 1
    ]


def _identity(source: ImageSource, row: int, digests: npt.NDArray[np.uint8] | None) -> object:
    if digests is not None and digests[row].any():
        return digests[row].tobytes()
    if not isinstance(source.images, list):
        return None
    ref: ImageRef = source.images[row]
    if isinstance(ref, str):
        return normal_path(ref)
    return ref if isinstance(ref, bytes) or (hasattr(ref, "archive") and not getattr(ref, "problem", "")) else None


def _label_texts(source: ImageSource) -> list[str] | None:
    if source.labels is None or isinstance(source.labels, list):
        return source.labels
    if source.labels.ndim == 1:
        return ["" if value != value else f"{value:g}" for value in source.labels.tolist()]
    names = source.label_classes
    return ["|".join(name for name, on in zip(names, row, strict=True) if on) for row in source.labels.tolist()]


def _by_name(counts: Mapping[str, int]) -> dict[str, int]:
    """Return splits in the order in which they are used: train, val, test, and whatever else."""
    order = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
    return dict(sorted(counts.items(), key=lambda item: (order.get(item[0].lower(), 3), item[0])))


def _passed_over(reasons: Mapping[str, int]) -> str:
    """Count files and folders apart; the endings of one reason stand together."""
    files = sum(count for reason, count in reasons.items() if not reason.endswith(" folder"))
    folders = sum(reasons.values()) - files
    total = " and ".join(_count(n, what) for n, what in ((files, "file"), (folders, "folder")) if n)
    grouped: dict[str, list[tuple[str, int]]] = {}
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        head, colon, ending = reason.partition(": ")
        grouped.setdefault(head + colon, []).append((ending, count))
    shown = [f"{head}{', '.join(f'{ending} {n:,}' for ending, n in found)}" for head, found in grouped.items()]
    return f"{total} ({'; '.join(shown)})"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
