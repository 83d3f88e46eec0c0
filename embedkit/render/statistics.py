"""What `stats` wrote and what was fitted on it, as lines of text.

Layer: render; above layout and the results.
"""

from __future__ import annotations

from embedkit.render.layout import fact_lines, table_lines
from embedkit.render.numbers import params_text
from embedkit.results import StatisticsFit, StatisticsResult


def statistics_lines(record: StatisticsResult) -> list[str]:
    """Say what is in a file of statistics."""
    return fact_lines(
        [
            ("statistics", record.output),
            ("rows", f"{record.rows} of {len(record.labels)} classes"),
            ("left out", ", ".join(f"{count} ({why})" for why, count in record.left_out.items()) or None),
            ("features of", record.model),
            ("Fourier features", record.fourier),
            ("width", record.width),
            ("holds", "the number and mean of each class and one covariance: no image, no row"),
            ("fingerprint", record.fingerprint),
        ]
    )


def statistics_fit_lines(record: StatisticsFit) -> list[str]:
    """Say what was fitted on which statistics."""
    rows = [[one.file, str(one.rows), str(one.classes)] for one in record.sites]
    return [
        *table_lines(("statistics", "rows", "classes"), rows),
        "",
        *fact_lines(
            [
                ("model file", record.output),
                ("pipeline", " -> ".join(record.steps)),
                ("rows", f"{record.rows} of {len(record.classes)} classes"),
                ("chosen", params_text(dict(record.params))),
                ("chosen on", record.selected_on),
                ("fingerprint", record.fingerprint),
                ("accuracy", "not known: statistics hold no rows to test on; predict a labelled source"),
            ]
        ),
    ]
