"""Every kind of result as text for a person, and what such a reader should know beside it.

Layer: render; above numbers, layout and the results.
"""

from __future__ import annotations

from embedkit.render.differences import difference_lines
from embedkit.render.explanations import explanation_lines
from embedkit.render.findings import audit_lines, search_lines
from embedkit.render.fusions import fusion_lines
from embedkit.render.gaps import domain_lines, gap_lines
from embedkit.render.labelling import label_lines
from embedkit.render.ladders import ladder_lines
from embedkit.render.layout import fact_lines, table_lines
from embedkit.render.leaderboards import leaderboards_text
from embedkit.render.numbers import (
    chosen_text,
    duration,
    features_text,
    interval_text,
    metric_title,
    number_text,
    params_text,
    value_text,
)
from embedkit.render.one_class import one_class_lines
from embedkit.render.selections import layers_lines, selection_lines
from embedkit.render.sentences import about_scores, best_by_test, recommendation, sentence
from embedkit.render.statistics import statistics_fit_lines, statistics_lines
from embedkit.render.students import student_lines
from embedkit.render.uncertain import conformal_lines
from embedkit.render.unlabelled import unlabelled_lines
from embedkit.results import (
    AuditResult,
    Comparison,
    CurveReport,
    DemoResult,
    DistillResult,
    DomainGaps,
    Explanations,
    ExtractResult,
    FeatureDiff,
    FineTuneReport,
    FitResult,
    Forecast,
    FusionReport,
    Gap,
    LabelResult,
    LayersResult,
    OneClassReport,
    PlanResult,
    PlanStatus,
    Point,
    Predictions,
    ProbeReport,
    Record,
    SearchResult,
    Selection,
    StatisticsFit,
    StatisticsResult,
    UnitStatus,
    UnlabelledReport,
)
from embedkit.text import printable

_MOST_UNITS = 40
"""Units that are listed one by one; of more than that, those that are not complete."""

_STANDS_FOR = "this estimator, on rows it was not fitted on; if these rows also picked it among others, it flatters"
"""What the number of a fit is worth."""

_MOST_CLASSES = 20
"""Classes up to which a confusion matrix is printed."""

_MOST_NAMED = 5
"""Units that are named in a sentence."""


def as_text(record: Record) -> str:
    """Return a result as lines of text, as the command line prints it."""
    match record:
        case ProbeReport():
            lines = [sentence(record), "", *_probe(record)]
        case Comparison():
            return leaderboards_text(record)
        case CurveReport():
            lines = [sentence(record), "", *_curves(record)]
        case FitResult():
            lines = _fit(record)
        case Predictions():
            lines = _predictions(record)
        case SearchResult():
            lines = search_lines(record)
        case AuditResult():
            lines = audit_lines(record)
        case Selection():
            lines = selection_lines(record)
        case LayersResult():
            lines = layers_lines(record)
        case ExtractResult():
            lines = _extraction(record)
        case Forecast():
            lines = _forecast(record)
        case PlanResult():
            lines = _plan(record)
        case PlanStatus():
            lines = _status(record)
        case DemoResult():
            lines = _demo(record)
        case Explanations():
            lines = explanation_lines(record)
        case LabelResult():
            lines = label_lines(record)
        case DistillResult():
            lines = student_lines(record)
        case FineTuneReport():
            lines = ladder_lines(record)
        case FusionReport():
            lines = fusion_lines(record)
        case OneClassReport():
            lines = one_class_lines(record)
        case UnlabelledReport():
            lines = unlabelled_lines(record)
        case StatisticsResult():
            lines = statistics_lines(record)
        case StatisticsFit():
            lines = statistics_fit_lines(record)
        case FeatureDiff():
            lines = difference_lines(record)
        case Gap():
            lines = [sentence(record), "", *gap_lines(record)]
        case DomainGaps():
            lines = [sentence(record), "", *domain_lines(record)]
        case _:
            lines = table_lines(
                [*(record.table() or [{}])[0]], [list(map(str, row.values())) for row in record.table()]
            )
    return "\n".join([*lines, *record.read])


def remarks(record: Record) -> list[str]:
    """Say what a reader should know before quoting a result."""
    said = [f"{f'{one.data}: ' if one.data else ''}no floor {one.model}: {one.reason}" for one in record.unavailable]
    if isinstance(record, Comparison):
        said += [f"{board.data}: {note}" for board in record.leaderboards for note in board.notes]
    if isinstance(record, FitResult):
        said += record.result.notes
    if isinstance(record, Predictions) and record.predictions:
        said += about_scores(record)
    if isinstance(record, DemoResult):
        said += [*record.extraction.notes, *remarks(record.report)]
    return said + record.notes


