"""What to do after a selection: each advice with the number that says so, and none without one.

That something is not worth doing is an advice, too.

Layer: workflows; shared by select.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from embedkit.render import duration, p_text, percent
from embedkit.results import Advice, ProbeResult, Selection
from embedkit.workflows.evidence import LEVEL, TRIAL, Evidence, Fused, OtherOutput

_STEEP = 0.01
"""Accuracy that twice as many labels are expected to bring, from which on they are worth asking for."""

_CLASSIFIERS = {"logistic": "a linear classifier", "knn": "its nearest images (knn)"}
"""By what the chosen one was reported."""

_SHIFTED = 0.05
"""How far the tested images may lie below what training images promised."""


def advise(found: Selection, target: str, evidence: Evidence) -> list[Advice]:
    """Say what to do next, by what the selection has measured.

    Parameters
    ----------
    found : Selection
    target : str
        As commands name it.
    evidence : Evidence
    """
    chosen = next(one for one in found.candidates if one.name == found.chosen)
    model = shlex.quote(_model(chosen.model, chosen.weights))
    by = found.result.estimator
    advice = [
        Advice(
            advice=f"take {found.chosen}, frozen, with {_CLASSIFIERS.get(by, by)}",
            because=_lead(found),
            command=found.command,
            about="model",
        ),
        *_layer(evidence.output, f"embedkit layers {target} --model {model}"),
    ]
    if found.tied and found.expected_regret > 0:
        advice.append(_choosing(found, all_used=evidence.all_used, thorough=evidence.thorough))
    if evidence.fused is not None:
        advice.append(_fusion(evidence.fused, found, target))
    return [
        *advice,
        *_labels(evidence, f"embedkit probe {target} --model {model} --fractions 0.25,0.5,1"),
        *_domain(evidence, target, model),
        *_tuning(evidence, found, f"embedkit finetune {target} --model {model}"),
        *_shift(found, chosen.value, target),
        *_weak_classes(found.result),
    ]


def _model(model: str, weights: str) -> str:
    """Name a model and its weights as --model takes them."""
    return model if weights == "pretrained" else f"{model}={weights}"


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


def _choosing(found: Selection, *, all_used: bool, thorough: bool) -> Advice:
    """Say what a further choice among those that no test tells apart is worth, and whether there is any to be had."""
    if found.expected_regret <= found.tolerance:
        advice = "spend no more on choosing, unless tenths of a point matter"
    else:
        advice = "do not take the choice for settled"
    if all_used:
        more = "all images that may choose are used, so that only more labelled images would tell"
    else:
        more = "a larger --budget goes on" if thorough else "--thorough goes on"
    return Advice(
        advice=advice,
        because=f"no test tells the chosen one from {', '.join(found.tied)}, and choosing among them is expected to be "
        f"worth {100 * found.expected_regret:.1f} points; {more}",
        about="choosing",
        gain=found.expected_regret,
    )


def _layer(other: OtherOutput | None, command: str) -> list[Advice]:
    if other is None:
        return []
    return [
        Advice(
            advice=f"take {other.name}, not the model's own output"
            if other.better
            else f"stay with the model's own output: {other.name}, the best of its other layers here, is no gain",
            because=f"{_points(other.gain)} points against the model's own output on {other.rows} training images, "
            f"{p_text(other.p_value)}",
            command=command,
            about="layer",
            gain=other.gain,
            p_value=other.p_value,
        )
    ]


def _fusion(fused: Fused, found: Selection, target: str) -> Advice:
    """Advise the chosen one side by side with others, where a test says that they know more together."""
    by_name = {one.name: one for one in found.candidates}
    models = [by_name[name] for name in fused.names]
    said = " ".join(f"--model {shlex.quote(_model(one.model, one.weights))}" for one in models)
    others = " and ".join(fused.names[1:])
    helps = fused.gain > 0 and fused.p_value <= LEVEL
    command = f"embedkit probe {target} {said} --fuse concat" if all(one.layer is None for one in models) else ""
    if helps:
        advice = f"take {others} beside it, if {len(fused.names)} passes an image may be spent"
    elif fused.interval[1] < _STEEP:
        advice, command = f"take no other backbone beside it: with {others} there is no gain", ""
    else:
        advice = f"{fused.rows} images do not tell whether {others} beside it would pay"
    return Advice(
        advice=advice,
        because=f"{_points(fused.gain)} points ({_between(fused.interval)}, {p_text(fused.p_value)}) on {fused.rows} "
        "training images that all of them have seen",
        command=command,
        about="fusion",
        gain=fused.gain,
        p_value=fused.p_value,
    )


def _labels(evidence: Evidence, command: str) -> list[Advice]:
    """Advise more labels where the second half of them has brought something."""
    gain = evidence.labels
    if gain is None:
        return []
    numbers = (
        f"ridge probes of half the labels name {percent(gain.half)} of the tested images right, of all {gain.fitted} "
        f"{percent(gain.whole)} ({_between(gain.interval)}, {p_text(gain.p_value)})"
    )
    sure = gain.p_value <= LEVEL and gain.whole > gain.half
    if sure and gain.expected >= _STEEP:
        said = f"label more images: twice as many are expected to bring {100 * gain.expected:.1f} points"
    elif sure:
        said = f"label more images only if {100 * gain.expected:.1f} points are worth twice as many labels"
    else:
        said = "label no more images at random: the second half of the labels brought no gain"
    return [
        Advice(
            advice=said,
            because=numbers,
            command=command if sure else "",
            about="labels",
            gain=gain.expected if sure else 0.0,
            p_value=gain.p_value,
        )
    ]


def _domain(evidence: Evidence, target: str, model: str) -> list[Advice]:
    """Advise what to do with the source domain, where the target has labels of its own."""
    gap = evidence.source
    if gap is None:
        return []
    by = {one.method: one for one in gap.reached}
    source, joint = by["source-only"], by["joint"]
    helps = (joint.difference or 0.0) > 0 and joint.differs
    if helps:
        said = f"fit on the images of {gap.source} beside the target's own"
    elif gap.verdict == "other-backbone":
        said = "choose another backbone before a source domain"
    elif gap.verdict == "transfers":
        said = f"a classifier of {gap.source} serves here as it is; beside the target's own images it is no gain"
    elif gap.verdict == "some-classes":
        said = f"trust a classifier of {gap.source} with the other classes only"
    else:
        said = f"keep to the target's own images: those of {gap.source} are no gain"
    # That an alignment lifts a source counts where the target has no labels.
    measured = gap.evidence
    if gap.verdict == "adapt":
        measured = f"source-only {percent(source.value)}, target-only {percent(by['target-only'].value)}"
    return [
        Advice(
            advice=said,
            because=f"{measured}; fitted on both {percent(joint.value)} ({_p(joint.p_value)} against target-only)",
            command=f"embedkit gap {shlex.quote(gap.source)} {target} --model {model}",
            about="domain",
            gain=joint.difference if helps else source.difference,
            p_value=joint.p_value if helps else source.p_value,
        )
    ]


def _tuning(evidence: Evidence, found: Selection, command: str) -> list[Advice]:
    tuned = evidence.tuned
    if tuned is not None:
        gain = tuned.tuned - tuned.frozen
        helps = gain > 0 and tuned.p_value <= LEVEL
        return [
            Advice(
                advice="tune the last blocks"
                if helps
                else "leave the network frozen, as far as a short trial of tuning can say",
                because=f"its last {tuned.depth} blocks tuned for {TRIAL['epochs']} epochs, "
                f"{percent(tuned.tuned)} of {tuned.tested} tested images are named right, frozen "
                f"{percent(tuned.frozen)} ({p_text(tuned.p_value)})"
                if tuned.depth
                else f"{TRIAL['epochs']} epochs of its last blocks brought nothing on the validation images; frozen, "
                f"{percent(tuned.frozen)} of {tuned.tested} tested images are named right",
                command=f"{command} --weights-output tuned.safetensors" if helps else "",
                about="tuning",
                gain=gain,
                p_value=tuned.p_value,
            )
        ]
    if evidence.trial_seconds is None:
        return []
    wrong = 1 - found.result.value
    if wrong < _STEEP:
        return [
            Advice(
                advice="leave the network frozen",
                because=f"{percent(wrong)} of {found.result.n_test} tested images are named wrong, which is all "
                "that there is to gain",
                about="tuning",
                gain=wrong,
            )
        ]
    return [
        Advice(
            advice="whether tuning the network pays is not known",
            because=f"{percent(wrong)} of the tested images are named wrong, and a short trial takes "
            f"up to {duration(evidence.trial_seconds)}, for which "
            + ("the --budget left no room" if evidence.budgeted else "there was no --budget"),
            command=command,
            about="tuning",
        )
    ]


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _between(interval: tuple[float, float]) -> str:
    return f"95 %: {_points(interval[0])} to {_points(interval[1])}"


def _p(p_value: float | None) -> str:
    return "no test" if p_value is None else p_text(p_value)


def _shift(found: Selection, promised: float, target: str) -> list[Advice]:
    interval = found.result.interval
    if interval is None or interval[1] >= promised - _SHIFTED:
        return []
    return [
        Advice(
            advice="look at how the tested images differ from the training images, before anything else",
            because=f"{percent(found.result.value)} of the tested images are named right, and "
            f"{percent(promised)} of training images by probes that knew half of them: near copies, or another "
            "place or time",
            command=f"embedkit audit {target}",
            about="data",
        )
    ]


def _weak_classes(result: ProbeResult) -> list[Advice]:
    """Name the classes of which fewer than half are named right, where most others are."""
    if result.rows is None:
        return []
    right: dict[str, list[bool]] = {}
    for true, said in zip(result.rows.y_true.tolist(), result.rows.y_pred.tolist(), strict=True):
        right.setdefault(str(true), []).append(true == said)
    weak: Sequence[tuple[float, str, int]] = sorted(
        (sum(marks) / len(marks), name, len(marks)) for name, marks in right.items() if sum(marks) < len(marks) / 2
    )
    if not weak or len(weak) > len(right) / 2:
        return []
    shown = ", ".join(f"{name} ({round(share * count)} of {count})" for share, name, count in weak[:5])
    more = f" and {len(weak) - 5} more" if len(weak) > 5 else ""
    return [
        Advice(advice="label more images of the weak classes", because=f"named right: {shown}{more}", about="classes")
    ]
