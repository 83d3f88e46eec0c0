"""What the text of a ladder says, and what it does not."""

from __future__ import annotations

import dataclasses

from embedkit.render import as_text
from embedkit.results import FineTuneReport, RungResult

FROZEN = RungResult(rung="frozen", value=0.75, interval=(0.71, 0.79), p=None, validation=0.9)
CACHED = RungResult(rung="cached", value=0.87, interval=(0.84, 0.9), p=1e-9, validation=0.95, depth=6)
REPORT = FineTuneReport(
    rungs=[FROZEN, CACHED],
    recommended="cached",
    model="vit",
    n_train=9,
    n_test=500,
    classes=2,
    selected_on="a part of train",
    reported_on="test split (500 images)",
    maps_bytes=800_000_000,
)


def of(**changed: object) -> str:
    return as_text(dataclasses.replace(REPORT, rungs=[FROZEN, dataclasses.replace(CACHED, **changed)]))


def test_a_gain_is_shown_and_nothing_is_stopped() -> None:
    text = as_text(REPORT)
    assert "last 6 blocks" in text
    assert "< 1e-6" in text
    assert "800.0 MB in the store" in text
    assert "recommended: cached, by the validation rows alone: a part of train" in text
    assert "stop" not in text


def test_no_gain_says_stop() -> None:
    assert "cached: not significantly better than frozen on the tested images: stop at frozen" in of(p=0.2)
    assert "cached: significantly worse than frozen" in of(p=0.01, value=0.5)
    assert "stop" not in of(p=1.0, supported=False)  # the notes say it
