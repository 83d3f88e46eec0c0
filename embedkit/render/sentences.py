"""A result in one plain sentence, for someone who reads nothing else.

Layer: render; above results.
"""

from __future__ import annotations

from collections import Counter

from embedkit.render.numbers import interval_text, is_share, metric_title, number_text, p_text, percent
from embedkit.results import (
    AuditResult,
    Comparison,
    Curve,
    CurveReport,
    DomainGaps,
    Gap,
    LayersResult,
    Leaderboard,
    Predictions,
    ProbeReport,
    ProbeResult,
    Selection,
)

_FLOORS = {"colour-histogram": "colours alone", "pixels32": "raw pixels"}


def sentence(record: object) -> str:
    """Say what a result comes down to; empty for records that have no such sentence."""
    if isinstance(record, ProbeReport) and record.results:
        return _of_probe(record)
    if isinstance(record, Comparison):
        return " ".join(_of_board(board) for board in record.leaderboards)
    if isinstance(record, CurveReport) and record.curves:
        return _of_curves(record)
    if isinstance(record, AuditResult):
        return _of_audit(record)
    if isinstance(record, Gap | DomainGaps):
        return f"{record.evidence[:1].upper()}{record.evidence[1:]}."
    if isinstance(record, Selection):
        return _of_selection(record)
    if isinstance(record, LayersResult):
        return f"Recommended: {record.recommended}; {record.reason}."
    return ""


def _of_selection(record: Selection) -> str:
    result = record.result
    return (
        f"{record.chosen} was chosen at {percent(record.cost_share)} of the cost of running all; it names "
        f"{number_text(result.metric, result.value)} ({interval_text(result.metric, result.interval)}) of "
        f"{result.n_test} tested images right, which chose nothing."
    )


def best_by_test(report: ProbeReport) -> tuple[ProbeResult | None, int]:
    """Return the best result of ``quick`` by the tested rows, floors aside, and of how many it is the best."""
    running = [one for one in report.results if one.protocol == "quick" and not one.floor]
    return max(running, key=lambda one: one.value, default=None), len(running)


def recommendation(report: ProbeReport) -> list[str]:
    """Say in a line what to fit, by which rows that was chosen, and what the best by the tested rows is worth."""
    best, several = best_by_test(report)
    if best is None or several < 2:
        return []
    flatters = f"the best of {several} by the test rows ({best.estimator} on {best.model}) would flatter"
    if report.recommended is None:
        return [f"recommended: none, since no estimator had candidates to choose from on other rows; {flatters}"]
    one = report.results[report.recommended]
    number = f"{number_text(one.metric, one.value)} ({interval_text(one.metric, one.interval)})"
    said = (
        f"recommended: {one.estimator} on {one.model}, chosen on the rows that choose; "
        f"its test {metric_title(one.metric)} is {number}"
    )
    unchosen = [
        result.estimator
        for result in report.results
        if result.protocol == "quick" and not result.floor and not result.candidates
    ]
    left_out = f"; {', '.join(unchosen)} had nothing to choose and was not in the running" if unchosen else ""
    return [f"{said}{left_out}" + ("; it is also the best by the test rows" if one is best else f"; {flatters}")]


def about_scores(record: Predictions) -> list[str]:
    """Say what the scores of predictions do not mean."""
    said: list[str] = []
    if record.score == "decision value":
        said.append(
            "a decision value says how far on its class's side an image lies, and is no probability: `embedkit fit "
            "--calibrate` or `--estimator logistic` give those"
        )
    if record.score != "score" and record.accuracy is None and record.unknown_error is None:
        said.append(
            "each image is given one of the classes of the model, also one that shows something else (a model of "
            "`embedkit fit --conformal` marks those)"
        )
    return said


