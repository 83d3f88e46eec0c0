"""Whether what is learnt in a source holds in a target: one word, and a sentence with the numbers behind it.

In this order, each by a paired test at 5 %; "below" is by either of two, see `Reached.is_below`:

    negative         two classes are named as each other: labels mean other things in source and target
    other-backbone   even a probe of the target's own rows is not above the floors
    negative         source-only is below a floor, or joining the source to the target's rows makes these worse
    transfers        source-only is not below target-only; some-classes where single classes are
    some-classes     it is below, but not on the images of the other classes, which are the most
    adapt            it is below, and an alignment improves it, or the source improves on target-only when joined
    negative         it is below, and nothing helps

Layer: selection; above transfer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedkit.evaluation import mcnemar_test
from embedkit.results import ClassGap, Reached, Verdict
from embedkit.selection.transfer import GUESS, IN_TARGET, JOINT, SOURCE, TARGET, Names, Predictions

LEVEL = 0.05
_MOST_NAMED = 5


def exchanged_classes(pairs: Sequence[tuple[Names, Names]], classes: Sequence[str]) -> list[tuple[str, str, int, int]]:
    """Find classes that probes of one domain name as each other in the other domain.

    Parameters
    ----------
    pairs : sequence of (ndarray of str, ndarray of str)
        What rows are and what they are named, by a probe of the other domain.
    classes : sequence of str

    Returns
    -------
    list of (str, str, int, int)
        Two classes, how many of their rows are named as the other one, and as their own. Rows of either class are more
        often the other one than their own, and all together by a binomial test corrected over all pairs of classes.
        None where a class would be in two such pairs.
    """
    truth, named = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    tests = len(classes) * (len(classes) - 1) / 2
    found: list[tuple[str, str, int, int]] = []
    for place, one in enumerate(classes):
        for other in classes[place + 1 :]:
            crossed = [((truth == one) & (named == other)).sum(), ((truth == other) & (named == one)).sum()]
            own = [((truth == one) & (named == one)).sum(), ((truth == other) & (named == other)).sum()]
            if crossed[0] <= own[0] or crossed[1] <= own[1]:
                continue
            wrong, right = int(sum(crossed)), int(sum(own))
            rows = np.repeat([True, False], [wrong, right])
            if mcnemar_test(rows, ~rows).p_value * tests < LEVEL:
                found.append((one, other, wrong, right))
    # Where a class crosses with several, whatever parts the domains is not two labels.
    crossing = [name for pair in found for name in pair[:2]]
    return found if len(crossing) == len(set(crossing)) else []


def judge_transfer(
    found: Predictions,
    results: Sequence[Reached],
    classes: Sequence[ClassGap],
    exchanged: Sequence[tuple[str, str, int, int]],
) -> tuple[Verdict, str]:
    """Return the verdict and its sentence."""
    by = {one.method: one for one in results}
    own, other, joint = by[TARGET], by[SOURCE], by[JOINT]
    suffering = [one for one in classes if _worse(one)]
    tested = _p(other.p_value) + _less_sure(other, own)
    beside = f"source-only {_percent(other.value)}, target-only {_percent(own.value)} ({tested})"
    which = f"; worst: {_listed(suffering)}" if suffering else ""
    if exchanged:
        pairs = ", ".join(
            f"{one} and {two} ({wrong} of {wrong + right} images)" for one, two, wrong, right in exchanged
        )
        return "negative", (
            f"negative transfer: {pairs} are named as each other; compare what these labels mean in source and target "
            f"({beside})"
        )
    floors = [by[name + IN_TARGET] for name in found.floors if name != GUESS]
    for floor in floors:
        if not (own.value > floor.value and floor.differs):
            return "other-backbone", (
                f"choose another backbone: a probe of the target's own images names {_percent(own.value)} right, and "
                f"{floor.method.removesuffix(IN_TARGET)} {_percent(floor.value)} ({_p(floor.p_value)}); {beside}"
            )
    guess = mcnemar_test(found.right(TARGET), found.right(GUESS))
    if guess.difference <= 0 or guess.p_value >= LEVEL:
        return "other-backbone", (
            f"choose another backbone: a probe of the target's own images names {_percent(own.value)} right, "
            f"guessing {_percent(by[GUESS].value)} ({_p(guess.p_value)})"
        )
    for floor in (by[name] for name in found.floors):
        if floor.value > other.value and floor.differs:
            return "negative", (
                f"negative transfer: source-only {_percent(other.value)} is below {floor.method} "
                f"{_percent(floor.value)} ({_p(floor.p_value)}); target-only {_percent(own.value)}{which}"
            )
    if joint.value < own.value and joint.differs:
        return "negative", (
            f"negative transfer: with the source's images beside its own the target falls from {_percent(own.value)} "
            f"to {_percent(joint.value)} ({_p(joint.p_value)}); source-only {_percent(other.value)}{which}"
        )
    if not other.is_below:
        if suffering:
            return "some-classes", (f"negative transfer in some classes: {_listed(suffering)}; of all images {beside}")
        alike = "" if other.differs else " are not told apart by what they name"
        return "transfers", f"transfers well: {beside}{alike}"
    rest = ~np.isin(found.y, [one.name for one in suffering])
    if suffering and 2 * len(suffering) <= len(classes) and rest.any():
        elsewhere = mcnemar_test(found.right(SOURCE)[rest], found.right(TARGET)[rest])
        if elsewhere.p_value >= LEVEL or elsewhere.difference > 0:
            return "some-classes", (
                f"negative transfer in some classes: {_listed(suffering)}; on the others source-only is not told "
                f"from target-only ({_p(elsewhere.p_value)}); of all images {beside}"
            )
    best = best_adapter(found, results)
    if best is not None:
        return "adapt", (
            f"adapt: as it is there is negative transfer ({beside}); {best.method} lifts source-only to "
            f"{_percent(best.value)} ({_p(best.p_value)}){which}"
        )
    if joint.value > own.value and joint.differs:
        return "adapt", (
            f"adapt: as it is there is negative transfer ({beside}); fitted on both domains a probe names "
            f"{_percent(joint.value)} right ({_p(joint.p_value)} against target-only){which}"
        )
    return "negative", f"negative transfer: {beside}, and no alignment improves it by a paired test{which}"


def _less_sure(one: Reached, own: Reached) -> str:
    """Say how sure the two are, where only that tells them apart."""
    if one.differs or not one.is_less_sure:
        return ""
    sure, own_sure = _percent(one.certainty or 0.0), _percent(own.certainty or 0.0)
    return f"; sure of the truth {sure} for {own_sure}, {_p(one.certainty_p)}"


def best_adapter(found: Predictions, results: Sequence[Reached]) -> Reached | None:
    """Return the best adapter that improves on source-only and is above guessing, both by a paired test."""
    helping: list[Reached] = []
    for one in (one for one in results if one.method in found.adapters):
        guess = mcnemar_test(found.right(one.method), found.right(GUESS))
        if (one.difference or 0.0) > 0 and one.differs and guess.difference > 0 and guess.p_value < LEVEL:
            helping.append(one)
    return max(helping, key=lambda one: one.value, default=None)


def _worse(one: ClassGap) -> bool:
    if one.p_value is None or one.source_only is None or one.target_only is None:
        return False
    return one.source_only < one.target_only and one.p_value < LEVEL


def _listed(classes: Sequence[ClassGap]) -> str:
    ordered = sorted(classes, key=lambda one: (one.source_only or 0.0) - (one.target_only or 0.0))
    said = [
        f"{one.name} ({_percent(one.source_only or 0)} for {_percent(one.target_only or 0)}, named {one.named} instead)"
        for one in ordered[:_MOST_NAMED]
    ]
    return ", ".join(said) + (f" and {len(ordered) - _MOST_NAMED} more" if len(ordered) > _MOST_NAMED else "")


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _p(value: float | None) -> str:
    return "" if value is None else "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
