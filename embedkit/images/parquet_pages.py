"""What the pages of a Parquet file say that they become, read before Arrow takes the memory.

A column of a row group is pages behind one another, each with a header in Thrift's compact protocol that says how many
bytes follow and how many they become. The footer says so too, for the whole; but Arrow goes by the headers.

Sources: parquet.thrift (PageHeader) of apache/parquet-format, thrift-compact-protocol.md of apache/thrift.

Layer: images; below parquet. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_HEADER_BYTES = (1 << 12, 1 << 24)  # Arrow reads headers of up to 16 MiB; most have less than 100 bytes
_MOST_LEVELS = 16


def page_sizes(file: Any, chunk: Any) -> Iterator[int]:
    """Yield how many bytes each page of a column of a row group becomes.

    Parameters
    ----------
    file : binary file, open for reading at any place
    chunk : pyarrow.parquet.ColumnChunkMetaData

    Raises
    ------
    ValueError
        A header is damaged, or promises what is not there.
    """
    place: int = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < place:
        place = chunk.dictionary_page_offset
    end = place + chunk.total_compressed_size if chunk.num_values else place  # nothing at all may be written then
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
            sizes = read.numbers()
        except IndexError:
            continue
        becomes, stored = sizes.get(2, -1), sizes.get(3, -1)
        if becomes < 0 or stored < 0:
            raise ValueError("a page without a size")
        return read.place, becomes, stored
    raise ValueError("a page whose header does not end")


class _Struct:
    """Reads one struct of Thrift's compact protocol. IndexError where it goes on behind the data."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def numbers(self, levels: int = _MOST_LEVELS) -> dict[int, int]:
        """Return the struct's own whole numbers, by their fields; what else it holds is skipped."""
        if not levels:
            raise ValueError("a header of too many levels")
        found: dict[int, int] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            if (value := self._value(head & 15, levels)) is not None:
                found[number] = value
        return found

    def _value(self, kind: int, levels: int, *, listed: bool = False) -> int | None:
        match kind:
            case 1 | 2:  # a boolean is its own type, but in a list it has a byte
                self.place += listed
            case 3:
                self._byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                self.place += 8
            case 8:
                length = self._unsigned()
                self.place += length
            case 9 | 10:
                head = self._byte()
                count = head >> 4 if head >> 4 != 15 else self._unsigned()
                if count > len(self._data):
                    raise ValueError("a header of too many parts")
                for _ in range(count):
                    self._value(head & 15, levels - 1, listed=True)
            case 12:
                self.numbers(levels - 1)
            case _:
                raise ValueError("no header of a page")
        return None

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