def _of_probe(report: ProbeReport) -> str:
    first = next((one for one in report.results if not one.floor), report.results[0])
    result = first if report.recommended is None else report.results[report.recommended]
    if result.interval is None:
        return f"{result.metric} of {result.estimator} on {result.model} is not defined for these rows."
    low, high = result.interval
    by = f"({result.estimator} on {result.model}; in brackets the 95 % interval.)"
    if result.metric in ("accuracy", "mean_per_class_accuracy"):
        guess = _commonest(result)
        guessing = [] if guess is None else [f"guessing the commonest class gives {_hundredths(guess)}"]
        beside = ", ".join(guessing + _floors(report))
        return (
            f"Of 100 photos like the {result.n_test} tested, {_hundredths(result.value)} are named right "
            f"({_hundredths(low)} to {_hundredths(high)}){f'; {beside}' if beside else ''}. {by}"
        )
    if result.metric == "r2":
        return (
            f"{_hundredths(result.value)} % of the variance of the values is explained ({_hundredths(low)} to "
            f"{_hundredths(high)}); {', '.join(['guessing their mean explains 0', *_floors(report)])}. {by}"
        )
    value = f"{number_text(result.metric, result.value)} ({interval_text(result.metric, result.interval)})"
    return f"{result.estimator} on {result.model} reaches {metric_title(result.metric)} {value}."


def _of_board(board: Leaderboard) -> str:
    if board.not_ranked or not board.rows or board.rows[0].value is None:
        return f"{board.data}: the numbers of {board.protocol} are not ranked, since they are not comparable."
    first = [row for row in board.rows if row.rank == 1]
    metric, value = metric_title(board.metric), number_text(board.metric, first[0].value)
    if len(first) > 1:
        names = ", ".join(row.model for row in first)
        return f"{board.data}: {names} share the first place ({metric} up to {value}): no test tells them apart."
    if len(board.rows) == 1:
        return f"{board.data}: {first[0].model} reaches {metric} {value}."
    against = [pair for pair in board.pairs if pair.better == first[0].model]
    nearest = max(against, key=lambda pair: pair.corrected) if against else None
    than = "" if nearest is None else f", the nearest being {nearest.worse} ({p_text(nearest.corrected)}, corrected)"
    return f"{board.data}: {first[0].model} is best by {board.protocol} ({metric} {value}){than}."


def _of_curves(report: CurveReport) -> str:
    curve: Curve = next((one for one in report.curves if not one.floor), report.curves[0])
    points = [curve.points[0], curve.points[-1]] if len(curve.points) > 1 else curve.points
    shares = [f"{_labels(curve, point.size)} {_rounded(curve.metric, point.mean)}" for point in points]
    return f"{curve.estimator} on {curve.model}: {', '.join(shares)} ({metric_title(curve.metric)})."


def _of_audit(record: AuditResult) -> str:
    found = ", ".join(f"{_FOUND[kind]} {number}" for kind, number in record.counts().items())
    return f"{record.images} images: {found or 'nothing was found'}."


_FOUND = {
    "duplicate": "copies",
    "near-duplicate": "near-copies",
    "contradiction": "contradictions of labels",
    "label": "suspected labels",
    "outlier": "outliers",
    "blank": "blank images",
    "dark": "dark images",
    "tiny": "tiny images",
    "aspect": "odd shapes",
    "truncated": "truncated images",
    "shortcut": "shortcuts",
    "weak-group": "weak groups",
    "imbalance": "rare classes",
}


def _rounded(metric: str, value: float) -> str:
    return f"{_hundredths(value)} %" if is_share(metric) else number_text(metric, value)


def _labels(curve: Curve, size: float) -> str:
    if curve.kind == "shots":
        return f"{size:g} photo a class gives" if size == 1 else f"{size:g} photos a class give"
    return f"{100 * size:g} % of the training photos give"


def _commonest(result: ProbeResult) -> float | None:
    if result.rows is None or result.rows.y_true.ndim != 1:
        return None
    counts = Counter[object](result.rows.y_true.tolist())
    return max(counts.values()) / len(result.rows)


def _floors(report: ProbeReport) -> list[str]:
    """Say what each kind of floor reaches, the least informed first; of several random networks the best."""
    best: dict[str, float] = {}
    for one in (one for one in report.results if one.floor):
        name = _FLOORS.get(one.model, "random weights")
        best[name] = max(one.value, best.get(name, one.value))
    return [f"{name} {_hundredths(best[name])}" for name in (*_FLOORS.values(), "random weights") if name in best]


def _hundredths(value: float) -> str:
    return f"{100 * value:.0f}"
