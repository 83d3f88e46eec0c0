"""What predictions say of their doubt: sets of classes, and what is unknown.

Layer: render; above numbers and the results.
"""

from __future__ import annotations

from embedkit.render.numbers import interval_text, percent
from embedkit.results import Predictions


def conformal_lines(record: Predictions) -> list[str]:
    """Say how large the sets are and how often they hold the label, and how many images are unknown."""
    lines: list[str] = []
    sets = [one.set for one in record.predictions if one.set is not None]
    if record.coverage is not None and sets:
        sizes = [len(one) for one in sets]
        said = f"sets to hold the right class in {percent(record.coverage)}: {sum(sizes) / len(sizes):.2f} classes each"
        if not all(sizes):
            said += f", {sizes.count(0)} of {len(sizes)} empty"
        if record.covered is not None:
            interval = interval_text("accuracy", record.covered_interval)
            said += f"; they hold the label of {percent(record.covered)} ({interval}) of the labelled images"
            if record.covered_interval is not None and record.covered_interval[1] < record.coverage:
                said += ": less than asked for, so these images are not like those that were held out of the fit"
        lines.append(said)
    if record.unknown_error is not None:
        marked = sum(bool(one.unknown) for one in record.predictions)
        lines.append(
            f"unknown: {marked} of {len(record.predictions)} images; of images like those fitted on, "
            f"{percent(record.unknown_error)} would be"
        )
    return ["", *lines] if lines else []
