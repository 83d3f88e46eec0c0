"""What a Parquet file says of itself, read before Arrow takes the memory.

A column of a row group (a chunk) is pages behind one another, each with a header in Thrift's compact protocol that says
how many bytes follow and how many they become. The footer says so too, for the whole; but Arrow goes by the headers.
Footers are read here as well: where one contradicts itself, pyarrow's own way to the chunks aborts the process.

Sources: parquet.thrift (FileMetaData, PageHeader) of apache/parquet-format; thrift-compact-protocol.md of
apache/thrift.

Layer: images; below parquet. Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

_HEADER_BYTES = (1 << 12, 1 << 24)  # Arrow reads headers of up to 16 MiB; most have less than 100 bytes
_MOST_LEVELS = 16
_END = b"PAR1"


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a row group holds of a column.

    Attributes
    ----------
    path : str
        The column, and what of it, as ``image.bytes``.
    values : int
    start, stored : int
        Where its pages are, in bytes.
    """

    path: str
    values: int
    start: int
    stored: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: how many rows it has, and a chunk for each column."""

    rows: int
    chunks: list[Chunk]


def read_footer(file: Any) -> list[RowGroup]:
    """Return the row groups of a file.

    Parameters
    ----------
    file : binary file, open for reading at any place

    Raises
    ------
    ValueError
        It is no Parquet file, or damaged.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _END or length > size - 8:
        raise ValueError("it has no footer")
    file.seek(size - 8 - length)
    try:
        groups = _listed(_Struct(file.read(length)).read(), 4)
        return [RowGroup(_whole(group, 3), [_chunk(column) for column in _listed(group, 1)]) for group in groups]
    except IndexError:
        raise ValueError("its footer is cut short") from None


def _chunk(column: dict[int, Any]) -> Chunk:
    said = column.get(3)
    if not isinstance(said, dict):
        raise ValueError("a column that says nothing of itself")
    said = cast(dict[int, Any], said)
    path = said.get(3)
    if not isinstance(path, list) or not all(isinstance(name, bytes) for name in cast(list[Any], path)):
        raise ValueError("a column without a name")
    values, stored, start = _whole(said, 5), _whole(said, 7), _whole(said, 9)
    dictionary = said.get(11)
    if isinstance(dictionary, int) and 0 < dictionary < start:
        start = dictionary
    if min(values, stored, start) < 0:
        raise ValueError("a column of less than nothing")
    return Chunk(b".".join(cast(list[bytes], path)).decode("utf-8", "replace"), values, start, stored)


def _listed(struct: dict[int, Any], number: int) -> list[dict[int, Any]]:
    found = struct.get(number, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in cast(list[Any], found)):
        raise ValueError("its footer holds something else than row groups")
    return cast(list[dict[int, Any]], found)


def _whole(struct: dict[int, Any], number: int) -> int:
    found = struct.get(number)
    if not isinstance(found, int):
        raise ValueError("its footer lacks a number")
    return found


def page_sizes(file: Any, chunk: Chunk) -> Iterator[int]:
    """Yield how many bytes each page of a chunk becomes.

    Raises
    ------
    ValueError
        A header is damaged, or promises what is not there.
    """
    place = chunk.start
    end = place + chunk.stored if chunk.values else place  # nothing at all may be written then
    while place < end:
        length, becomes, stored = _header(file, place, end)
        place += length + stored
        if place > end:
            raise ValueError("a page reaches beyond its column")
        yield becomes


def _header(file: Any, place: int, end: int) -> tuple[int, int, int]:
    """Return the length of a page's header, how many bytes the page becomes, and how many it has."""
    for most in _HEADER_BYTES:
        file.seek(place)
        data = file.read(min(most, end - place))
        try:
            read = _Struct(data)
            sizes = read.read()
        except IndexError:
            continue
        becomes, stored = sizes.get(2), sizes.get(3)
        if not isinstance(becomes, int) or not isinstance(stored, int) or becomes < 0 or stored < 0:
            raise ValueError("a page without a size")
        return read.place, becomes, stored
    raise ValueError("a page whose header does not end")


class _Struct:
    """Reads one struct of Thrift's compact protocol. IndexError where it goes on behind the data."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def read(self, levels: int = _MOST_LEVELS) -> dict[int, Any]:
        """Return the struct by the numbers of its fields: numbers, bytes, lists and structs."""
        if not levels:
            raise ValueError("a header of too many levels")
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            found[number] = self._value(head & 15, levels)
        return found

    def _value(self, kind: int, levels: int, *, listed: bool = False) -> Any:
        match kind:
            case 1 | 2:  # a boolean is its own type, but in a list it has a byte
                return (self._byte() if listed else kind) == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                self.place += 8
                return None
            case 8:
                length = self._unsigned()
                self.place += length
                if self.place > len(self._data):
                    raise IndexError
                return self._data[self.place - length : self.place]
            case 9 | 10:
                head = self._byte()
                count = head >> 4 if head >> 4 != 15 else self._unsigned()
                if count > len(self._data):
                    raise ValueError("a header of too many parts")
                return [self._value(head & 15, levels - 1, listed=True) for _ in range(count)]
            case 12:
                return self.read(levels - 1)
            case _:
                raise ValueError("no header of a page")

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("no number in the header of a page")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
