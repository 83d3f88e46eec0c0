"""A fusion as lines of text.

Layer: render; above numbers, layout and the results.
"""

from __future__ import annotations

from embedkit.render.layout import table_lines
from embedkit.render.numbers import interval_text, p_number, percent
from embedkit.results import FusionReport, ProbeResult

_SIGNIFICANT = 0.05


def fusion_lines(report: FusionReport) -> list[str]:
    """Write a row a backbone and a way, and whether fusing gains anything."""
    best = next(one for one in report.singles if one.model == report.best)
    rows = [[*_cells(one), "", ""] for one in report.singles]
    rows += [
        [*_cells(one), f"{100 * gain.difference:+.1f}", p_number(gain.p)]
        for one, gain in zip(report.fused, report.gains, strict=True)
    ]
    lines = table_lines(("features", "by", "accuracy", "95 % interval", "gain in points", "p"), rows)
    gaining = [gain.way for gain in report.gains if gain.p < _SIGNIFICANT and gain.difference > 0]
    said = f"{', '.join(gaining)} gains" if len(gaining) == 1 else f"{', '.join(gaining)} gain"
    return [
        *lines,
        "",
        f"gains are over {best.model} alone{', which is best on the validation rows' * (len(report.singles) > 1)} "
        f"({best.selected_on})",
        f"p: McNemar's, corrected by Holm, on {best.reported_on}",
        said if gaining else f"{_none(report)} significantly: take {best.model} alone",
    ]


def _none(report: FusionReport) -> str:
    return "no fusion gains" if len(report.singles) > 1 else "views gain nothing"


def _cells(one: ProbeResult) -> list[str]:
    return [one.model, one.estimator, percent(one.value), interval_text(one.metric, one.interval)]
