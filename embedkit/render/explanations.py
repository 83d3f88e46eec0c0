"""Explanations as text.

Layer: render; above layout and the results.
"""

from __future__ import annotations

import numpy as np

from embedkit.render.layout import fact_lines
from embedkit.results import Deletion, Explanation, Explanations, Influence

_PLACES = 3
"""Places that are named for each image."""


def explanation_lines(record: Explanations) -> list[str]:
    """Return the lines of explanations, one paragraph an image."""
    lines: list[str] = []
    for one in record.explanations:
        lines += [*([""] if lines else []), *_of_image(one)]
    return lines


def _of_image(one: Explanation) -> list[str]:
    named = f"{one.class_}, {one.score} {one.logit:.4g}" if one.class_ else f"{one.score} {one.logit:.4g}"
    other = f" (predicted: {one.predicted})" if one.class_ not in ("", one.predicted) else ""
    likeness = one.random_weights
    facts: list[tuple[str, object]] = [
        ("image", one.image),
        ("explained", named + other),
        ("places", _places(one)),
        ("covering", None if one.deletion is None else _deletion(one.deletion)),
        ("random net", None if likeness is None else f"its map correlates by {likeness:.2f} (Spearman) with this one"),
        ("nearest", ", ".join(f"{near.other_key} ({near.label}, {near.cosine:.2f})" for near in one.nearest) or None),
        ("for it", _influences([of for of in one.influence if of.contribution > 0])),
        ("against", _influences([of for of in reversed(one.influence) if of.contribution < 0])),
    ]
    return fact_lines(facts)


def _influences(found: list[Influence]) -> str | None:
    return ", ".join(f"{of.key} ({of.label}, {of.contribution:+.3g})" for of in found) or None


def _places(one: Explanation) -> str:
    rows, columns = one.contributions.shape
    order = np.argsort(-one.contributions, axis=None, kind="stable")[:_PLACES]
    named = [
        f"row {place // columns + 1} of {rows}, column {place % columns + 1} of {columns} "
        f"({one.contributions.flat[place]:+.3g})"
        for place in order.tolist()
    ]
    if one.bias is None:
        return f"by covering them; most is lost at {'; '.join(named)}"
    return f"they add up to {one.contributions.sum():.4g}, and {one.bias:+.4g} for all images; most: {'; '.join(named)}"


def _deletion(deletion: Deletion) -> str:
    half = min(range(len(deletion.fractions)), key=lambda step: abs(deletion.fractions[step] - 0.2))
    return (
        f"{100 * deletion.fractions[half]:.0f} % of the places: {deletion.by_map[half]:.4g} by this map, "
        f"{deletion.at_random[half]:.4g} at random, {deletion.by_map[0]:.4g} with none"
    )