def _probe(report: ProbeReport) -> list[str]:
    protocols = list(dict.fromkeys(result.protocol for result in report.results))
    by_protocol = protocols != ["quick"]
    metrics = list(dict.fromkeys(metric_title(result.metric) for result in report.results))
    number = metrics[0] if len(metrics) == 1 else "value"
    columns = ["features", "protocol", "estimator", "metric", number, "95 % interval", "chosen", "train", "test"]
    left_out = ([] if by_protocol else ["protocol"]) + (["metric"] if len(metrics) == 1 else [])
    columns = [column for column in columns if column not in left_out]
    winner, several = best_by_test(report)
    rows = [
        {
            "features": features_text(result.model, result.floor),
            "protocol": result.protocol + (" (as published)" if result.as_published else ""),
            "estimator": result.estimator,
            "metric": metric_title(result.metric),
            number: value_text(result.metric, result.value, result.converged)
            + (f" (best of {several} by the test rows)" if several > 1 and result is winner else ""),
            "95 % interval": interval_text(result.metric, result.interval),
            "chosen": chosen_text(result.params, result.at_edge),
            "train": str(result.n_train),
            "test": str(result.n_test),
        }
        for result in report.results
    ]
    rows += [{"features": features_text(one.model, True), number: "unavailable"} for one in report.unavailable]
    chosen_on = {result.protocol: result.selected_on for result in reversed(report.results)}
    return [
        *table_lines(columns, [[row.get(column, "") for column in columns] for row in rows]),
        "",
        f"reported on: {report.results[0].reported_on}",
        *(f"chosen on:   {f'{name}: ' if by_protocol else ''}{chosen_on[name]}" for name in protocols),
        *recommendation(report),
    ]


def _curves(report: CurveReport) -> list[str]:
    first = report.curves[0]
    unit = "a class" if first.kind == "shots" else "of train"
    sizes, rows = _by_size(report)
    missing = [
        (features_text(one.model, True), *["unavailable", *[""] * len(sizes)][: len(sizes)])
        for one in report.unavailable
    ]
    interval = " with its 95 % interval" if first.seeds > 1 else ""
    draws = f"{first.seeds} draw{'s' if first.seeds > 1 else ''}"
    return [
        *table_lines(("features", *(f"{size:g} {unit}" for size in sizes)), [*rows, *missing]),
        "",
        f"{first.metric} of {first.estimator}, mean over {draws}{interval}",
        f"reported on: {first.reported_on}",
    ]


def _by_size(report: CurveReport) -> tuple[list[float], list[tuple[str, ...]]]:
    """Return the sizes of all curves, and a row a curve with a cell for each."""
    sizes = sorted({point.size for curve in report.curves for point in curve.points})
    rows: list[tuple[str, ...]] = []
    for curve in report.curves:
        cells = {point.size: _point(curve.metric, point) for point in curve.points}
        rows.append((features_text(curve.model, curve.floor), *(cells.get(size, "") for size in sizes)))
    return sizes, rows


def _point(metric: str, point: Point) -> str:
    interval = "" if point.interval is None else f" ({interval_text(metric, point.interval).removesuffix(' %')})"
    return number_text(metric, point.mean) + interval + ("" if point.converged else " (not converged)")


def _fit(fitted: FitResult) -> list[str]:
    found = fitted.result
    value = f"{number_text(found.metric, found.value)} ({interval_text(found.metric, found.interval)})"
    return fact_lines(
        [
            ("model file", fitted.output),
            ("pipeline", " -> ".join(fitted.steps)),
            ("features of", found.model),
            ("classes", len(fitted.classes)),
            (metric_title(found.metric), value),
            ("reported on", found.reported_on),
            ("stands for", _STANDS_FOR),
            ("chosen", params_text(found.params) or None),
            ("chosen on", found.selected_on),
            ("converged", None if found.converged else "no: treat the number with care"),
        ]
    )


def _extraction(result: ExtractResult) -> list[str]:
    rows = result.images - result.failed
    speed = result.images_per_second
    rate = f" ({speed:.0f} images/s)" if result.forward_passes and speed is not None else ""
    found = ": every feature was in the store" if result.cache_hits == rows > 0 else ""
    return fact_lines(
        [
            ("images", f"{result.images} ({rows} rows, {result.failed} failed)"),
            ("forward passes", f"{result.forward_passes}{rate}{found}"),
            ("found in store", result.cache_hits),
            ("copies", f"{result.copies} (the same bytes as another image)" if result.copies else None),
            ("model", f"{result.model}, {result.width} features an image"),
            ("computed by", result.choice),
            ("held up by", None if result.stages is None else result.stages.bottleneck),
            ("worst cosine", None if result.drift is None else f"{result.drift:.5f} to fp32 torch"),
            ("fingerprint", result.fingerprint[:16]),
            ("store", result.store),
            ("output", result.output),
            (
                "changes",
                None if result.changes is None else ", ".join(f"{n} {what}" for what, n in result.changes.items()),
            ),
        ]
    )


def _forecast(result: Forecast) -> list[str]:
    return fact_lines(
        [
            ("rows", result.rows),
            ("forward passes", result.forward_passes),
            *_expected(result),
            ("model", f"{result.model}, {result.width} features an image"),
            ("computed by", result.choice),
            ("fingerprint", result.fingerprint[:16]),
            ("store", result.store),
        ]
    )


