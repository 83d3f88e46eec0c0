"""The sections of a page that show what a selection or a look at layers has tried.

Layer: report; above markup.
"""

from __future__ import annotations

from embedkit.render import interval_text, p_number, percent
from embedkit.report.markup import lines, section, table, tag, text
from embedkit.results import LayersResult, Selection


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
    return [
        section(
            "Candidates",
            table(
                header, rows, caption="Ridge probes of training images, in the last round of each", numeric=(1, 3, 4)
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
        section("What to do next", lines([f"{one.advice}: {one.because}" for one in record.advice]), id_="advice"),
    ]


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
    caption = f"Ridge probes on {record.judged_on}"
    return [section("Layers", table(header, rows, caption=caption, numeric=(1, 3, 4, 5, 6)), together, id_="layers")]
