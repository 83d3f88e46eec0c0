"""What leaderboards look like as text."""

from __future__ import annotations

import csv
import dataclasses
import io

from embedkit.evaluation.comparison import average_ranks, make_leaderboard
from embedkit.render import as_csv, as_markdown, as_text
from embedkit.render.leaderboards import pairs_in_words
from embedkit.results import Comparison, Unavailable
from tests.evaluation.test_comparison import boards_of, make_entry, rights

BOARD = make_leaderboard(
    [
        make_entry("a", rights(90)),
        make_entry("b|c", rights(88)),
        make_entry("pixels32", rights(30), floor=True),
        make_entry("colour-histogram", rights(87), floor=True),
    ]
)


def comparison(boards, *, average_ranks=(), unavailable=(), notes=()):
    return Comparison(
        leaderboards=list(boards), average_ranks=list(average_ranks), unavailable=list(unavailable), notes=list(notes)
    )


def test_text_shows_ties_and_floors():
    lines = as_text(comparison([BOARD], unavailable=[Unavailable("a random weights", "gone", "photos")])).splitlines()
    assert lines[0] == "photos: quick (logistic)"
    assert lines[2].split()[:3] == ["rank", "features", "accuracy"]
    assert lines[3].split()[:3] == ["1=", "a", "90.0"]
    assert lines[4].split()[:2] == ["1=", "b|c"]
    assert "colour-histogram (floor)" in lines[5]
    assert lines[6].split()[:3] == ["2", "pixels32", "(floor)"]
    assert lines[7].split() == ["-", "a", "random", "weights", "(floor)", "unavailable"]
    assert len({line.rstrip().find("quick") for line in lines[3:7]}) == 1  # nothing but the table


def test_words_name_pairs_of_backbones_and_floors_that_are_near():
    assert pairs_in_words(BOARD) == [
        "a cannot be told from b|c: p = 0.5 (McNemar), p = 1 corrected (Holm)",
        "a cannot be told from colour-histogram: p = 0.25 (McNemar), p = 0.75 corrected (Holm)",
        "b|c cannot be told from colour-histogram: p = 1 (McNemar), p = 1 corrected (Holm)",
        "every other backbone beats every other floor: p < 1e-6 at most, corrected (Holm)",
    ]


def test_csv_holds_every_number_unrounded():
    refused = make_leaderboard([make_entry("a", rights(90)), make_entry("b", rights(50), split="x")])
    rows = list(csv.DictReader(io.StringIO(as_csv(comparison([BOARD, refused])))))
    assert len(rows) == 6
    assert [float(row["value"]) for row in rows[:4]] == [row.value for row in BOARD.rows]
    assert [float(row["low"]) for row in rows[:4]] == [row.interval[0] for row in BOARD.rows]
    assert rows[0]["tied"] == "True"
    assert rows[4]["rank"] == ""
    assert "another split" in rows[4]["not_ranked"]


def test_markdown_is_a_table_with_reasons():
    refused = make_leaderboard([make_entry("a", rights(90)), make_entry("b", rights(50), split="x")])
    refused = dataclasses.replace(refused, data="others")
    text = as_markdown(
        comparison(
            [BOARD, refused], unavailable=[Unavailable("x random weights", "no room", "photos")], notes=["a note"]
        )
    )
    assert "## photos: quick (logistic)" in text
    assert "| 1= | b\\|c | 88.0 % |" in text
    assert "| | x random weights (floor) | unavailable |" in text
    assert "- no floor x random weights: no room" in text
    assert "- not ranked: a and b are not comparable: another split" in text
    assert text.endswith("- a note\n")
    columns = {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("| 1")}
    assert len(columns) == 1


def test_average_ranks_in_words():
    ranks = average_ranks(boards_of({"a": [90] * 3, "b": [70] * 3, "c": [50] * 3}))
    text = as_text(comparison([], average_ranks=[ranks]))
    assert "average ranks over 3 data sets by quick (logistic): Friedman chi-square 6.00, p = 0.05" in text
    assert text.splitlines()[1].split() == ["1=", "1.00", "a"]
    assert text.splitlines()[3].split() == ["2", "3.00", "c"]


def test_names_of_others_are_neither_formulas_nor_orders_to_a_terminal():
    board = make_leaderboard([make_entry("=cmd|' /C calc'!A0", rights(90)), make_entry("\x1b[31ma\x07", rights(50))])
    written = comparison([board], notes=["\x1b]0;title\x07"])
    models = [row["model"] for row in csv.DictReader(io.StringIO(as_csv(written)))]
    assert models == ["'=cmd|' /C calc'!A0", "\\x1b[31ma\\x07"]
    for text in (as_csv(written), as_markdown(written), as_text(written)):
        assert all(character.isprintable() or character == "\n" for character in text)
