"""What detectors of one class find, as lines of text.

Layer: render; above numbers, layout and the results.
"""

from __future__ import annotations

from embedkit.render.layout import table_lines
from embedkit.render.numbers import features_text, interval_text, percent
from embedkit.results import OneClassReport, OneClassResult


def one_class_lines(report: OneClassReport) -> list[str]:
    """Write a row a detector, and whether the features gain over floors."""
    header = ("features", "detector", "ROC area", "95 % interval", "found", "false alarms", "over the best floor")
    compared = [one.gain_interval for one in report.results if one.gain_interval is not None]
    gaining = sum(low > 0 for low, _ in compared)
    verdict: list[str] = []
    if compared:
        verdict.append(
            f"{gaining} of {len(compared)} detectors gain over the same detector on the best floor"
            if gaining
            else "no gain: no detector is significantly better than on the best floor"
        )
    elif any(one.gain is not None for one in report.results):
        verdict.append("too few tested images to say whether any detector is better than on the best floor")
    return [
        f"{report.normal} against everything else, known from {report.results[0].n_train} images and "
        f"{report.results[0].n_calibration} that set the threshold",
        "",
        *table_lines(header, [_cells(one) for one in report.results]),
        "",
        f"found: of other classes, at {100 * report.error:g} % of false alarms asked for",
        f"tested on {report.reported_on}, which chose nothing",
        *verdict,
    ]


def _cells(one: OneClassResult) -> list[str]:
    gain = "" if one.gain is None else f"{100 * one.gain:+.1f}"
    if one.gain_interval is not None:
        gain += " ({:+.1f} to {:+.1f})".format(*(100 * end for end in one.gain_interval))
    return [
        features_text(one.model, one.floor),
        one.detector,
        percent(one.roc_auc),
        interval_text("roc_auc", one.interval),
        f"{percent(one.found)} ({interval_text('accuracy', one.found_interval)})",
        f"{percent(one.false_alarms)} ({interval_text('accuracy', one.false_alarms_interval)})",
        gain,
    ]
