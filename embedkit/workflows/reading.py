"""What was read: the labels, splits and passed-over files of a source or a table, and what an update changes.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from embedkit.images import ImageSource, SourceSummary, describe
from embedkit.tables import FeatureTable
from embedkit.workflows.targets import Target


def summary_of(target: Target) -> SourceSummary:
    """Say what a target holds: of a feature file with the images of equal bytes that have several labels."""
    if target.images is not None:
        return describe(target.images)
    return summary_of_table(cast(FeatureTable, target.table))


def read_line(target: Target) -> str:
    """Say in a line what a target holds, and how many of its rows were left out."""
    said = summary_of(target).line()
    return f"{said}; {_dropped(target)}" if target.dropped else said


def dropped_notes(targets: Sequence[Target]) -> list[str]:
    """Say how many rows of each target were left out."""
    return [f"{target.name}: {_dropped(target)}" for target in targets if target.dropped]


def _dropped(target: Target) -> str:
    return f"{target.dropped:,} rows without a label are left out"


def summary_of_table(table: FeatureTable) -> SourceSummary:
    """Say what the rows of a table are."""
    passed_over = table.provenance.get("passed_over")
    counts = passed_over.items() if isinstance(passed_over, dict) else ()
    rows = ImageSource(
        name=str(table.provenance.get("source") or "table"),
        keys=table.keys,
        images=list(table.keys),
        labels=None if table.y is None else table.y.tolist() if table.target_type == "class" else table.y,
        label_classes=table.classes,
        split=None if table.split is None else table.split.tolist(),
        passed_over={reason: count for reason, count in counts if isinstance(count, int)},
    )
    return describe(rows, table.digests)


def changes(path: Path, keys: list[str], digests: npt.NDArray[np.uint8]) -> dict[str, int]:
    """Count how the rows to be written differ from those of a feature file: added, removed, changed (other bytes)."""
    existing = FeatureTable.open(path)
    before = dict(zip(existing.keys, map(bytes, existing.digests), strict=True))
    after = dict(zip(keys, map(bytes, digests), strict=True))
    both = before.keys() & after.keys()
    return {
        "added": len(after) - len(both),
        "removed": len(before) - len(both),
        "changed": sum(before[key] != after[key] for key in both),
    }
