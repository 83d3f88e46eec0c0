"""The rungs of a ladder as lines of text.

Layer: render; above numbers, layout and the results.
"""

from __future__ import annotations

from embedkit.render.layout import table_lines
from embedkit.render.numbers import duration, interval_text, p_number, percent
from embedkit.results import FineTuneReport, RungResult

_SIGNIFICANT = 0.05


def ladder_lines(report: FineTuneReport) -> list[str]:
    """Write a row a rung, what is recommended, and what the numbers are of."""
    header = (
        "rung",
        "accuracy",
        "95 % interval",
        "p",
        "validation",
        "tuned",
        "parameters",
        "time",
        "CPU time",
        "memory",
    )
    lines = table_lines(header, [_row(one) for one in report.rungs])
    lines += ["", f"recommended: {report.recommended}, by the validation rows alone: {report.selected_on}"]
    lines += [one for one in (stop_line(report, place) for place in range(1, len(report.rungs))) if one]
    lines.append(f"p: of McNemar's test against the rung below, on {report.reported_on}")
    if report.maps_bytes:
        lines.append(
            f"maps of the blocks before the tuned ones: {_size(report.maps_bytes)} in the store, "
            f"{report.prefix_passes} passes of images and views in this run, {duration(report.prefix_seconds)}"
        )
    if report.output:
        lines.append(f"weights: {report.output}; `embedkit extract ... --model {report.model} --weights FILE` takes it")
    return lines


def stop_line(report: FineTuneReport, place: int) -> str:
    """Say of a rung that is not significantly better than the one below that it is not; of others nothing.

    Where nothing was tuned the record's notes say so.
    """
    one, below = report.rungs[place], report.rungs[place - 1]
    if not one.supported or (one.p is not None and one.p < _SIGNIFICANT and one.value > below.value):
        return ""
    worse = one.p is not None and one.p < _SIGNIFICANT
    said = "significantly worse" if worse else "not significantly better"
    return f"{one.rung}: {said} than {below.rung} on the tested images: stop at {below.rung}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _row(one: RungResult) -> list[str]:
    tuned = f"last {one.depth} blocks" if one.depth else "classifier" if one.rung != "frozen" else ""
    return [
        one.rung,
        percent(one.value),
        interval_text("accuracy", one.interval),
        "" if one.p is None else p_number(one.p),
        percent(one.validation),
        tuned if one.supported else "nothing",
        f"{one.trained_parameters:,}",
        duration(one.seconds),
        duration(one.cpu_seconds),
        _size(one.peak_bytes),
    ]
