"""Leaderboards as text: aligned for a terminal, CSV, Markdown.

Layer: render; above the results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from embedkit.render.numbers import (
    chosen_text,
    features_text,
    interval_text,
    metric_title,
    p_text,
    rank_text,
    value_text,
)
from embedkit.results import AverageRanks, Comparison, ImagePair, Leaderboard, Pair, Standing
from embedkit.text import csv_text, printable

HEADER = (
    "rank",
    "features",
    "value",
    "95 % interval",
    "over seeds",
    "chosen",
    "train",
    "test",
    "images/s",
    "parameters",
    "bytes/image",
    "fit s",
)
"""Of the cells that `cells` gives."""


def leaderboards_text(comparison: Comparison) -> str:
    """Return leaderboards and their tests as aligned text."""
    lines: list[str] = []
    for board in comparison.leaderboards:
        rows = cells(board)
        missing = [one.model for one in comparison.unavailable if one.data == board.data]
        rows += [("-", features_text(name, True), "unavailable", *[""] * (len(header(board)) - 3)) for name in missing]
        lines += [title(board), "", *_aligned([header(board), *(tuple(map(printable, row)) for row in rows)]), ""]
        lines += [f"reported on: {board.reported_on}", f"chosen on:   {board.selected_on}", ""]
        lines += [f"not ranked: {reason}" for reason in board.not_ranked]
        lines += [*pairs_in_words(board), ""]
    for ranks in comparison.average_ranks:
        lines += [*ranks_in_words(ranks), ""]
    return "\n".join(map(printable, lines)).rstrip() + "\n"


def cells(board: Leaderboard) -> list[tuple[str, ...]]:
    """Return the rows of a leaderboard as a person reads them, without the column of seeds where there is one seed."""
    rows = [_cells(board, row) for row in board.rows]
    return rows if board.seeds > 1 else [(*row[:4], *row[5:]) for row in rows]


def header(board: Leaderboard) -> tuple[str, ...]:
    """Return the names of the columns of `cells`; the metric in place of ``value``."""
    names = tuple(metric_title(board.metric) if name == "value" else name for name in HEADER)
    return names if board.seeds > 1 else (*names[:4], *names[5:])


def title(board: Leaderboard) -> str:
    """Name a leaderboard."""
    seeds = f", mean over {board.seeds} seeds" if board.seeds > 1 else ""
    return f"{board.data}: {board.protocol} ({board.estimator}){seeds}"


def pairs_in_words(board: Leaderboard) -> list[str]:
    """Say which backbones were told apart, and which could not be told from a floor."""
    floors = {row.model for row in board.rows if row.floor}
    lines = [_pair_in_words(pair) for pair in board.pairs if not {pair.better, pair.worse} & floors]
    against = [pair for pair in board.pairs if len({pair.better, pair.worse} & floors) == 1]
    near = [pair for pair in against if not pair.differ or pair.better in floors]
    lines += [_pair_in_words(pair) for pair in near]
    if len(near) < len(against):
        largest = max(pair.corrected for pair in against if pair not in near)
        rest = "every other backbone beats every other floor" if near else "every backbone beats every floor"
        lines.append(f"{rest}: {p_text(largest)} at most, corrected (Holm)")
    return lines


def ranks_in_words(ranks: AverageRanks) -> list[str]:
    """Say what holds over several data sets."""
    lines = [
        f"average ranks over {len(ranks.data)} data sets by {ranks.protocol} ({ranks.estimator}): Friedman "
        f"chi-square {ranks.statistic:.2f}, {p_text(ranks.p_value)}; critical difference (Nemenyi, 5 %) "
        f"{ranks.critical_difference:.2f}" + ("" if ranks.p_value <= 0.05 else ": no backbone is told from another")
    ]
    for model, rank, group in zip(ranks.models, ranks.average_ranks, ranks.groups, strict=True):
        lines.append(f"  {rank_text(group, ranks.groups.count(group) > 1):>3}  {rank:5.2f}  {model}")
    return lines


def as_csv(comparison: Comparison) -> str:
    """Return the rows of all leaderboards as one table: fractions, no rounding, an empty cell for what is not there."""
    names = list(Standing.__dataclass_fields__)
    columns = ["low", "high", "seed_low", "seed_high"]
    kept = [name for name in names if name not in ("interval", "seed_interval", "params")]
    rows: list[list[Any]] = [
        ["data", "protocol", "estimator", "metric", "seeds", *kept, *columns, "params", "not_ranked"]
    ]
    for board in comparison.leaderboards:
        for row in board.rows:
            ends = (*(row.interval or ("", "")), *(row.seed_interval or ("", "")))
            values = [getattr(row, name) for name in kept]
            params = ";".join(f"{name}={value!r}" for name, value in row.params.items())
            rows.append(
                [board.data, board.protocol, board.estimator, board.metric, board.seeds]
                + ["" if value is None else value for value in values]
                + [*ends, params, "; ".join(board.not_ranked)]
            )
    return csv_text(
        ([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows), line_end="\n"
    )


def pairs_as_csv(pairs: Sequence[ImagePair]) -> str:
    """Return images that show one picture as a table, one row a pair, similarities with four digits."""
    rows = [pair._replace(similarity=cast(Any, f"{pair.similarity:.4f}")) for pair in pairs]
    return csv_text([ImagePair._fields, *rows], line_end="\n")


def as_markdown(comparison: Comparison) -> str:
    """Return leaderboards with their tests, what was refused and why, as Markdown."""
    lines: list[str] = []
    for board in comparison.leaderboards:
        lines += [f"## {title(board)}", ""]
        lines += _markdown_table(header(board), cells(board))
        missing = [(one.model, one.reason) for one in comparison.unavailable if one.data == board.data]
        lines += [f"| | {_escaped(features_text(name, True))} | unavailable |" for name, _ in missing]
        lines += ["", f"Reported on: {board.reported_on}. Chosen on: {board.selected_on}.", ""]
        lines += [f"- not ranked: {reason}" for reason in board.not_ranked]
        lines += [f"- {_escaped(text)}" for text in pairs_in_words(board)]
        lines += [f"- no floor {name}: {reason}" for name, reason in missing]
        lines += [f"- {note}" for note in board.notes]
        lines.append("")
    for ranks in comparison.average_ranks:
        first, *rest = ranks_in_words(ranks)
        lines += [f"## {first}", "", *(f"    {line}" for line in rest), ""]
    lines += [f"- {note}" for note in comparison.notes]
    return "\n".join(map(printable, lines)).rstrip() + "\n"


def _cells(board: Leaderboard, row: Standing) -> tuple[str, ...]:
    return (
        rank_text(row.rank, row.tied),
        features_text(row.model, row.floor),
        value_text(board.metric, row.value, row.converged),
        interval_text(board.metric, row.interval),
        interval_text(board.metric, row.seed_interval),
        chosen_text(row.params, row.at_edge),
        str(row.n_train),
        str(row.n_test),
        "-" if row.images_per_second is None else f"{row.images_per_second:.0f}",
        "-" if row.parameters is None else f"{row.parameters:,}",
        f"{row.feature_bytes:,}",
        f"{row.fit_seconds:.2f}",
    )


def _pair_in_words(pair: Pair) -> str:
    test = "McNemar" if pair.test == "mcnemar" else "permutation"
    verdict = "differs from" if pair.differ else "cannot be told from"
    return (
        f"{pair.better} {verdict} {pair.worse}: {p_text(pair.p_value)} ({test}), "
        f"{p_text(pair.corrected)} corrected (Holm)"
    )


def _markdown_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return lines + [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {"features", "chosen"}
    return [
        "  ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for cell, width, name in zip(row, widths, rows[0], strict=True)
        ).rstrip()
        for row in rows
    ]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
