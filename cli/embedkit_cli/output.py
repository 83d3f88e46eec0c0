"""What commands print: tables for a person, one JSON object for a program, notes on stderr.

Layer: cli; public names of embedkit only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click


def print_json(record: Any) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(record, indent=2, allow_nan=False))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns on stdout; a column of numbers is right-aligned."""
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    numeric = [
        len(cells) > 1 and all(row[column][:1] in "0123456789-+." for row in cells[1:] if row[column])
        for column in range(len(header))
    ]
    for row in cells:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print ``name  value`` lines on stdout, leaving out what is None."""
    shown = [(name, value) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {printable(str(value))}")


def note(message: str) -> None:
    """Say something on stderr."""
    click.echo(f"embedkit: {printable(message)}", err=True)


def say_failures(failures: Sequence[tuple[str, str]], shown: int = 10) -> None:
    """List images without features on stderr, the first few by name."""
    if not failures:
        return
    note(f"{len(failures)} image{'s' if len(failures) != 1 else ''} skipped:")
    for key, reason in failures[:shown]:
        note(f"  {key}: {reason}")
    if len(failures) > shown:
        note(f"  ... and {len(failures) - shown} more (--json lists all)")


def params_text(params: dict[str, Any]) -> str:
    """Write chosen parameters: ``C=0.1, kernel=rbf``."""
    return ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items()
    )


def percent(value: float) -> str:
    """Write a fraction as per cent with one decimal."""
    return f"{100 * value:.1f} %"


def printable(text: str) -> str:
    """Return a text without control characters, which a file name may use to write on a terminal."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
