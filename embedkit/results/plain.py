"""Records as plain JSON values, and back again, by the types of their fields.

Arrays go in two forms: as nested lists, for people and other programs, and packed, for files:
``{"dtype": "<f8", "shape": [567, 81], "zlib": "<base64>"}``, little-endian, in C order, to the last bit.

Layer: results; its bottom.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import reprlib
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
"""Most bytes that all arrays of a record may take, where nobody says."""

_INT64 = 1 << 63

_DTYPES = frozenset(np.dtype(code).newbyteorder("<").str for code in "?bBhHiIqQefd")


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
    return {"dtype": little.dtype.str, "shape": list(array.shape), "zlib": packed}


def to_plain(value: object, arrays: PackArray = as_lists, *, rows: bool = True) -> Any:
    """Turn a record, or what is in one, into JSON values.

    A field whose name ends in ``_``, since it is a word of Python, is written without it. Fields that hold no data of a
    record (``metadata={"plain": False}``) are left out; without `rows` also those that hold something for each row
    (``metadata={"rows": True}``).
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = [one for one in dataclasses.fields(value) if one.metadata.get("plain", True)]
        names = [one.name for one in kept if rows or not one.metadata.get("rows", False)]
        return {name.removesuffix("_"): to_plain(getattr(value, name), arrays, rows=rows) for name in names}
    if isinstance(value, np.ndarray):
        return arrays(cast(npt.NDArray[Any], value))
    if isinstance(value, np.generic):
        return to_plain(cast(Any, value).item(), arrays)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "_asdict"):
        return to_plain(cast(Any, value)._asdict(), arrays)
    if isinstance(value, Mapping):
        named = cast(Mapping[Any, object], value)
        return {str(name): to_plain(one, arrays, rows=rows) for name, one in named.items()}
    if isinstance(value, list | tuple):
        return [to_plain(one, arrays, rows=rows) for one in cast(Sequence[object], value)]
    return value


def equal(one: object, other: object) -> bool:
    """Whether two values with arrays in them are of one type and equal, to the last bit."""
    return type(one) is type(other) and to_plain(one, as_packed) == to_plain(other, as_packed)


def from_plain(kind: type[_Kind], value: object, where: str = "the record", *, most_bytes: int = MOST_BYTES) -> _Kind:
    """Build a value of a type from what `to_plain` made of it.

    Raises
    ------
    ResultFileError
        Something is missing, or of another type, or all arrays together take more than `most_bytes`; the message says
        where.
    """
    return cast(_Kind, _Builder(most_bytes).build(kind, value, where))


