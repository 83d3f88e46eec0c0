"""What to do after a selection: each advice with the number that says so.

Layer: workflows; shared by select.
"""

from __future__ import annotations

from embedkit.results import Advice, Selection


def advise(found: Selection) -> list[Advice]:
    """Return advice, the most telling first; none without its number."""
    return []
