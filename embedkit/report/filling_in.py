"""The section of a page that asks for labels: a picture, a reason and a field each, and a button that gives the CSV.

Layer: report; above markup and pictures.
"""

from __future__ import annotations

import html

from embedkit.render import advice
from embedkit.report.markup import section, tag, text
from embedkit.report.pictures import Thumbnails
from embedkit.results import LabelResult

_MOST_FIELDS = 2000
_HOW = "Fill in what you know; what stays empty stays open. The button gives the CSV for --answers."


def fields_to_fill_in(record: LabelResult, thumbnails: Thumbnails) -> str:
    """Show the images to label, each with a field; without scripts the CSV is filled in elsewhere."""
    shown = record.chosen[:_MOST_FIELDS]
    if not shown:
        return ""
    blocks = [
        tag(
            "label",
            thumbnails.picture(one.key, one.reason),
            # The key as it is, for the CSV: what is shown of it is held to a length, and its marks are made visible.
            f'<input type="text" list="classes" autocomplete="off" data-key="{html.escape(one.key, quote=True)}">',
            class_="answer",
        )
        for one in shown
    ]
    classes = "".join(f'<option value="{html.escape(name, quote=True)}"></option>' for name in record.classes)
    said, more = advice(record), len(record.chosen) - len(shown)
    return section(
        "Images to label",
        tag("p", text(said, 600)) if said else "",
        tag("p", _HOW, class_="soft"),
        f'<datalist id="classes">{classes}</datalist>',
        tag("div", *blocks, class_="answers"),
        tag("p", f"{more} more images are in the record.", class_="soft") if more > 0 else "",
        tag("p", '<button type="button" id="save-answers">Save answers.csv</button>'),
        id_="fill-in",
    )
