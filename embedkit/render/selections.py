"""Selections of backbones and layers as lines of text.

Layer: render; above numbers, layout and the results.
"""

from __future__ import annotations

from embedkit.render.layout import table_lines
from embedkit.render.numbers import duration, interval_text, p_text, percent
from embedkit.results import LayersResult, Selection, SelectionCandidate
from embedkit.text import printable

_SHARES = 3
"""Principal components whose shares of the variance are printed."""


def selection_lines(record: Selection) -> list[str]:
    """Write what was chosen and what that took, every candidate, and what scores would have chosen."""
    result, cost = record.result, percent(record.cost_share)
    passes: dict[tuple[str, str], int] = {(one.model, one.weights): one.forward_passes for one in record.candidates}
    lines = [
        f"chosen: {record.chosen}, {percent(result.value)} ({interval_text(result.metric, result.interval)}) of "
        f"{result.n_test} tested images by {result.estimator}; they chose nothing",
        f"cost:   {cost} of the images of all networks in full; {sum(passes.values())} forward passes now, the others "
        "were in the store",
        f"end:    {record.stopped} (expected regret {_points(record.expected_regret)}, tolerance "
        f"{_points(record.tolerance)})",
    ]
    if record.tied:
        lines.append(f"not told apart from it by a test: {', '.join(map(printable, record.tied))}")
    header = ("candidate", "accuracy", "95 % interval", "images", "passes", "time", "dropped")
    lines += ["", *table_lines(header, map(_row, record.candidates)), ""]
    lines.append(
        f"accuracy: of {printable(record.probe)} probes on training images, fitted on one half and judged on the "
        "other, five times"
    )
    several = any(len(one.rounds) > 1 for one in record.candidates)
    if several:
        lines.append("more images make a better probe: numbers of one size compare (--json: all rounds)")
    lines += ["", *_scores(record)]
    for advice in record.advice:
        lines += ["", f"{advice.advice}: {advice.because}", *([f"  {advice.command}"] if advice.command else [])]
    return [*lines, "", f"Next: {printable(record.command)}"]


def _row(one: SelectionCandidate) -> list[str]:
    dropped = "" if one.dropped is None else f"round {one.dropped}: {one.reason}"
    return [
        printable(one.name),
        percent(one.value),
        interval_text("accuracy", one.interval),
        str(one.rows),
        str(one.forward_passes),
        duration(one.seconds),
        printable(dropped),
    ]


def _scores(record: Selection) -> list[str]:
    rows = [
        (
            name,
            "" if one.tau is None else f"{one.tau:.2f}",
            _points(one.regret),
            "yes" if one.top3 else "no",
            f"{len(one.values)} of {len(record.candidates)}",
        )
        for name, one in record.scores.items()
    ]
    header = ("score", "weighted tau", "regret", "top-3 hit", "candidates")
    said = f"how well scores predict the ranking of the probes on the {record.scored_on} images that all have seen:"
    return [said, *table_lines(header, rows)]


def layers_lines(record: LayersResult) -> list[str]:
    """Write a line a layer, and what is recommended."""
    rows = [
        (
            printable(one.name),
            percent(one.value),
            interval_text("accuracy", one.interval),
            "" if one.p_value is None else p_text(one.p_value),
            str(one.width),
            f"{one.effective_rank:.0f}",
            " ".join(f"{100 * share:.0f}" for share in one.spectrum[:_SHARES]) + " %",
            f"{one.separability:.2f}",
        )
        for one in record.layers
    ]
    header = ("layer", "accuracy", "95 % interval", "to the output", "width", "effective rank", "spectrum", "LDA")
    lines = [f"recommended: {printable(record.recommended)}; {record.reason}", "", *table_lines(header, rows), ""]
    lines.append(
        f"accuracy: of ridge probes on {record.judged_on}, fitted on one half, judged on the other, five times"
    )
    names = [printable(one.name) for one in record.layers]
    cells = [[name, *(f"{value:.2f}" for value in row)] for name, row in zip(names, record.cka, strict=True)]
    numbers = [str(place) for place in range(1, len(names) + 1)]
    lines += ["", "debiased linear CKA:", *table_lines(("layer", *numbers), cells)]
    if record.concatenated is not None:
        one = record.concatenated
        lines += [
            "",
            f"{' + '.join(map(printable, one.names))} side by side, a penalty each: {percent(one.value)} "
            f"({interval_text('accuracy', one.interval)}), {100 * one.gain:+.1f} points, {p_text(one.p_value)}",
        ]
    return [*lines, "", f"Next: {printable(record.command)}"]


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f} points"
