"""Sidecars: members of an archive that say what an image beside them is, in the layout of WebDataset.

Members that share a name up to the first dot of its last part are one sample: ``000123.jpg``, ``000123.cls`` (its
label), ``000123.json`` (further columns), ``000123.txt`` (a caption).

Layer: images; above reading. Standard library only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, cast

from embedkit.images.reading import ArchiveMember, read_bytes

_EXTENSIONS = (".cls", ".json", ".txt")
_MAX_BYTES = 1 << 20


def stem_of(name: str) -> str:
    """Return the name of a sample: the folder and the file name up to its first dot."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]


def sidecar_extension(name: str) -> str:
    """Return the extension of a sidecar's name; empty for other names."""
    extension = os.path.splitext(name)[1].lower()
    return extension if extension in _EXTENSIONS and name[len(stem_of(name)) :].lower() == extension else ""


def read_sidecar(member: ArchiveMember) -> dict[str, str]:
    """Return what a member says of its sample, column -> text; nothing if it is no sidecar, or larger than 1 MiB.

    Raises
    ------
    UnreadableImageError, ValueError, RecursionError
        It is damaged.
    """
    extension = sidecar_extension(member.name)
    if not extension or member.problem or member.size > _MAX_BYTES:
        return {}
    text = read_bytes(member).decode("utf-8")
    columns = dict(_json_columns(json.loads(text))) if extension == ".json" else {extension[1:]: text.strip()}
    for part in (*columns, *columns.values()):
        part.encode("utf-8")  # JSON can spell lone surrogates
        if "\0" in part:  # as where a disk lost a block
            raise ValueError("it holds a NUL")
    return columns


def _json_columns(record: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    for name, value in cast(dict[str, Any], record).items():
        if value is None or isinstance(value, str):
            yield name, value or ""
        else:
            yield name, json.dumps(value)
