"""Text on its way to a terminal or a spreadsheet."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from embedkit.text import FORMULA_STARTS, csv_text, printable


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)))
def test_no_cell_is_a_formula_and_none_is_lost(cells):
    rows = list(csv.reader(io.StringIO(csv_text([["path"], *([cell] for cell in cells)]), newline="")))
    assert [row[0].removeprefix("'") for row in rows[1:]] == [cell.removeprefix("'") for cell in cells]
    assert not any(row[0].startswith(FORMULA_STARTS) for row in rows)


def test_numbers_stay_numbers():
    assert csv_text([["=cmd|' /C calc'!A0", -0.5, 3]], line_end="\n") == "'=cmd|' /C calc'!A0,-0.5,3\n"


@given(st.text())
def test_a_terminal_is_sent_no_control(text):
    assert printable(text).isprintable()
