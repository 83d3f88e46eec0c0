"""The sections of a page that show ways side by side: of using a source domain, and of tuning a network.

Layer: report; above charts and markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from embedkit.render import p_text, percent
from embedkit.report.charts import Mark, intervals
from embedkit.report.markup import section
from embedkit.results import DomainGaps, FineTuneReport, Gap, Reached


def between_domains(record: Gap | DomainGaps) -> str:
    """Draw what each way of using a source names right in the target."""
    results = record.reached if isinstance(record, Gap) else record.pooled
    title = (
        f"Tested images of {record.target} that are named right"
        if isinstance(record, Gap)
        else "Images of each domain that are named right by probes of all others"
    )
    return section("What is named right", intervals(_marks(results), title=title, share=True), id_="ways")


def of_rungs(record: FineTuneReport) -> str:
    """Draw what each rung names right."""
    marks = [
        Mark(
            name=one.rung,
            value=one.value,
            interval=one.interval,
            muted=not one.supported,
            said=percent(one.value) + ("" if one.p is None else f", {p_text(one.p)}"),
        )
        for one in record.rungs
    ]
    title = f"Tested images of {record.data or record.model} that each rung names right, tested against the rung below"
    return section("Rungs", intervals(marks, title=title, share=True), id_="rungs")


def _marks(results: Sequence[Reached]) -> list[Mark]:
    """Floors and guessing are grey: what a way has to beat."""
    in_target = ", target-only"
    floors = {one.method.removesuffix(in_target) for one in results if one.method.endswith(in_target)}
    return [
        Mark(
            name=one.method,
            value=one.value,
            interval=one.interval,
            muted=one.method == "guessing" or one.method.removesuffix(in_target) in floors,
            said=percent(one.value) + ("" if one.p_value is None else f", {p_text(one.p_value)}"),
        )
        for one in results
    ]
