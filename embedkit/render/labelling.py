"""What to label next, as lines of text.

Layer: render; above numbers, layout and the results.
"""

from __future__ import annotations

from embedkit.render.layout import fact_lines, table_lines
from embedkit.render.numbers import percent
from embedkit.results import LabelResult

_STRATEGIES = {
    "typical": "typical images of clusters, the largest first: there are no labels of two classes yet",
    "uncertain": "images that the labels so far leave in doubt, each unlike the others",
}
_MOST_SHOWN = 50
_LITTLE = 0.005
_LABELS_A_CLASS = 10
"""Below these, what is expected is too low by a multiple where there are many classes (docs/labelling.md)."""


def label_lines(record: LabelResult) -> list[str]:
    """Say which images to label, why, and whether it pays."""
    shown = record.chosen[:_MOST_SHOWN]
    lines = table_lines(("label next", "why"), [[one.key, one.reason] for one in shown])
    if len(record.chosen) > len(shown):
        lines.append(f"... and {len(record.chosen) - len(shown)} more (-o FILE.csv, --json)")
    facts: list[tuple[str, object]] = [
        ("chosen", f"{len(record.chosen)} of {record.unlabelled} images without a label"),
        ("by", _STRATEGIES.get(record.strategy, record.strategy)),
        ("labels so far", f"{record.labelled} of {len(record.classes)} classes" if record.labelled else "none"),
        ("features of", record.model),
        ("expected", advice(record)),
        ("to fill in", record.output),
    ]
    return [*lines, "", *fact_lines(facts)]


def advice(record: LabelResult) -> str | None:
    """Say what further labels are expected to bring; None where too few are there to say."""
    if record.accuracy is None or record.gain is None or record.gain_interval is None:
        return None
    low, high = record.gain_interval
    said = (
        f"{percent(record.accuracy)} of the labelled images are named right out of fold, and {len(record.chosen)} more "
        f"labels add {100 * record.gain:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
    )
    if record.labelled < _LABELS_A_CLASS * len(record.classes):
        return f"{said}, rather more: there are fewer than {_LABELS_A_CLASS} labels a class"
    return said + ("; that is little: stop, or name what is missing" if high < _LITTLE else "")
