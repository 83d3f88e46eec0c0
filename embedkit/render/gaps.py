"""Gaps between domains as text.

Layer: render; above layout and the results.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from embedkit.render.layout import fact_lines, table_lines
from embedkit.render.numbers import p_text, percent
from embedkit.results import ClassGap, DomainGaps, Gap, Reached

_MOST_CLASSES = 20
_TITLES = {
    "proxy-a": "proxy A-distance, 0 to 2",
    "mmd": "MMD, squared",
    "frechet": "Frechet, squared",
    "coral": "CORAL",
    "cka": "CKA of class means, 1 is alike",
    "label-shift": "label shift, estimated, 0 to 1",
}


def gap_lines(gap: Gap) -> list[str]:
    """Write the verdict, the distances, what each method reaches, and the classes that differ most."""
    distances = [
        (
            _TITLES.get(name, name),
            f"{value:.4g}",
            f"{gap.null[name]:.4g}" if name in gap.null else "",
            p_text(gap.p_values[name]) if name in gap.p_values else "",
        )
        for name, value in gap.distances.items()
    ]
    shown = sorted(gap.classes, key=_harm)[:_MOST_CLASSES]
    lines = [
        *fact_lines(
            [
                ("source", f"{gap.source}, {gap.source_rows} images"),
                ("target", f"{gap.target}, {gap.target_rows} images"),
                ("features of", f"{gap.model}, {len(gap.classes)} classes in common"),
            ]
        ),
        "",
        *table_lines(("distance", "value", "shuffled", "p"), distances),
        "",
        *reached_lines(gap.reached),
        "",
        *table_lines(
            ("class", "distance", "source-only", "target-only", "p", "named instead", "share", "estimated"),
            [_class(one) for one in shown],
        ),
    ]
    if len(shown) < len(gap.classes):
        lines.append(f"the {_MOST_CLASSES} of {len(gap.classes)} classes that lose most; all: --json")
    return lines


def domain_lines(gaps: DomainGaps) -> list[str]:
    """Write a table of pairs and methods, what each domain left out reaches, and what adapters are worth."""
    methods = _methods(gaps.pooled)
    rows = [
        (
            pair.source,
            pair.target,
            f"{pair.distances.get('proxy-a', math.nan):.2f}",
            *(_cell(pair.reached, method) for method in methods),
            pair.verdict,
        )
        for pair in gaps.pairs
    ]
    left_out = [
        *((one.domain, *(_cell(one.reached, method) for method in methods)) for one in gaps.held_out),
        ("all together", *(_cell(gaps.pooled, method) for method in methods)),
    ]
    return [
        *fact_lines(
            [
                ("domains", ", ".join(f"{name} {number}" for name, number in gaps.domains.items())),
                ("features of", gaps.model),
            ]
        ),
        "",
        *table_lines(("source", "target", "proxy A", *methods, "verdict"), rows),
        "",
        "each domain by probes of all others:",
        *table_lines(("left out", *methods), left_out),
        "",
        "% of the target's tested images named right; + and - by a paired test at 5 %: joint and source-only against "
        "target-only (source-only also by how sure it is), feature-copying against joint, the others against "
        "source-only",
    ]


def reached_lines(results: Sequence[Reached]) -> list[str]:
    """Write what each method reaches, and its paired test."""
    return table_lines(
        ("method", "accuracy", "95 % interval", "difference", "p", "against"),
        [
            (
                one.method,
                percent(one.value),
                f"{100 * one.interval[0]:.1f}-{100 * one.interval[1]:.1f} %",
                "" if one.difference is None else f"{100 * one.difference:+.1f}",
                "" if one.p_value is None else p_text(one.p_value),
                one.against,
            )
            for one in results
        ],
    )


def _methods(results: Sequence[Reached]) -> list[str]:
    return [one.method for one in results if not one.method.endswith(", target-only")]


def _cell(results: Sequence[Reached], method: str) -> str:
    found = next((one for one in results if one.method == method), None)
    if found is None:
        return ""
    sign = "-" if found.is_below else "+" if found.differs else ""
    return f"{100 * found.value:.1f}{sign}"


def _harm(one: ClassGap) -> float:
    return (one.source_only or 0.0) - (one.target_only or 0.0)


def _class(one: ClassGap) -> tuple[str, ...]:
    return (
        one.name,
        "" if one.distance is None else f"{one.distance:.2f}",
        "" if one.source_only is None else percent(one.source_only),
        "" if one.target_only is None else percent(one.target_only),
        "" if one.p_value is None else p_text(one.p_value),
        one.named,
        f"{percent(one.source_share)} -> {percent(one.target_share)}",
        percent(one.estimated_share),
    )
