"""Lines of text for a terminal: aligned tables and facts. Nothing in them can write on the terminal by itself.

Layer: render; standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from embedkit.text import printable


def table_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Align columns; one of numbers goes to the right."""
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    numeric = [
        len(cells) > 1 and all(row[column][:1] in "0123456789-+." for row in cells[1:] if row[column])
        for column in range(len(header))
    ]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]


def fact_lines(facts: Iterable[tuple[str, object]]) -> list[str]:
    """Write ``name  value`` a line, leaving out what is None."""
    shown = [(name, value) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"{name.ljust(width)}  {printable(str(value))}" for name, value in shown]
