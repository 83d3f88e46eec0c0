"""Records as plain JSON values, and back again, by the types of their fields.

Arrays go in two forms: as nested lists, for people and other programs, and packed, for files:
``{"dtype": "<f8", "shape": [567, 81], "zlib": "<base64>"}``, little-endian, in C order, to the last bit.

Layer: results; its bottom.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import math
import types
import typing
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import numpy as np
import numpy.typing as npt

from embedkit.errors import ResultFileError

_Kind = TypeVar("_Kind")

PackArray = Callable[[npt.NDArray[Any]], Any]

MOST_BYTES = 1 << 31
"""Most bytes that one array of a file may inflate to."""

_KINDS = frozenset("?iuf")


def as_lists(array: npt.NDArray[Any]) -> Any:
    """Write an array as nested lists; what is not finite becomes None, since JSON has no word for it."""
    values = array.tolist()
    return _finite(values) if array.dtype.kind == "f" and not np.isfinite(array).all() else values


def as_packed(array: npt.NDArray[Any]) -> Any:
    """Write an array packed; text as a list."""
    if array.dtype.kind in "UO":
        return array.tolist()
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    packed = base64.b64encode(zlib.compress(little.tobytes(), 6)).decode("ascii")
    return {"dtype": little.dtype.str, "shape": list(little.shape), "zlib": packed}


def to_plain(value: object, arrays: PackArray = as_lists) -> Any:
    """Turn a record, or what is in one, into JSON values.

    Fields that hold no data of a record (``metadata={"plain": False}``) are left out.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = [field.name for field in dataclasses.fields(value) if field.metadata.get("plain", True)]
        return {name: to_plain(getattr(value, name), arrays) for name in kept}
    if isinstance(value, np.ndarray):
        return arrays(cast(npt.NDArray[Any], value))
    if isinstance(value, np.generic):
        return to_plain(cast(Any, value).item(), arrays)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "_asdict"):
        return to_plain(cast(Any, value)._asdict(), arrays)
    if isinstance(value, Mapping):
        return {str(name): to_plain(one, arrays) for name, one in cast(Mapping[Any, object], value).items()}
    if isinstance(value, list | tuple):
        return [to_plain(one, arrays) for one in cast(Sequence[object], value)]
    return value


def from_plain(kind: type[_Kind], value: object, where: str = "the record") -> _Kind:
    """Build a value of a type from what `to_plain` made of it.

    Raises
    ------
    ResultFileError
        Something is missing, or of another type; the message says where.
    """
    return cast(_Kind, _build(kind, value, where))


def _build(kind: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _first_that_fits([one for one in inner if one is not type(None)], value, where)
    if origin is Literal:
        return _expected(value in inner, value, where, f"one of {', '.join(map(repr, inner))}")
    if kind is np.ndarray or origin is np.ndarray:
        return _array(value, where)
    if origin is list:
        items = _expected(isinstance(value, list), value, where, "a list")
        return [_build(inner[0], item, f"{where}[{place}]") for place, item in enumerate(cast("list[Any]", items))]
    if origin is tuple:
        listed = cast("list[Any]", _expected(isinstance(value, list), value, where, "a list"))
        kinds = [inner[0]] * len(listed) if inner[-1] is Ellipsis else list(inner)
        _expected(len(kinds) == len(listed), value, where, f"{len(kinds)} values")
        return tuple(_build(one, item, where) for one, item in zip(kinds, listed, strict=True))
    if origin is dict:
        items = _expected(isinstance(value, dict), value, where, "an object")
        return {name: _build(inner[1], item, f"{where}.{name}") for name, item in items.items()}
    if hasattr(kind, "__dataclass_fields__") or hasattr(kind, "_fields"):
        return _record(kind, _expected(isinstance(value, dict), value, where, "an object"), where)
    if kind is float:
        if value is None:
            return math.nan
        return float(
            _expected(isinstance(value, int | float) and not isinstance(value, bool), value, where, "a number")
        )
    return _expected(
        isinstance(value, kind) and (kind is not int or not isinstance(value, bool)), value, where, kind.__name__
    )


def _record(kind: Any, record: dict[str, Any], where: str) -> Any:
    hints = _hints(kind)
    is_record = dataclasses.is_dataclass(kind)  # whose class variables are no fields
    names: list[str] = [one.name for one in dataclasses.fields(kind)] if is_record else list(kind._fields)
    # What a newer version added is passed over; what it took away, or never wrote, is missed by the class itself.
    values = {name: _build(hints[name], record[name], f"{where}.{name}") for name in names if name in record}
    try:
        return kind(**values)
    except TypeError as error:
        raise ResultFileError(f"{where} is no {kind.__name__}: {error}; measure again") from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _first_that_fits(kinds: list[Any], value: Any, where: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return _build(kind, value, where)
        except ResultFileError:
            continue
    return _build(kinds[-1], value, where)


def _expected(holds: bool, value: Any, where: str, expected: str) -> Any:
    if not holds:
        raise ResultFileError(f"{where} is {str(value)[:60]!r}, expected {expected}; the file is damaged, or no result")
    return value


def _array(value: Any, where: str) -> npt.NDArray[Any]:
    if isinstance(value, list):
        listed = cast("list[Any]", value)
        return np.array(listed, dtype=np.str_) if not listed or isinstance(listed[0], str) else np.array(listed)
    _expected(isinstance(value, dict), value, where, "an array")
    packed = cast(dict[str, Any], value)
    try:
        dtype, shape = np.dtype(packed["dtype"]), tuple(int(size) for size in packed["shape"])
        length = dtype.itemsize * math.prod(shape)
        if dtype.kind not in _KINDS or not 0 <= length <= MOST_BYTES or min(shape, default=0) < 0:
            raise ValueError(f"{dtype} of {shape}")
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(packed["zlib"], validate=True), length + 1)
        return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise ResultFileError(f"{where} is no array: {error}; the file is damaged: measure again") from error


def _finite(values: Any) -> Any:
    if isinstance(values, list):
        return [_finite(value) for value in cast("list[Any]", values)]
    return values if math.isfinite(values) else None
