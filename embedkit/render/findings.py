"""What searches and audits find, as lines of text.

Layer: render; above numbers, layout and the results.
"""

from __future__ import annotations

from embedkit.render.layout import fact_lines, table_lines
from embedkit.render.numbers import label_text, p_text, percent
from embedkit.results import AuditResult, SearchResult

_MOST_OF_A_KIND = 5


def search_lines(record: SearchResult) -> list[str]:
    """Write a table for each query."""
    lines: list[str] = []
    for one in record.results:
        labelled = any(hit.label is not None for hit in one.hits)
        rows = [[f"{hit.cosine:.4f}", hit.key, *([label_text(hit.label)] if labelled else [])] for hit in one.hits]
        header = ("cosine", f"nearest to {one.query}", *(["label"] if labelled else []))
        lines += [*([""] if lines else []), *table_lines(header, rows)]
    return lines


def audit_lines(record: AuditResult) -> list[str]:
    """Write how many findings there are of each kind, the worst of each, and what they are worth."""
    counts = record.counts()
    facts: list[tuple[str, object]] = [("images", record.images), ("features of", record.model)]
    if record.accuracy is not None:
        facts.append(("named right out of fold", percent(record.accuracy)))
    lines = [*fact_lines(facts), ""]
    if not counts:
        lines.append("nothing was found")
    shown = [
        (one.kind, one.key, one.other_key, f"{one.score:.3f}", one.evidence)
        for kind in counts
        for one in [one for one in record.findings if one.kind == kind][:_MOST_OF_A_KIND]
    ]
    if shown:
        lines += [*table_lines(("kind", "key", "other", "score", "evidence"), shown), ""]
        lines.append(", ".join(f"{number} {kind}" for kind, number in counts.items()))
        if any(number > _MOST_OF_A_KIND for number in counts.values()):
            lines.append(f"at most {_MOST_OF_A_KIND} of a kind are listed; all: --json, -o F.csv, --report PAGE.html")
    for effect in record.effects:
        p = "" if effect.p_value is None else f", {p_text(effect.p_value)}"
        lines.append(
            f"without the {effect.without} ({effect.removed}): {percent(effect.before)} -> {percent(effect.after)} "
            f"of {effect.tested} tested{p}"
        )
    lines += [
        f"self-check, {kind}: {one.found} of {one.planted} planted found "
        f"(recall {percent(one.recall)}, precision {percent(one.precision)})"
        for kind, one in record.self_check.items()
    ]
    return lines
