"""Labels from the text or the typed values that a source gives them as.

Text is never changed: two texts are two classes, but for those that are one in Unicode's normal form. What was typed as
text is never taken for numbers.

Layer: images. NumPy only.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import ManifestError
from embedkit.images.source import Labels, some

TargetOption = Literal["auto", "class", "value", "multilabel"]
CellKind = Literal["written", "text", "number"]
"""Where the text of a column comes from: written as text (CSV), typed as text, or a typed number."""

INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
NOT_A_NUMBER = frozenset({"", "nan", "NaN", "NAN"})
_LABEL_SEPARATOR = "|"


def infer_labels(
    values: Sequence[str], target_type: TargetOption, place: Callable[[int], str], kind: CellKind, notes: list[str]
) -> tuple[Labels | None, list[str]]:
    """Return labels and the names of their classes; (None, []) when every one is blank.

    ``"auto"``: numbers with a fractional part among them are values, unless they were typed as text; integers and
    everything else are classes. Typed numbers such as ``1.0``, ``2.0`` are the classes ``1`` and ``2``; in written text
    they stay what they are. Where every label that is not blank is a JSON list of texts, such as ``["dog", "photo"]``,
    they are several classes an image. What was decided goes to `notes`.
    """
    values = ["" if value.isspace() else value for value in values]
    if kind == "number" and target_type in ("auto", "class"):
        values = _without_minus_one(values, notes)
    if not any(values):
        return None, []
    lists = _json_lists(values) if target_type in ("auto", "multilabel") else None
    if lists is not None and not any(lists):
        return None, []
    if lists is not None:
        return _multilabel(lists)
    if target_type == "multilabel":
        return _multilabel([value.split(_LABEL_SEPARATOR) for value in values])
    numbers = (kind != "text" or target_type == "value") and all(is_number(value.strip()) for value in values)
    if target_type == "value" or (target_type == "auto" and numbers and not _whole(values)):
        if not numbers:
            row = next(row for row, value in enumerate(values) if not is_number(value.strip()))
            raise ManifestError(f"{place(row)}: label {values[row]!r}, expected a number (--target-type value)")
        if target_type == "auto":
            notes.append("some labels have a fractional part: taken as values (--target-type class makes them classes)")
        return floats([value.strip() for value in values]), []
    labels = list(values)
    if target_type == "auto" and numbers:
        labels = ["" if value.strip() in NOT_A_NUMBER else value for value in values]
        if kind == "number":
            labels = [_integer_name(value) for value in labels]
    labels = one_form(labels, notes)
    classes = sorted(set(labels) - {""})
    _note_near_names(classes, notes)
    return labels, classes


def one_form(labels: Sequence[str], notes: list[str]) -> list[str]:
    """Return labels of which those that are equal in normal form NFC are one, in that form."""
    odd = {label for label in set(labels) if not unicodedata.is_normalized("NFC", label)}
    names = set(labels)
    forms = Counter(unicodedata.normalize("NFC", label) for label in names)
    merged = {label: form for label in odd if forms[form := unicodedata.normalize("NFC", label)] > 1}
    if not merged:
        return list(labels)
    notes.append(f"classes that are one in Unicode's normal form NFC are one class: {some(sorted(merged.values()))}")
    return [merged.get(label, label) for label in labels]


def class_texts(values: Sequence[Any], names: Sequence[str] | None, where: str) -> list[str]:
    """Return typed values as text, None blank; of labels that are indices of `names` the names, -1 blank.

    Raises
    ------
    ManifestError
        Two classes of one name; an index without a name.
    """
    plain = [value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value for value in values]
    if names is None:
        return [typed_text(value) for value in plain]
    check_class_names(names, where)
    return [_class_name(value, names, where) for value in plain]


def check_class_names(names: Sequence[str], where: str) -> None:
    """Raise ManifestError where two classes have one name: their images could not be told apart."""
    twice = sorted(str(name) for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ManifestError(f"{where}: {some(twice)} names more than one class, expected one name each; rename them")


def typed_text(value: Any) -> str:
    """Return a typed value as a manifest would write it: blank for None and NaN, a list of texts as JSON."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        items = list(cast("list[Any]", value))
        return json.dumps(items, ensure_ascii=False) if all(isinstance(item, str) for item in items) else str(items)
    return str(value)


def kind_of(values: Sequence[Any]) -> CellKind:
    """Return ``"text"`` if any of some typed values is a text, else ``"number"``."""
    return "text" if any(isinstance(value, str) for value in values) else "number"


def is_number(value: str) -> bool:
    """Say whether a text is a number, or blank or NaN."""
    return value in NOT_A_NUMBER or NUMBER.fullmatch(value) is not None


def floats(values: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return texts of numbers as float64, NaN for blanks."""
    return np.array([math.nan if value in NOT_A_NUMBER else float(value) for value in values], dtype=np.float64)


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _class_name(value: Any, names: Sequence[str], where: str) -> str:
    if not _is_index(value):
        return typed_text(value)
    if value == -1:
        return ""
    if not 0 <= value < len(names):
        raise ManifestError(f"{where}: label {value}, expected -1 to {len(names) - 1}: it names {len(names)} classes")
    return str(names[value])


def _without_minus_one(values: Sequence[str], notes: list[str]) -> Sequence[str]:
    """Return indices of classes, from 0, of which -1 is none: blank."""
    names = set(values) - {""}
    if not {"-1", "0"} <= names or any(name != "-1" and not name.isdigit() for name in names):
        return values
    notes.append(f"label -1 ({values.count('-1'):,} rows) is taken as no label, since labels count from 0")
    return ["" if value == "-1" else value for value in values]


def _note_near_names(classes: Sequence[str], notes: list[str]) -> None:
    spaced = [name for name in classes if name != name.strip()]
    if spaced:
        notes.append(f"classes begin or end with spaces, and stay as they are written: {some(spaced)}")
    near: dict[str, list[str]] = {}
    for name in classes:
        near.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    pairs = [names for names in near.values() if len(names) > 1]
    if pairs:
        notes.append(f"classes that differ only by case or spaces stay apart: {some(pairs)}")


def _json_lists(values: Sequence[str]) -> list[list[str]] | None:
    """Return the lists that values are, blank an empty one; None unless each is blank or a JSON list of texts."""
    lists: list[list[str]] = []
    for value in values:
        if value and not value.lstrip().startswith("["):
            return None
        try:
            found: object = json.loads(value) if value else []
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, list) or not all(isinstance(part, str) for part in cast("list[object]", found)):
            return None
        lists.append(cast("list[str]", found))
    return lists


def _multilabel(lists: Sequence[Sequence[str]]) -> tuple[npt.NDArray[np.bool_], list[str]]:
    sets = [{part.strip() for part in parts} - {""} for parts in lists]
    classes = sorted(set[str]().union(*sets))
    column = {name: index for index, name in enumerate(classes)}
    labels = np.zeros((len(lists), len(classes)), dtype=bool)
    for row, names in enumerate(sets):
        labels[row, [column[name] for name in names]] = True
    return labels, classes


def _whole(values: Sequence[str]) -> bool:
    return all(float(value).is_integer() for value in values if value.strip() not in NOT_A_NUMBER)


def _integer_name(value: str) -> str:
    return value if not value or INTEGER.fullmatch(value) else str(int(float(value)))
