"""The sections of a page that show what a selection or a look at layers has tried.

Layer: report; above markup.
"""

from __future__ import annotations

from embedkit.render import interval_text, p_number, percent
from embedkit.report.charts import curves
from embedkit.report.markup import section, table, tag, text
from embedkit.results import LayersResult, Selection

_MOST_DRAWN = 8


def selected(record: Selection) -> list[str]:
    """Show every candidate, what scores would have chosen, and what to do next."""
    rows = [
        [
            text(one.name),
            percent(one.value),
            interval_text("accuracy", one.interval),
            str(one.rows),
            str(one.forward_passes),
            text("" if one.dropped is None else f"round {one.dropped}: {one.reason}"),
        ]
        for one in record.candidates
    ]
    scores = [
        [
            text(name),
            "" if one.tau is None else f"{one.tau:.2f}",
            f"{100 * one.regret:.1f}",
            "yes" if one.top3 else "no",
        ]
        for name, one in record.scores.items()
    ]
    header = ("candidate", "accuracy", "95 % interval", "images", "passes", "dropped")
    said = tag("p", text(f"It ended because {record.stopped}."), class_="soft")
    advice = [
        tag("p", tag("strong", text(f"{one.advice}: ", 600)), text(one.because, 1200))
        + (tag("pre", text(one.command, 1200)) if one.command else "")
        for one in record.advice
    ]
    return [
        section(
            "Candidates",
            _rounds(record),
            table(
                header,
                rows,
                caption=f"Probes of training images ({record.probe}), in the last round of each",
                numeric=(1, 3, 4),
            ),
            said,
            id_="candidates",
        ),
        section(
            "What scores would have chosen",
            table(
                ("score", "weighted tau", "regret in points", "top-3 hit"),
                scores,
                caption=f"Judged by the probes on the {record.scored_on} images that all have seen",
                numeric=(1, 2),
            ),
            id_="scores",
        ),
        section("What to do next", *advice, id_="advice"),
    ]


def _rounds(record: Selection) -> str:
    """Draw the candidates over the images of their rounds."""
    shown = record.candidates[:_MOST_DRAWN]
    series = [
        (
            one.name,
            [found.rows for found in one.rounds],
            [found.value for found in one.rounds],
            [found.interval for found in one.rounds],
            one.dropped is not None,
        )
        for one in shown
        if one.rounds
    ]
    more = "" if len(shown) == len(record.candidates) else f", the first {len(shown)} of {len(record.candidates)}"
    title = f"Accuracy of the candidates{more}; grey were dropped"
    return curves(series, title=title, across="training images", share=True) if series else ""


def of_layers(record: LayersResult) -> list[str]:
    """Show every layer, and what the best are worth side by side."""
    rows = [
        [
            text(one.name),
            percent(one.value),
            interval_text("accuracy", one.interval),
            "" if one.p_value is None else p_number(one.p_value),
            str(one.width),
            f"{one.effective_rank:.0f}",
            f"{one.separability:.2f}",
        ]
        for one in record.layers
    ]
    header = ("layer", "accuracy", "95 % interval", "p to the output", "width", "effective rank", "LDA")
    together = ""
    if record.concatenated is not None:
        one = record.concatenated
        together = tag(
            "p", text(f"{' + '.join(one.names)} side by side: {percent(one.value)}, {100 * one.gain:+.1f} points")
        )
    listed = table(header, rows, caption=f"Ridge probes on {record.judged_on}", numeric=(1, 3, 4, 5, 6))
    return [section("Layers", _depths(record), listed, together, id_="layers")]


def _depths(record: LayersResult) -> str:
    """Draw the layers by their depth, a line a pool; the model's own output is the last point."""
    depth = 1 + max((one.layer for one in record.layers if one.layer is not None), default=-1)
    own = [one for one in record.layers if one.layer is None]
    series = [
        (
            pool,
            [float(depth if one.layer is None else one.layer) for one in found],
            [one.value for one in found],
            [one.interval for one in found],
            False,
        )
        for pool in dict.fromkeys(one.pool for one in record.layers if one.layer is not None)
        for found in [[*(one for one in record.layers if one.layer is not None and one.pool == pool), *own]]
    ]
    title = f"Accuracy of the layers of {record.model} by depth"
    across = f"layer; {depth} is the model's own output"
    return curves(series, title=title, across=across, share=True, logarithmic=False) if series else ""
