"""Labels that a person filled in: a CSV file with a column of images and one of labels.

Layer: labelling. Standard library, files and errors.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from embedkit.errors import LabelsError, UnreadableFileError
from embedkit.files import read_small
from embedkit.text import FORMULA_STARTS

_MOST_LABEL = 1024


def read_answers(path: str | os.PathLike[str], keys: set[str]) -> dict[str, str]:
    """Return the labels of a file by the keys of a target; rows without a label are passed over.

    Parameters
    ----------
    path : path
        CSV with the columns ``path`` (or ``key``) and ``label``, such as `label` writes; others are ignored.
    keys : set of str
        The images that there are.

    Raises
    ------
    LabelsError
        The file is missing, no such file, or names images that are not there.
    """
    file = Path(path)
    try:
        text = read_small(file).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise LabelsError(f"there is no file of answers {file}") from error
    except (UnreadableFileError, UnicodeDecodeError) as error:
        raise LabelsError(f"the answers {file} cannot be read: {error}; save them as CSV in UTF-8") from error
    try:
        # Spreadsheets of some countries write semicolons.
        comma = ";" if ";" in text.partition("\n")[0] and "," not in text.partition("\n")[0] else ","
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=comma))
    except csv.Error as error:
        raise LabelsError(f"the answers {file} are no CSV: {error}") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    column = next((name for name in ("path", "key") if name in header), None)
    if column is None or "label" not in header:
        raise LabelsError(f"the answers {file} have the columns {header!r:.200}, expected path and label")
    place, answer = header.index(column), header.index("label")
    found: dict[str, str] = {}
    for row in rows[1:]:
        if len(row) <= max(place, answer) or not row[answer].strip():
            continue
        key, label = row[place], _undone(row[answer].strip())
        if key not in keys:
            key = _undone(key)
        if key not in keys:
            raise LabelsError(f"the answers {file} name {key!r:.200}, which the target does not have")
        if len(label) > _MOST_LABEL or "\0" in label:
            raise LabelsError(
                f"the answers {file} have a label of {len(label)} characters, expected at most {_MOST_LABEL}"
            )
        if found.get(key, label) != label:
            raise LabelsError(f"the answers {file} name {key!r:.200} twice, as {found[key]!r:.80} and {label!r:.80}")
        found[key] = label
    return found


def _undone(cell: str) -> str:
    """Take off the apostrophe that keeps a spreadsheet from taking a cell for a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA_STARTS) else cell
