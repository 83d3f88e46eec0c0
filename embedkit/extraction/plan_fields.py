"""What the fields of a plan must be: whoever made it also made its digest.

Layer: extraction; below plan. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

_MEMBER = {"archive", "name", "offset", "stored", "size", "deflated", "crc", "headed", "problem"}
_DTYPES = ("<f8", "<i8", "|b1")
_MOST = 1 << 62


def check_fields(record: Mapping[str, Any]) -> None:
    """Check the types and ranges of a plan's own fields; those of the request and the spec check themselves.

    Raises
    ------
    KeyError, ValueError
    """
    rows = record["source"]
    _want(isinstance(rows, Mapping), "source")
    number = len(rows["keys"]) if _is_texts(rows["keys"]) else -1
    _want(number >= 0, "keys")
    for name in ("name", "root"):
        _want(isinstance(rows[name], str) and "\0" not in rows[name], name)
    _want(rows["images"] is None or (_is_list(rows["images"]) and all(map(_is_image, rows["images"]))), "images")
    _want(_is_list(rows["sizes"]) and len(rows["sizes"]) == number, "sizes")
    _want(all(size is None or _is_count(size) for size in rows["sizes"]), "sizes")
    _want(rows["labels"] is None or _is_column(rows["labels"]), "labels")
    _want(_is_texts(rows["label_classes"]), "label_classes")
    for name in ("split", "groups"):
        _want(rows[name] is None or _is_texts(rows[name]), name)
    _want(isinstance(rows["columns"], Mapping) and all(map(_is_column, rows["columns"].values())), "columns")
    _want(_is_list(rows["failures"]), "failures")
    _want(all(_is_texts(failure) and len(failure) == 2 for failure in rows["failures"]), "failures")
    _want(isinstance(record["choice"], str), "choice")
    _want(record["drift"] is None or _is_number(record["drift"]), "drift")
    _want(isinstance(record["provenance"], Mapping), "provenance")
    _want(isinstance(record["store"], str) and record["store"] != "" and "\0" not in record["store"], "store")
    _want(_is_count(record["units"]) and record["units"] > 0, "units")
    pace = record.get("pace")
    _want(pace is None or (_is_number(pace) and 0 <= pace < 1e6), "pace")
    _want(_is_count(record.get("memory", 0)), "memory")


def _want(right: bool, field: str) -> None:
    if not right:
        raise ValueError(f"its field {field!r} is not what embedkit writes")


def _is_image(image: object) -> bool:
    if image is None or isinstance(image, str):
        return True
    if not isinstance(image, dict):
        return False
    member = cast(dict[str, object], image)
    return (
        set(member) <= _MEMBER
        and all(isinstance(member.get(name), str) for name in ("archive", "name"))
        and isinstance(member.get("problem", ""), str)
        and all(_is_count(member.get(name, 0)) for name in ("offset", "stored", "size"))
        and all(isinstance(member.get(name, False), bool) for name in ("deflated", "headed"))
        and (member.get("crc") is None or _is_count(member["crc"]))
    )


def _is_column(column: object) -> bool:
    if not isinstance(column, dict):
        return _is_texts(column)
    record = cast(dict[str, object], column)
    return (
        record.get("dtype") in _DTYPES
        and isinstance(record.get("base64"), str)
        and _is_list(record.get("shape"))
        and 1 <= len(cast(list[object], record["shape"])) <= 2
        and all(map(_is_count, cast(list[object], record["shape"])))
    )


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in cast(list[object], value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST
