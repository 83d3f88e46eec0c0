"""The difference of two feature files as text.

Layer: render; above layout and the results.
"""

from __future__ import annotations

from collections.abc import Sequence

from embedkit.render.layout import fact_lines
from embedkit.results import FeatureDiff

_MOST_KEYS = 5
_MOST_SETTING = 60  # characters of a value of the spec


def difference_lines(diff: FeatureDiff) -> list[str]:
    """Return the lines of a difference."""
    changed = [f"{one.key} ({', '.join(one.fields)})" for one in diff.changed]
    moved = [f"{one.first} -> {one.second}" for one in diff.moved]
    facts: list[tuple[str, object]] = [
        ("first", f"{diff.first}, {diff.first_rows} rows"),
        ("second", f"{diff.second}, {diff.second_rows} rows"),
        ("added", _listed(diff.added)),
        ("removed", _listed(diff.removed)),
        ("moved", _listed(moved) if moved else None),
        ("changed", _listed(changed)),
        ("features", _features(diff)),
        *((one.name, f"{_short(one.first)} -> {_short(one.second)}") for one in diff.settings),
    ]
    return fact_lines(facts)


def _features(diff: FeatureDiff) -> str:
    if not diff.same_backbone:
        return "of other backbones, so that rows are not compared"
    if not diff.compared:
        return "no image in common"
    if not diff.unequal:
        return f"equal to the last bit in all {diff.compared} rows of the same image"
    return (
        f"{diff.unequal} of {diff.compared} rows of the same image differ; drift: worst cosine {diff.worst:.4f} "
        f"({diff.worst_key}), mean {diff.mean:.4f}"
    )


def _listed(keys: Sequence[str]) -> str:
    if not keys:
        return "0"
    more = f", ... and {len(keys) - _MOST_KEYS} more (--json lists all)" if len(keys) > _MOST_KEYS else ""
    return f"{len(keys)}: {', '.join(keys[:_MOST_KEYS])}{more}"


def _short(value: str) -> str:
    return value if len(value) <= _MOST_SETTING else f"{value[:_MOST_SETTING]}..."
