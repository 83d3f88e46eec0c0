"""What is in a table, counted, for a person to look at.

Layer: tables; above head.
"""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from embedkit.specs import TargetType
from embedkit.tables.head import Array, TableHead

_SHOWN = 20  # classes, groups or reasons that a summary lists


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TableSummary:
    """What is in a table; printed, it is text of a line a fact, and in a notebook a table.

    Attributes
    ----------
    rows, width : int
    dtype, model, fingerprint : str
    target_type : {"class", "value", "multilabel", "none"}
    classes : dict of str to int
        Rows of each class, also of those without any; empty for values and without labels.
    unlabelled : int
        Rows whose label is unknown.
    values : (float, float) or None
        Least and largest label, of values.
    splits, groups : dict of str to int
        Rows of each; ``""`` for those that have none. Empty where the table knows of none.
    failures : dict of str to int
        Images without a row, by their reasons.
    """

    rows: int
    width: int
    dtype: str
    model: str
    fingerprint: str
    target_type: TargetType
    classes: dict[str, int]
    unlabelled: int
    values: tuple[float, float] | None
    splits: dict[str, int]
    groups: dict[str, int]
    failures: dict[str, int]

    @property
    def line(self) -> str:
        """The table in a line."""
        labels = {"value": "labels are values", "none": "no labels"}.get(
            self.target_type, f"{len(self.classes)} classes" if self.classes else self.target_type
        )
        facts = [f"{self.rows} x {self.width} {self.dtype}", labels, self.model, f"fingerprint {self.fingerprint[:12]}"]
        return ", ".join(facts + ([f"{sum(self.failures.values())} failed"] if self.failures else []))

    def facts(self) -> list[tuple[str, str]]:
        """Return what is known, as names and texts."""
        found = [("features", f"{self.rows} x {self.width} {self.dtype}"), ("model", self.model)]
        found.append(("fingerprint", self.fingerprint[:12]))
        if self.target_type == "none":
            found.append(("labels", "none"))
        if self.values is not None:
            found.append(("labels", f"values from {self.values[0]:g} to {self.values[1]:g}"))
        if self.classes:
            found.append((f"{len(self.classes)} classes", _counts(self.classes)))
        if self.unlabelled:
            found.append(("unlabelled", str(self.unlabelled)))
        if self.splits:
            found.append(("splits", _counts(self.splits)))
        if self.groups:
            found.append((f"{len(self.groups)} groups", _counts(self.groups)))
        if self.failures:
            found.append((f"{sum(self.failures.values())} failed", _counts(self.failures)))
        return found

    def __repr__(self) -> str:
        facts = self.facts()
        width = max(len(name) for name, _ in facts)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in facts)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in self.facts()
        )
        return f"<table><caption>FeatureTable</caption>{rows}</table>"


def summarise(head: TableHead) -> TableSummary:
    """Count what is in a table."""
    labels, known = head.y, np.ones(len(head), dtype=np.bool_)
    classes: dict[str, int] = {}
    values: tuple[float, float] | None = None
    if labels is not None and head.target_type == "class":
        known = labels != ""
        counts = Counter(cast(list[str], labels.tolist()))
        classes = {name: counts[name] for name in head.classes}
    elif labels is not None and head.target_type == "multilabel":
        classes = dict(zip(head.classes, cast(list[int], labels.sum(axis=0).tolist()), strict=True))
    elif labels is not None:
        known = ~np.isnan(labels)
        values = (float(labels[known].min()), float(labels[known].max())) if known.any() else None
    return TableSummary(
        rows=len(head),
        width=head.spec.backbone.width,
        dtype=head.spec.dtype,
        model=str(head.provenance.get("model") or head.spec.backbone.architecture),
        fingerprint=head.spec.fingerprint,
        target_type=head.target_type,
        classes=classes,
        unlabelled=int((~known).sum()),
        values=values,
        splits=_counted(head.split),
        groups=_counted(head.groups),
        failures=dict(Counter(failure.reason for failure in head.failures).most_common()),
    )


def _counted(column: Array | None) -> dict[str, int]:
    return {} if column is None else dict(sorted(Counter(cast(list[Any], column.tolist())).items()))


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{name or '(none)'} {count}" for name, count in list(counts.items())[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")