def _plan(result: PlanResult) -> list[str]:
    return fact_lines(
        [
            ("images", f"{result.images} ({result.bytes / 1e6:.1f} MB)"),
            ("units", f"{result.units} proposed; any other number will do"),
            ("model", f"{result.model}, {result.width} features an image"),
            ("computed by", result.choice),
            ("worst cosine", None if result.drift is None else f"{result.drift:.5f} to fp32 torch"),
            ("fingerprint", result.fingerprint[:16]),
            ("store", result.store),
            ("plan", result.plan),
            *_expected(result),
        ]
    )


def _expected(result: Forecast | PlanResult) -> list[tuple[str, object]]:
    """Say what the work is expected to take."""
    memory = f"{result.memory_expected / 1e6:.0f} MB" if result.memory_expected else None
    return [
        ("expected time", duration(result.seconds_expected)),
        ("disk", f"{result.bytes_expected / 1e6:.1f} MB"),
        ("memory", memory),
    ]


def _status(status: PlanStatus) -> list[str]:
    shown = status.units if len(status.units) <= _MOST_UNITS else [unit for unit in status.units if not unit.complete]
    units = table_lines(("unit", "done", "failed", "rows", "at work"), map(_unit, shown)) if shown else []
    facts = fact_lines(
        [
            ("images", f"{status.images} ({status.done} rows, {status.failed} failed, {status.missing} to go)"),
            ("state", _state(status)),
            ("store", status.store),
        ]
    )
    return [*units, *([""] if units else []), *facts]


def _unit(unit: UnitStatus) -> list[str]:
    at_work = f"{unit.worker}, at image {unit.settled}" if unit.worker else ""
    return [f"{unit.number}/{unit.count}", str(unit.done), str(unit.failed), str(unit.rows), at_work]


def _state(status: PlanStatus) -> str:
    if not status.complete:
        return f"{status.missing} images to go"
    if not status.unread:
        return "complete"
    units = [f"{unit.number}/{unit.count}" for unit in status.units if unit.unread]
    named = ", ".join(units[:_MOST_NAMED]) + (", ..." if len(units) > _MOST_NAMED else "")
    images = f"{status.unread} image{'s' if status.unread != 1 else ''}"
    return f"complete without {images} that could not be read; to try again, run unit {named}"


def _demo(demo: DemoResult) -> list[str]:
    extraction = demo.extraction
    passes = f"{extraction.forward_passes} forward passes"
    found = "" if extraction.forward_passes else ", every feature was found in the store"
    return [
        *(_what_features_are_for(demo.labels) if demo.labels is not None else []),
        "The whole way on scikit-learn's digits, 8 x 8 pixels of handwriting, for which raw pixels are enough:",
        "",
        f"{extraction.images} images, {extraction.width} features each, by {printable(extraction.model)} "
        f"({extraction.engine} {extraction.precision}): {passes}{found}",
        "",
        *_probe(demo.report),
        "",
        *fact_lines(
            [
                ("page", demo.page or None),
                ("images", demo.manifest),
                ("features", demo.feature_file),
                ("store", demo.store),
            ]
        ),
        "",
        f"Next: embedkit fit {printable(demo.feature_file)} --estimator {_recommended(demo.report)} -o digits.skops",
    ]


def _what_features_are_for(labels: CurveReport) -> list[str]:
    first = labels.curves[0]
    sizes, rows = _by_size(labels)
    named = [f"all {size:g}" if size == max(sizes) else f"{size:g}" for size in sizes]
    return [
        "What features are for: pictures of ten kinds of patterns, in any colour, size and angle, named right",
        "after so many labelled pictures of each kind",
        "",
        *table_lines(("labels of each kind", *named), rows),
        "",
        f"{first.metric} of {first.estimator} on {first.n_test} other pictures, mean over {first.seeds} draws with its "
        "95 % interval",
        "",
    ]


def _recommended(report: ProbeReport) -> str:
    return report.results[report.recommended or 0].estimator


def _predictions(record: Predictions) -> list[str]:
    rows = record.table()
    cells = [[f"{one:.4f}" if isinstance(one, float) else str(one) for one in row.values()] for row in rows]
    lines = [*table_lines([*rows[0]] if rows else ("path", "predicted"), cells), *conformal_lines(record)]
    if record.accuracy is None:
        return lines
    if record.confusion is None:
        share, interval = number_text("accuracy", record.accuracy), interval_text("accuracy", record.interval)
        return [*lines, "", f"{share} ({interval}) of the labelled images are given all of their labels and no other"]
    classes, counts = record.confusion.classes, record.confusion.counts
    labelled = sum(map(sum, counts))
    interval = interval_text("accuracy", record.interval)
    lines += ["", f"accuracy {number_text('accuracy', record.accuracy)} ({interval}) of {labelled} labelled images"]
    if len(classes) > _MOST_CLASSES:
        return [*lines, f"the confusion matrix of {len(classes)} classes is in the result: --json, or -o FILE.json"]
    matrix = [[name, *map(str, row)] for name, row in zip(classes, counts, strict=True)]
    return [*lines, "", *table_lines(("true \\ predicted", *classes), matrix)]
