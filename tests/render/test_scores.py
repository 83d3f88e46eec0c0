"""What is said beside scores that newcomers take for more than they are."""

from __future__ import annotations

import math

import pytest

from embedkit.render import duration, remarks
from embedkit.results import Prediction, Predictions


@pytest.mark.parametrize(
    ("score", "accuracy", "said"),
    [
        ("decision value", None, ["no probability", "shows something else"]),
        ("probability", None, ["shows something else"]),
        ("decision value", 0.5, ["no probability"]),
        ("probability", 0.5, []),
        ("score", None, []),
    ],
)
def test_what_scores_do_not_mean_is_said(score, accuracy, said):
    record = Predictions(predictions=[Prediction("a.jpg", "cat", 0.7, score)], score=score, accuracy=accuracy)
    found = remarks(record)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "< 1 s"), (45, "45 s"), (7200, "2 h 0 min"), (math.nan, "unknown")]
)
def test_a_time_as_people_say_it(seconds, said):
    assert duration(seconds) == said
