"""The sections of a page, one function each: from a result to markup; nothing where a result has nothing to say.

Layer: report; above charts, outcomes and pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from embedkit.render import (
    chosen_text,
    features_text,
    interval_text,
    is_share,
    metric_title,
    number_text,
    p_number,
    p_text,
    rank_text,
    value_text,
)
from embedkit.report import charts
from embedkit.report.markup import details, lines, section, table, tag, text
from embedkit.report.outcomes import class_outcomes, confused, is_classification, mistakes, sureness
from embedkit.report.pictures import Thumbnails
from embedkit.results import Comparison, CurveReport, EmbeddingMap, Leaderboard, NearestTrained, ProbeResult, Rows

_MOST_MISTAKES, _MOST_OF_A_CELL, _MOST_CELLS = 24, 12, 400


def results(found: Sequence[ProbeResult]) -> str:
    """Show results of probes: a chart of values with intervals, and the table."""
    blocks: list[str] = []
    for metric in dict.fromkeys(one.metric for one in found):
        of_metric = [one for one in found if one.metric == metric]
        marks = [
            charts.Mark(
                name=_name(one, len({other.protocol for other in found}) > 1),
                value=one.value,
                interval=one.interval,
                muted=one.floor,
                said=f"{number_text(metric, one.value)} ({interval_text(metric, one.interval)})",
            )
            for one in of_metric
        ]
        title = f"{metric_title(metric)} with 95 % intervals; grey: floors"
        blocks.append(charts.intervals(marks, title=title, share=is_share(metric)))
    header = ["features", "protocol", "estimator", "value", "95 % interval", "chosen", "train", "test"]
    rows = [
        [
            text(features_text(one.model, one.floor)),
            text(one.protocol),
            text(one.estimator),
            text(value_text(one.metric, one.value, one.converged)),
            interval_text(one.metric, one.interval),
            text(chosen_text(one.params, one.at_edge)),
            str(one.n_train),
            str(one.n_test),
        ]
        for one in found
    ]
    said = f"Reported on: {found[0].reported_on}. Chosen on: {found[0].selected_on}."
    blocks.append(table(header, rows, caption=said, numeric=(3, 4, 6, 7)))
    return section("Results", *blocks, id_="results")


def leaderboard(board: Leaderboard, place: int) -> str:
    """Show one leaderboard with its groups, the tests in pairs, and what each backbone costs."""
    share = is_share(board.metric)
    marks = [
        charts.Mark(
            name=row.model if row.rank is None else f"{rank_text(row.rank, row.tied)} {row.model}",
            value=row.value,
            interval=row.interval,
            muted=row.floor,
            said=f"{number_text(board.metric, row.value)} ({interval_text(board.metric, row.interval)})",
        )
        for row in board.rows
        if row.value is not None
    ]
    header = [
        "rank",
        "features",
        metric_title(board.metric),
        "95 % interval",
        "chosen",
        "images/s",
        "parameters",
        "bytes",
    ]
    rows = [
        [
            rank_text(row.rank, row.tied),
            text(features_text(row.model, row.floor)),
            value_text(board.metric, row.value, row.converged),
            interval_text(board.metric, row.interval),
            text(chosen_text(row.params, row.at_edge)),
            "" if row.images_per_second is None else f"{row.images_per_second:.0f}",
            "" if row.parameters is None else f"{row.parameters:,}",
            f"{row.feature_bytes:,}",
        ]
        for row in board.rows
    ]
    said = f"Reported on: {board.reported_on}. Chosen on: {board.selected_on}. A shared rank: no test tells them apart."
    pairs = [
        [
            text(pair.better),
            text(pair.worse),
            f"{100 * pair.difference:+.1f}" if share else f"{pair.difference:+.3g}",
            text(p_number(pair.p_value)),
            text(p_number(pair.corrected)),
            "yes" if pair.differ else "no",
        ]
        for pair in board.pairs
    ]
    tests = table(
        ["better", "worse", "difference", "p", "p, Holm", "differ"],
        pairs,
        caption=f"Paired tests on the tested images ({board.pairs[0].test if board.pairs else 'none'})",
        numeric=(2, 3, 4),
    )
    return section(
        f"{board.data}: {board.protocol}",
        charts.intervals(marks, title=f"{metric_title(board.metric)} with 95 % intervals", share=share)
        if marks
        else "",
        table(header, rows, caption=said, numeric=(0, 2, 3, 5, 6, 7)),
        lines([f"not ranked: {reason}" for reason in board.not_ranked] + board.notes),
        details("Tests in pairs", tests) if pairs else "",
        *_costs(board),
        id_=f"board-{place}",
    )


def _costs(board: Leaderboard) -> list[str]:
    drawn: list[str] = []
    units = {"images_per_second": "images a second", "parameters": "parameters", "feature_bytes": "bytes an image"}
    for name, said in units.items():
        points = [
            (row.model, float(getattr(row, name)), row.value, row.floor)
            for row in board.rows
            if row.value is not None and getattr(row, name)
        ]
        if len(points) > 1 and is_share(board.metric):
            drawn.append(
                charts.scatter(
                    points, title=f"{metric_title(board.metric)} against {said}", across=said, up=board.metric
                )
            )
    return [details("Accuracy against cost", *drawn)] if drawn else []


def few_shot(report: CurveReport) -> str:
    """Show how a metric grows with labels."""
    blocks: list[str] = []
    for kind, across in (("shots", "training images a class"), ("fractions", "fraction of the training images")):
        found = [curve for curve in report.curves if curve.kind == kind]
        if not found:
            continue
        series = [
            (
                curve.model,
                [float(point.size) for point in curve.points],
                [point.mean for point in curve.points],
                [point.interval for point in curve.points],
                curve.floor,
            )
            for curve in found
        ]
        metric = found[0].metric
        title = f"{metric_title(metric)} by {across}; bands: 95 % intervals"
        blocks.append(charts.curves(series, title=title, across=across, share=is_share(metric)))
        rows = [
            [
                text(curve.model),
                f"{point.size:g}",
                number_text(metric, point.mean),
                interval_text(metric, point.interval),
            ]
            for curve in found
            for point in curve.points
        ]
        blocks.append(
            table(["features", across, metric_title(metric), "95 % interval"], rows, caption=title, numeric=(1, 2, 3))
        )
    return section("How accuracy grows with labels", *blocks, id_="curves")


def chosen(found: Sequence[ProbeResult]) -> str:
    """Show the scores of the values that were chosen from, such as the path of C."""
    blocks: list[str] = []
    for one in found:
        scores = {
            float(value): candidate.score
            for candidate in one.candidates
            for value in candidate.params.values()
            if isinstance(value, int | float) and len(candidate.params) == 1
        }
        names = {name for candidate in one.candidates for name in candidate.params}
        if one.floor or len(scores) < max(2, len(one.candidates)) or len(names) != 1:
            continue
        [name], sizes = names, sorted(scores)
        series = [(one.estimator, sizes, [scores[size] for size in sizes], [None] * len(sizes), False)]
        title = (
            f"{one.model}, {one.estimator}: score on the rows that choose, by {name}; chosen: {one.params.get(name)}"
        )
        share = is_share(one.metric)
        blocks.append(charts.curves(series, title=title, across=name, share=share, logarithmic=min(sizes) > 0))
    return section("What was chosen from", *blocks, id_="chosen")


def confusion(rows: Rows, thumbnails: Thumbnails) -> str:
    """Show the confusion matrix, whose cells lead to their photos, and the classes that would gain most."""
    if not is_classification(rows):
        return ""
    cells = confused(rows)
    largest = sorted(cells, key=lambda cell: (-len(cells[cell]), cell))[:_MOST_CELLS]
    links = {cell: f"cell-{cell[0]}-{cell[1]}" for cell in largest}
    matrix = charts.heat(
        rows.confusion(),
        rows.classes,
        links,
        title=f"Confusion of {len(rows.classes)} classes: rows true, columns predicted; red cells lead to photos",
    )
    shown = "".join(
        tag(
            "div",
            tag("h3", f"{text(rows.classes[i])} taken for {text(rows.classes[j])}: {len(cells[i, j])}"),
            tag("div", *(thumbnails.picture(key) for key in cells[i, j][:_MOST_OF_A_CELL]), class_="photos"),
            id=links[i, j],
            class_="cell",
            tabindex="-1",
        )
        for i, j in largest
    )
    per_class = [
        [
            text(one.name),
            f"{one.right} of {one.tested}",
            f"{100 * one.right / one.tested:.0f} %" if one.tested else "",
            f"{100 * one.right / one.claimed:.0f} %" if one.claimed else "",
            text(one.taken_for),
            f"{100 * one.gain:.1f}",
        ]
        for one in class_outcomes(rows)
    ]
    header = ["class", "named right", "recall", "precision", "most taken for", "points to gain"]
    said = "Classes, those first whose mistakes cost most accuracy (points to gain, if all were named right)"
    by_class = table(header, per_class, caption=said, numeric=(1, 2, 3, 5))
    return section("Which classes are confused", matrix, shown, by_class, id_="confusion")


def worst(rows: Rows, nearest: Mapping[str, NearestTrained], thumbnails: Thumbnails) -> str:
    """Show the surest mistakes, each beside its nearest training photo."""
    if not is_classification(rows):
        return ""
    found = mistakes(rows)
    pairs: list[str] = []
    for one in found[:_MOST_MISTAKES]:
        sure = "" if one.sure is None else f" ({one.sure:.2f})"
        beside = nearest.get(one.key)
        other = "" if beside is None else thumbnails.picture(beside.other_key, f"nearest trained: {beside.label}")
        said = tag("p", f"is {tag('b', text(one.true))}, named {tag('b', text(one.predicted))}{sure}")
        pairs.append(tag("div", thumbnails.picture(one.key), other, said, class_="pair"))
    said = f"{len(found)} of {len(set(rows.keys))} tested images are named wrong; the surest mistakes first."
    return (
        section("The surest mistakes", tag("p", said), tag("div", *pairs, class_="photos"), id_="mistakes")
        if found
        else ""
    )


def calibration(rows: Rows, title: str) -> str:
    """Show how often predictions are right by how sure they were, where scores are probabilities."""
    sure = sureness(rows) if is_classification(rows) and rows.probabilities else None
    if sure is None:
        return ""
    right = np.asarray(rows.y_true == rows.y_pred)
    said = f"{title}: right against sure, in bins of equally many images; on the line both agree"
    return section("Is it as sure as it is right?", charts.reliability(sure, right, title=said), id_="calibration")


def embedding(maps: Sequence[EmbeddingMap], thumbnails: Thumbnails) -> str:
    """Show maps of the features, with a photo for as many points as there is room for."""
    blocks: list[str] = []
    for one in maps:
        low, high = one.xy.min(axis=0), one.xy.max(axis=0)
        scaled = (one.xy - low) / np.where(high > low, high - low, 1.0)
        names = sorted(set(one.labels))
        points: list[str] = []
        for place, key in enumerate(one.keys):
            label = one.labels[place] if one.labels else ""
            thumbnails.has(key)
            number = thumbnails.place(key)
            points.append(
                tag(
                    "circle",
                    tag("title", text(f"{key}{f': {label}' if label else ''}")),
                    cx=16 + 700 * float(scaled[place, 0]),
                    cy=484 - 460 * float(scaled[place, 1]),
                    r=3.5,
                    class_=f"point p{names.index(label) % 6 + 1 if label else 1}",
                    data_thumb=None if number is None else str(number),
                )
            )
        title = f"{one.model}: {len(one.keys)} images by {one.method}"
        svg = tag("svg", tag("title", text(title)), *points, viewBox="0 0 740 500", role="img", aria_label=title)
        blocks.append(tag("figure", svg, tag("figcaption", text(title)), class_="map"))
    return section("A map of the features", *blocks, id_="map")


def costs_of(comparison: Comparison) -> str:
    """Show average ranks over data sets, where there are several."""
    blocks = [
        table(
            ["features", "average rank", "group"],
            [
                [text(model), f"{rank:.2f}", str(group)]
                for model, rank, group in zip(ranks.models, ranks.average_ranks, ranks.groups, strict=True)
            ],
            caption=f"Average ranks over {len(ranks.data)} data sets by {ranks.protocol}: Friedman "
            f"{p_text(ranks.p_value)}, critical difference {ranks.critical_difference:.2f}",
            numeric=(1, 2),
        )
        for ranks in comparison.average_ranks
    ]
    return section("Over all data sets", *blocks, id_="ranks")


def _name(one: ProbeResult, with_protocol: bool) -> str:
    return f"{one.model}, {one.protocol + ' ' if with_protocol else ''}{one.estimator}"
