"""What unlabelled rows add, as lines of text.

Layer: render; above numbers, layout and the results.
"""

from __future__ import annotations

from embedkit.render.layout import table_lines
from embedkit.render.numbers import interval_text, p_number, percent
from embedkit.results import ProbeResult, UnlabelledReport

_SIGNIFICANT = 0.05


def unlabelled_lines(report: UnlabelledReport) -> list[str]:
    """Write a row a classifier, and whether unlabelled rows gain anything."""
    rows = [[*_cells(one), "", "", ""] for one in report.labelled]
    rows += [
        [
            *_cells(one),
            f"{100 * gain.difference:+.1f}",
            "{:+.1f} to {:+.1f}".format(*(100 * end for end in gain.interval)),
            p_number(gain.p),
        ]
        for one, gain in zip(report.used, report.gains, strict=True)
    ]
    lines = table_lines(("features", "rows", "accuracy", "95 % interval", "gain in points", "95 % interval", "p"), rows)
    floor = report.labelled[-1]
    better, worse = (
        ", ".join(gain.way for gain in report.gains if gain.p < _SIGNIFICANT and sign * gain.difference > 0)
        for sign in (1, -1)
    )
    return [
        *lines,
        "",
        f"learnt from {report.n_labelled} labelled rows and {report.n_unlabelled} without a label",
        f"gains are over {floor.model} on labelled rows alone; penalties are chosen on {floor.selected_on}",
        f"p: McNemar's, corrected by Holm, on {floor.reported_on}, which chose nothing",
        f"gain: {better}" if better else "no gain: nothing is significantly better than leaving them out",
        *([f"loss: {worse}"] if worse else []),
    ]


def _cells(one: ProbeResult) -> list[str]:
    rows = "labelled alone" if one.estimator == "labelled" else one.estimator
    return [one.model, rows, percent(one.value), interval_text(one.metric, one.interval)]
