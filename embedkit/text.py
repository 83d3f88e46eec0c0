"""Text from others on its way to a program that may obey it: a terminal, a spreadsheet.

Layer: the bottom, beside errors. Standard library only.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Text that begins so is a formula to a spreadsheet (OWASP, "CSV Injection")."""


def printable(text: str) -> str:
    """Return a text without control characters, which a file name may use to write on a terminal."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


class PrintableFormatter(logging.Formatter):
    """Writes a record without control characters but the ends of its lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return "\n".join(map(printable, super().format(record).split("\n")))


def log_to_stderr() -> None:
    """Write the warnings of this process to stderr, as the command line does."""
    logging.basicConfig(level=logging.WARNING)
    logging.root.handlers[0].setFormatter(PrintableFormatter("embedkit: %(message)s"))


def harmless(value: object) -> object:
    """Return a value as a cell of CSV: text that a spreadsheet would take for a formula with an apostrophe in front."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value


def csv_text(rows: Iterable[Iterable[object]], *, line_end: str = "\r\n") -> str:
    """Return rows as CSV (RFC 4180) whose text no spreadsheet takes for formulas."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows([harmless(value) for value in row] for row in rows)
    return text.getvalue()
