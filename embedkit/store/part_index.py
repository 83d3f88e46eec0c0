"""Where the rows of many small parts are, in one file, so that opening them again costs no look into each.

    parts.index      length of the JSON (8 bytes), JSON, the digests of the parts behind one another, trailer
    JSON             {"fingerprint": "<64 hex>", "parts": {"<name>": [<identity>, rows, at], ...}}

An identity is device, inode, size, mtime_ns and ctime_ns, five numbers.

``at`` is where the digests begin in the part; its features end where its trailer begins. The index is validated and
never authoritative: an entry counts only for a part that is there and untouched since it was seen to match its name,
by the rule of ``checked.json``; and whenever rows are read from such a part, its own digests are compared with those
here. Deleting the file costs opening the parts one by one. Only small parts are in it: looking into a large one is
cheap for its size.

Layer: above parts and checked.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, cast

import numpy as np

from embedkit.errors import UnreadableFileError
from embedkit.files import TRAILER, FileIdentity, Folder, check_trailer, parse_json, read_small, seal, write_small
from embedkit.hdf5 import Extent
from embedkit.specs import FeatureSpec
from embedkit.store.layout import PART_INDEX, committed_length
from embedkit.store.parts import Part

INDEXED_ROWS = 256
"""Parts of more rows are opened one by one."""

# Digests of half a million small parts; a damaged store must not cost the memory.
_MOST_BYTES = 1 << 30
_LENGTH = struct.Struct("<Q")


class IndexedPart(NamedTuple):
    """A part as the index knows it."""

    identity: FileIdentity
    part: Part


def read_part_index(folder: Folder, spec: FeatureSpec) -> dict[str, IndexedPart]:
    """Return what the index knows, by name; nothing where it is absent or damaged."""
    try:
        content = read_small(folder / PART_INDEX, _MOST_BYTES, follow=False)
        if check_trailer(io.BytesIO(content)) is not None:
            return {}
        (length,) = _LENGTH.unpack_from(content)
        head: Any = parse_json(content[_LENGTH.size : _LENGTH.size + length])
        rest = memoryview(content)[_LENGTH.size + length : -TRAILER.size]
        digests = np.frombuffer(rest, np.uint8).reshape(-1, 32)
        if head["fingerprint"] != spec.fingerprint:
            return {}
        found: dict[str, IndexedPart] = {}
        row = 0
        for name, entry in head["parts"].items():
            *identity, rows, at = map(int, entry)
            part = indexed_part(str(name), spec, digests[row : row + rows], at)
            if part is None or len(identity) != 5 or not 0 < rows <= INDEXED_ROWS:
                return {}
            found[part.name] = IndexedPart(FileIdentity(*identity), part)
            row += rows
        return found if row == len(digests) else {}
    except (
        FileNotFoundError,
        UnreadableFileError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        struct.error,
    ):
        return {}


def indexed_part(name: str, spec: FeatureSpec, digests: np.ndarray[Any, np.dtype[np.uint8]], at: int) -> Part | None:
    """Return a part of these digests; None where they do not fit into a file of the length that its name says."""
    rows, size = len(digests), len(digests) * spec.backbone.width * np.dtype(spec.dtype).itemsize
    start = committed_length(name) - TRAILER.size - size
    if not 0 < at <= at + 32 * rows <= start:
        return None
    features = Extent(offset=start, shape=(rows, spec.backbone.width), type=spec.dtype)
    return Part(name, Extent(offset=at, shape=(rows, 32), type="uint8"), features, held=digests)


def write_part_index(folder: Folder, spec: FeatureSpec, parts: Mapping[str, IndexedPart]) -> None:
    """Replace the index; a folder that is only readable goes without."""
    entries = {name: [*entry.identity, entry.part.rows, entry.part.digests.offset] for name, entry in parts.items()}
    head = json.dumps({"fingerprint": spec.fingerprint, "parts": entries}).encode()
    digests = [np.ascontiguousarray(cast(Any, entry.part.held)).tobytes() for entry in parts.values()]
    with suppress(OSError):
        content = seal(b"".join([_LENGTH.pack(len(head)), head, *digests]))
        write_small(folder / PART_INDEX, content, folder)