class _Builder:
    """Builds one record, and counts what its arrays take."""

    def __init__(self, most_bytes: int) -> None:
        self._most = self._left = most_bytes

    def build(self, kind: Any, value: Any, where: str) -> Any:
        origin, inner = get_origin(kind), get_args(kind)
        if kind is Any:
            return value
        if origin in (typing.Union, types.UnionType):
            return self._one_of(inner, value, where)
        if origin is Literal:
            return _expected(value in inner, value, where, f"one of {', '.join(map(repr, inner))}")
        if origin is np.ndarray:
            [scalar] = get_args(inner[-1])
            dtype = None if scalar is Any else np.dtype(scalar)
            if isinstance(value, list):
                return self._listed(cast("list[Any]", value), dtype, where)
            return self._packed(value, dtype, where)
        if origin is list:
            items = _list(value, where)
            if inner[0] is str and all(type(item) is str for item in items):
                return items  # keys, which may be very many
            return [self.build(inner[0], item, f"{where}[{place}]") for place, item in enumerate(items)]
        if origin is tuple:
            items = _list(value, where)
            _expected(len(items) == len(inner), value, where, f"{len(inner)} values")
            return tuple(self.build(one, item, where) for one, item in zip(inner, items, strict=True))
        if origin is dict:
            items = _expected(isinstance(value, dict), value, where, "an object")
            return {name: self.build(inner[1], item, f"{where}.{name}") for name, item in items.items()}
        if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
            return self._record(kind, _expected(isinstance(value, dict), value, where, "an object"), where)
        if kind is float:
            return _number(value, where)
        if kind is int:
            return _expected(type(value) is int and -_INT64 <= value < _INT64, value, where, "a whole number")
        return _expected(type(value) is kind, value, where, kind.__name__)

    def _one_of(self, kinds: tuple[Any, ...], value: Any, where: str) -> Any:
        if value is None and types.NoneType in kinds:
            return None
        others = [kind for kind in kinds if kind is not types.NoneType]
        if type(value) in others:  # a whole number stays one where both kinds may be
            return self.build(type(value), value, where)
        for kind in others[:-1]:
            try:
                return self.build(kind, value, where)
            except ResultFileError:
                continue
        return self.build(others[-1], value, where)

    def _record(self, kind: Any, record: dict[str, Any], where: str) -> Any:
        hints = _hints(kind)
        is_record = dataclasses.is_dataclass(kind)  # whose class variables are no fields
        names: list[str] = [one.name for one in dataclasses.fields(kind)] if is_record else list(kind._fields)
        # What a newer version added is passed over; what it took away, or never wrote, is missed by the class itself.
        written = {name: name.removesuffix("_") for name in names}
        values = {
            name: self.build(hints[name], record[said], f"{where}.{said}")
            for name, said in written.items()
            if said in record
        }
        try:
            return kind(**values)
        except (TypeError, ValueError) as error:
            raise ResultFileError(f"{where} is no {kind.__name__}: {error}; measure again") from error

    def _packed(self, value: Any, dtype: np.dtype[Any] | None, where: str) -> npt.NDArray[Any]:
        try:
            code, shape = value["dtype"], [_size(size) for size in value["shape"]]
            if code not in _DTYPES or (dtype is not None and np.dtype(code) != dtype):
                raise ValueError(f"numbers of the type {reprlib.repr(code)}")
            stored = np.dtype(code)
            length = stored.itemsize * math.prod(shape)
            self._spend(length, where)
            inflate = zlib.decompressobj()
            data = inflate.decompress(base64.b64decode(value["zlib"], validate=True), length + 1)
            return np.frombuffer(data, stored).reshape(shape).astype(stored.newbyteorder("="))
        except ResultFileError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:
            raise ResultFileError(f"{where} is no array: {error}; the file is damaged: measure again") from error

    def _listed(self, leaves: list[Any], dtype: np.dtype[Any] | None, where: str) -> npt.NDArray[Any]:
        shape = [len(leaves)]
        while leaves and isinstance(leaves[0], list):
            shape.append(len(cast("list[Any]", leaves[0])))
            _expected(
                all(isinstance(one, list) and len(cast("list[Any]", one)) == shape[-1] for one in leaves),
                leaves,
                where,
                "rows of one length",
            )
            leaves = [leaf for one in leaves for leaf in one]
        kinds: set[type] = {type(leaf) for leaf in leaves}
        found = next((own for own, allowed in _LEAVES if kinds <= allowed), None)
        if found is None or (dtype is not None and leaves and not np.can_cast(found, dtype, "same_kind")):
            raise ResultFileError(f"{where} is no array of one kind; the file is damaged: measure again")
        width = max(map(len, leaves), default=0) if found.kind == "U" else 2
        self._spend(4 * width * len(leaves), where)  # NumPy gives each text the room of the longest
        try:
            numbers = [math.nan if leaf is None else leaf for leaf in leaves]
            return np.array(numbers, found if dtype is None else dtype).reshape(shape)
        except (ValueError, OverflowError) as error:
            raise ResultFileError(f"{where} is no array: {error}; the file is damaged: measure again") from error

    def _spend(self, length: int, where: str) -> None:
        self._left -= length
        if self._left < 0:
            raise ResultFileError(
                f"{where}: the arrays up to here take more than {self._most} bytes; if you trust who wrote them, allow "
                "more by load_result(..., most_bytes=...)"
            )


# What the leaves of nested lists may be, and what they become; the first that fits.
_LEAVES: tuple[tuple[np.dtype[Any], set[type]], ...] = (
    (np.dtype(np.str_), {str}),
    (np.dtype(np.bool_), {bool}),
    (np.dtype(np.int64), {int}),
    (np.dtype(np.float64), {int, float, types.NoneType}),
)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _number(value: Any, where: str) -> float:
    if value is None:
        return math.nan
    try:
        return float(_expected(type(value) in (int, float), value, where, "a number"))
    except OverflowError as error:
        raise ResultFileError(f"{where} is too large a number; the file is damaged: measure again") from error


def _list(value: Any, where: str) -> list[Any]:
    return _expected(isinstance(value, list), value, where, "a list")


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{reprlib.repr(value)} is no size")
    return value


def _expected(holds: bool, value: Any, where: str, expected: str) -> Any:
    if not holds:
        got = reprlib.repr(value)
        raise ResultFileError(f"{where} is {got}, expected {expected}; the file is damaged, or no result")
    return value


def _finite(values: Any) -> Any:
    if isinstance(values, list):
        return [_finite(value) for value in cast("list[Any]", values)]
    return values if math.isfinite(values) else None
