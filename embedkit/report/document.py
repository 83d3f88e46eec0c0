"""One page, whole in itself: no network, readable without scripts, in light, dark and on paper.

Layer: report; above sections.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, cast

from embedkit.render import as_text, interval_text, number_text, sentence
from embedkit.report import sections
from embedkit.report.explained import explained
from embedkit.report.filling_in import fields_to_fill_in
from embedkit.report.findings import TITLES, effects, found_of_a_kind, neighbours, self_check
from embedkit.report.markup import details, lines, section, table, tag, text
from embedkit.report.methods import between_domains, of_rungs
from embedkit.report.pictures import Thumbnails
from embedkit.report.selected import of_layers, selected
from embedkit.results import (
    KINDS,
    AuditResult,
    Comparison,
    CurveReport,
    DomainGaps,
    Explanations,
    FineTuneReport,
    FitResult,
    Gap,
    LabelResult,
    LayersResult,
    Predictions,
    ProbeReport,
    ProbeResult,
    Record,
    SearchResult,
    Selection,
)

MOST_BYTES = 5 << 20
"""Of a page. What the numbers leave over is the room for thumbnails."""

_RESERVE = 192 << 10
"""For the words around thumbnails."""


def page(
    records: Sequence[Record],
    thumbnails: Mapping[str, bytes] | None = None,
    *,
    title: str = "",
    without_pictures: Sequence[str] = (),
) -> str:
    """Write results as one HTML page.

    Parameters
    ----------
    records : sequence of Record
        At least one: `ProbeReport`, `Comparison`, `CurveReport`, `FitResult`, `Predictions`.
    thumbnails : mapping of str to bytes, optional
        Key of an image -> a small JPEG. As many as there is room for are in the page, mistakes first.
    title : str
        By default the data set's name.
    without_pictures : sequence of str
        Why images are not shown.

    Returns
    -------
    str
        UTF-8 text of at most about 5 MB.
    """
    said = title or ", ".join(dict.fromkeys(name for record in records for name in record.origin.data)) or "embedkit"
    # Written twice: first to know how much room the numbers leave for thumbnails.
    bare = _written(records, Thumbnails({}, 0), said, without_pictures)
    room = MOST_BYTES - len(bare.encode("utf-8", "replace")) - _RESERVE
    return _written(records, Thumbnails(thumbnails or {}, max(0, room)), said, without_pictures)


def _written(records: Sequence[Record], thumbnails: Thumbnails, title: str, without_pictures: Sequence[str]) -> str:
    parts: list[str] = []
    for record in records:
        if type(record) in _SECTIONS:
            parts += _SECTIONS[type(record)](record, thumbnails)
        else:
            parts.append(_as_printed(record))
        parts.append(_around(record))
    body = "".join(parts)
    leads = "".join(tag("p", text(said, 1200), class_="lead") for said in map(sentence, records) if said)
    pictures = section("Images that are not shown", lines(without_pictures)) if without_pictures else ""
    if thumbnails.available:
        pictures += tag(
            "p", f"{thumbnails.shown} of {thumbnails.available} thumbnails are in this page.", class_="soft"
        )
    main = tag("main", tag("h1", text(title, 300)), leads, _contents(body), body, pictures, id="main")
    files = resources.files("embedkit.report")
    style, script = files.joinpath("style.css").read_text("utf-8"), files.joinpath("script.js").read_text("utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{text(title, 300)}</title><style>{style}</style></head><body>"
        '<a class="skip" href="#main">Skip to the results</a>'
        f"{thumbnails.symbols()}{main}<script>{script}</script></body></html>\n"
    )


def _as_printed(record: Record) -> str:
    """Write what a terminal shows of a result that has no pictures of its own."""
    return section("Results", _as_typed(as_text(record)), id_="results")


def _as_typed(written: str, most_lines: int = 1000) -> str:
    return tag("pre", "\n".join(text(line, 1200) for line in written.split("\n")[:most_lines]))


def _of_probe(report: ProbeReport, thumbnails: Thumbnails) -> list[str]:
    parts = [sections.results(report.results)] if report.results else []
    nearest = {one.key: one for one in report.nearest}
    best = _best(report.results)
    if best is not None and best.rows is not None:
        named = f"{best.model}, {best.protocol} {best.estimator}"
        parts += [
            sections.worst(best.rows, nearest, thumbnails),
            sections.confusion(best.rows, thumbnails),
            sections.calibration(best.rows, named),
        ]
    return [*parts, sections.chosen(report.results), sections.embedding(report.maps, thumbnails)]


def _of_comparison(comparison: Comparison, thumbnails: Thumbnails) -> list[str]:
    boards = [sections.leaderboard(board, place) for place, board in enumerate(comparison.leaderboards)]
    best = _best(comparison.results)
    parts = [] if best is None or best.rows is None else [sections.confusion(best.rows, thumbnails)]
    return [*boards, sections.costs_of(comparison), *parts]


def _of_curves(report: CurveReport, thumbnails: Thumbnails) -> list[str]:
    return [sections.few_shot(report)]


def _of_fit(fitted: FitResult, thumbnails: Thumbnails) -> list[str]:
    result = fitted.result
    if result.rows is None:
        return [sections.results([result])]
    named = f"{result.model}, {result.estimator}"
    return [
        sections.results([result]),
        sections.worst(result.rows, {}, thumbnails),
        sections.confusion(result.rows, thumbnails),
        sections.calibration(result.rows, named),
    ]


def _of_predictions(predictions: Predictions, thumbnails: Thumbnails) -> list[str]:
    rows = [
        [thumbnails.picture(one.path), text(_said(one.predicted)), "" if one.score is None else f"{one.score:.3f}"]
        for one in predictions.predictions[:500]
    ]
    more = len(predictions.predictions) - len(rows)
    caption = f"{len(rows)} predictions" + (f"; {more} more are in the record" if more > 0 else "")
    return [
        *_of_labelled(predictions),
        section("Predictions", table(["photo", "predicted", predictions.score], rows, caption=caption, numeric=(2,))),
    ]


def _of_explanations(record: Explanations, thumbnails: Thumbnails) -> list[str]:
    return [explained(record.explanations, thumbnails)]


def _said(predicted: str | float | list[str]) -> str:
    return ", ".join(predicted) if isinstance(predicted, list) else str(predicted)


def _of_labelled(predictions: Predictions) -> list[str]:
    """Show how often labelled photos are named right."""
    if predictions.accuracy is None or predictions.confusion is None:
        return []
    classes = predictions.confusion.classes
    caption = (
        f"accuracy {number_text('accuracy', predictions.accuracy)} "
        f"({interval_text('accuracy', predictions.interval)}); rows are the true classes, columns the predicted ones"
    )
    rows = [[text(name), *map(str, row)] for name, row in zip(classes, predictions.confusion.counts, strict=True)]
    columns = ["true", *classes]
    return [section("Labelled photos", table(columns, rows, caption=caption, numeric=range(1, len(columns))))]


def _of_audit(record: AuditResult, thumbnails: Thumbnails) -> list[str]:
    by_kind = [found_of_a_kind(record, kind, thumbnails) for kind in record.counts()]
    return [effects(record), self_check(record), *by_kind]


_SECTIONS: dict[type[Any], Callable[[Any, Thumbnails], list[str]]] = {
    ProbeReport: _of_probe,
    Comparison: _of_comparison,
    CurveReport: _of_curves,
    FitResult: _of_fit,
    Predictions: _of_predictions,
    AuditResult: _of_audit,
    SearchResult: lambda found, thumbnails: [neighbours(found, thumbnails)],
    Explanations: _of_explanations,
    LabelResult: lambda record, thumbnails: [fields_to_fill_in(record, thumbnails)],
    Selection: lambda found, thumbnails: selected(found),
    LayersResult: lambda found, thumbnails: of_layers(found),
    Gap: lambda found, thumbnails: [between_domains(found), _as_printed(found)],
    DomainGaps: lambda found, thumbnails: [between_domains(found), _as_printed(found)],
    FineTuneReport: lambda found, thumbnails: [of_rungs(found), _as_printed(found)],
}


def _best(results: Sequence[ProbeResult]) -> ProbeResult | None:
    """Return the first result that is no floor; results come best first."""
    return next((one for one in results if not one.floor), None)


def _around(record: Record) -> str:
    """Write notes, what is missing, and how the record came to be."""
    unavailable = [f"no {one.model}: {one.reason}" for one in record.unavailable]
    skipped = [f"{one.key}: {one.reason}" for one in record.skipped[:200]]
    more = [f"... and {len(record.skipped) - 200} more"] if len(record.skipped) > 200 else []
    known = section("What to know before quoting a number", lines([*record.notes, *unavailable]))
    missing = section(f"{len(record.skipped)} images are in no number", lines(skipped + more)) if record.skipped else ""
    origin = record.origin
    facts = [
        ("made", f"{origin.created}, {origin.machine.get('name', '')}, {origin.machine.get('cores', '?')} cores"),
        ("versions", ", ".join(f"{name} {version}" for name, version in origin.versions.items())),
        *((f"features of {name}", fingerprint) for name, fingerprint in origin.fingerprints.items()),
        *((f"split of {name}", digest) for name, digest in origin.split.items()),
    ]
    rows = [[text(name), text(value, 300)] for name, value in facts if value]
    request = json.dumps(origin.request, indent=1, default=str)
    how = section(
        "How this came to be",
        tag("pre", text(command(record), 4000)) if origin.request else "",
        table(["what", "which"], rows, caption="Where and with what it was measured"),
        details("The request in full", _as_typed(request)),
    )
    return known + missing + how


def command(record: Record) -> str:
    """Write the command line that asks for a record again, from what its origin says."""
    asked = dict(record.origin.request)
    words = ["embedkit", str(asked.pop("command", record.kind))]
    for name in _POSITIONAL:
        words += _listed(asked.pop(name, None))
    for name, value in asked.items():
        if name == "random_state" and value == 0:
            continue
        option = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
        words += [option] if value is True else [word for one in _listed(value) for word in (option, one)]
    return " ".join(shlex.quote(word) for word in words)


_OPTIONS = {"pools": "pool", "layers": "layer", "adapters": "adapter"}
"""What the command line calls some parameters."""

_POSITIONAL = ("target", "targets", "model_file", "source", "queries")


def _listed(value: Any) -> list[str]:
    """Write a value as words: each of a list, none for what was left at nothing."""
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    kept = [one for one in values if one not in (None, False, "", {})]
    return [_word(one) for one in kept]


def _word(value: Any) -> str:
    """Write a value as a word: a backbone by its name and the file of its weights."""
    if isinstance(value, Mapping) and "model" in value:
        asked = cast("Mapping[str, Any]", value)
        weights = asked.get("weights", "pretrained")
        return str(asked["model"]) if weights == "pretrained" else f"{asked['model']}={weights}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _contents(body: str) -> str:
    """Link to the sections that are there."""
    names = {
        "results": "Results",
        "neighbours": "Nearest images",
        "fill-in": "Images to label",
        "effects": "What it would change",
        "self-check": "Self-check",
        **{f"found-{kind}": TITLES[kind] for kind in KINDS},
        "board-0": "Leaderboard",
        "mistakes": "Mistakes",
        "confusion": "Classes",
        "calibration": "Calibration",
        "curves": "Curves",
        "chosen": "Choices",
        "candidates": "Candidates",
        "scores": "Scores",
        "advice": "What to do next",
        "layers": "Layers",
        "ways": "What is named right",
        "rungs": "Rungs",
        "map": "Map",
        "explained-1": "Explanations",
    }
    links = "".join(
        tag("li", tag("a", said, href=f"#{name}")) for name, said in names.items() if f'<section id="{name}"' in body
    )
    return tag("nav", tag("ul", links), aria_label="Contents") if links else ""
