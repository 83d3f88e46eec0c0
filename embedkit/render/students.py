"""The card of a student as lines of text.

Layer: render; above numbers, layout and the results.
"""

from __future__ import annotations

from embedkit.render.layout import fact_lines, table_lines
from embedkit.render.numbers import duration, interval_text, p_number, percent
from embedkit.results import DistillResult, StudentJudged

_SIGNIFICANT = 0.05


def student_lines(record: DistillResult) -> list[str]:
    """Write the card, a row a data set that the student was judged on, and what to make of it."""
    lines = fact_lines(list(card_of(record).items()))
    if record.judged:
        started = any(one.start is not None for one in record.judged)
        header = ["data", "pixels", "random weights", "student", "95 % interval", "teacher", "retained", "p"]
        if started:
            header[2:2] = ["start", "retained by it"]
        lines += ["", *table_lines(header, [_row(one, started) for one in record.judged])]
        lines += ["retained: (student - pixels) / (teacher - pixels), logistic regression on each"]
        if started:
            lines += [f"start: the student before it was taught, {record.start}"]
        lines += ["p: McNemar's, the student against the same network with random weights, on the same images"]
        lines += [verdict for one in record.judged for verdict in _verdicts(one)]
    for one in record.agreed:
        where = "the images trained on" if one.trained_on else f"{one.n_test} tested images of {one.data}"
        said = f"agreement with the classifier on {where}: {percent(one.agreement)}"
        if one.teacher is not None and one.student is not None:
            said += f"; accuracy {percent(one.student)}, the classifier's {percent(one.teacher)}"
        lines.append(said)
    return lines


def card_of(record: DistillResult) -> dict[str, str]:
    """Write what a student is, what it was made of, and what that cost."""
    taught = f"{record.teacher}'s features"
    if record.task == "labels":
        taught += f", and the labels of {record.labelled:,} images"
    elif record.task:
        taught += f", and the classes of {record.task}"
    card = {
        "student": f"{record.student}, started from {record.start}",
        "taught": taught,
        "data": f"{record.images:,} images of {', '.join(record.data)}, each also in {record.views} random views",
        "licences": "; ".join([*map(": ".join, record.licences.items()), "images: ask their source"]),
        "training": f"{record.epochs} epochs in batches of {record.batch_size}, loss {_losses(record.losses)}",
        "teacher passes": f"{record.teacher_passes:,} in this run, {duration(record.teacher_seconds)}",
        "student passes": f"{record.student_passes:,} in this run, {duration(record.seconds)} "
        f"({duration(record.cpu_seconds)} of CPU time), {record.peak_bytes / 1e9:.1f} GB of memory",
        "size": f"{_millions(record.parameters)} parameters beside {_millions(record.teacher_parameters)}, "
        f"{record.width} features beside {record.teacher_width}",
        "input": f"{_size(record.input_size)} pixels beside {_size(record.teacher_input_size)}",
        "speed": f"{record.images_per_second:.0f} images/s on one core beside {record.teacher_images_per_second:.0f}",
        "weights": record.output,
    }
    if record.model_output:
        card["model"] = f"{record.model_output}; `embedkit predict` and `embedkit export` take it"
    return card | {"use": record.use}


def _losses(losses: list[float]) -> str:
    return f"{losses[0]:.3f} to {losses[-1]:.3f}" if losses else "-"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _row(one: StudentJudged, started: bool) -> list[str]:
    return [
        f"{one.data} ({'trained on' if one.trained_on else 'not trained on'})",
        percent(one.pixels),
        *([_or_dash(one.start), _or_dash(one.start_retained)] if started else []),
        percent(one.random),
        percent(one.student),
        interval_text("accuracy", one.interval),
        percent(one.teacher),
        _or_dash(one.retained),
        p_number(one.p),
    ]


def _or_dash(share: float | None) -> str:
    return "-" if share is None else percent(share)


def _verdicts(one: StudentJudged) -> list[str]:
    """Say what a reader has to know before taking the student; nothing where it learnt something."""
    found: list[str] = []
    if one.p >= _SIGNIFICANT or one.student <= one.random:
        found.append(
            f"{one.data}: {_no_better(one.p)} than the same network with random weights: nothing was learnt that helps "
            "here"
        )
    if one.start is not None and one.start_p is not None and (one.start_p >= _SIGNIFICANT or one.student <= one.start):
        found.append(f"{one.data}: {_no_better(one.start_p)} than its start (p {p_number(one.start_p)})")
    return found


def _no_better(p: float) -> str:
    return "significantly worse" if p < _SIGNIFICANT else "not significantly better"
