"""What to do after a selection: each advice with the number that says so, and none without one.

Layer: workflows; shared by select.
"""

from __future__ import annotations

import math

from embedkit.render import percent
from embedkit.results import Advice, ProbeResult, Selection

_STEEP = 0.02
"""Accuracy that twice as many images gained, from which on more labels are worth asking for."""

_SHIFTED = 0.05
"""How far the tested images may lie below what training images promised."""


def advise(found: Selection, target: str) -> list[Advice]:
    """Say what to do next, by what the selection has measured.

    Parameters
    ----------
    found : Selection
    target : str
        As commands name it.
    """
    chosen = next(one for one in found.candidates if one.name == found.chosen)
    advice = [
        Advice(
            advice=f"take {found.chosen}, frozen, with a linear classifier",
            because=_lead(found),
            command=found.command,
        )
    ]
    if chosen.layer is not None:
        own = next((one for one in found.candidates if one.model == chosen.model and one.layer is None), None)
        if own is not None:
            advice.append(
                Advice(
                    advice=f"take layer {chosen.layer}, not the model's own output",
                    because=f"{percent(chosen.value)} on {chosen.rows} training images, and {percent(own.value)} of "
                    f"the output on {own.rows}; `embedkit layers` tests it against every other",
                    command=f"embedkit layers {target} --model {chosen.model}={chosen.weights}",
                )
            )
    if found.tied and found.expected_regret > 0:
        advice.append(
            Advice(
                advice="spend no more on choosing, unless tenths of a point matter",
                because=f"no test tells the chosen one from {', '.join(found.tied)}, and choosing among them is "
                f"expected to be worth {100 * found.expected_regret:.1f} points; --thorough goes on",
            )
        )
    if len(chosen.rounds) > 1 and chosen.rounds[-1].rows >= 2 * chosen.rounds[-2].rows:
        before, now = chosen.rounds[-2], chosen.rounds[-1]
        gained = (now.value - before.value) / math.log2(now.rows / before.rows)
        if gained >= _STEEP:
            advice.append(
                Advice(
                    advice="label more images",
                    because=f"probes went from {percent(before.value)} on {before.rows} images to {percent(now.value)} "
                    f"on {now.rows}, {100 * gained:.1f} points with each doubling",
                    command=f"embedkit probe {target} --model {chosen.model}={chosen.weights} --fractions 0.25,0.5,1",
                )
            )
    if found.result.interval is not None and found.result.interval[1] < chosen.value - _SHIFTED:
        advice.append(
            Advice(
                advice="look at how the tested images differ from the training images, before anything else",
                because=f"{percent(found.result.value)} of the tested images are named right, and "
                f"{percent(chosen.value)} of training images by probes that knew half of them: near copies, or another "
                "place or time",
                command=f"embedkit audit {target}",
            )
        )
    return [*advice, *_weak_classes(found.result)]


def _lead(found: Selection) -> str:
    """Say how far the chosen one is ahead of the best of another network, on the same images."""
    chosen = next(one for one in found.candidates if one.name == found.chosen)
    own = {one.rows: one for one in chosen.rounds}
    rivals = [
        (other.rounds[-1], own[other.rounds[-1].rows])
        for other in found.candidates
        if (other.model, other.weights) != (chosen.model, chosen.weights) and other.rounds[-1].rows in own
    ]
    tested = f"{percent(found.result.value)} of {found.result.n_test} tested images"
    if not rivals:
        return tested
    theirs, mine = max(rivals, key=lambda pair: (pair[0].rows, pair[0].value))
    return (
        f"{tested}; on {theirs.rows} training images {percent(mine.value)} against {percent(theirs.value)} of the next "
        f"network, at {percent(found.cost_share)} of the cost of running all"
    )


def _weak_classes(result: ProbeResult) -> list[Advice]:
    """Name the classes of which fewer than half are named right, where most others are."""
    if result.rows is None:
        return []
    right: dict[str, list[bool]] = {}
    for true, said in zip(result.rows.y_true.tolist(), result.rows.y_pred.tolist(), strict=True):
        right.setdefault(str(true), []).append(true == said)
    weak = sorted(
        (sum(marks) / len(marks), name, len(marks)) for name, marks in right.items() if sum(marks) < len(marks) / 2
    )
    if not weak or len(weak) > len(right) / 2:
        return []
    shown = ", ".join(f"{name} ({round(share * count)} of {count})" for share, name, count in weak[:5])
    more = f" and {len(weak) - 5} more" if len(weak) > 5 else ""
    return [Advice(advice="label more images of the weak classes", because=f"named right: {shown}{more}")]
