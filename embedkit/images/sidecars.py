"""Sidecars: members of an archive that say what an image beside them is, in the layout of WebDataset.

``000123.jpg``, ``000123.cls`` (its label), ``000123.json`` (further columns) and ``000123.txt`` (a caption) are one
sample. A sidecar belongs to the images whose names are the same but for the last ending, as in ``a.b.jpg`` and
``a.b.json``; without one, to those whose names are the same up to their first dot, as ``1.left.jpg`` and ``1.cls``.

Layer: images; above reading. Standard library only.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, cast

from embedkit.images.reading import ArchiveMember, read_bytes

_EXTENSIONS = (".cls", ".json", ".txt")
MOST_BYTES = 1 << 20
"""Of a sidecar. What a larger one says is not read, and that is counted."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a sidecar says, column -> text, and which columns its JSON types as text."""

    texts: dict[str, str] = field(default_factory=dict[str, str])
    typed: frozenset[str] = frozenset()


class Stems:
    """Finds the images that a sidecar speaks of."""

    def __init__(self, images: Sequence[str]) -> None:
        self._full: dict[str, list[str]] = {}
        self._first: dict[str, list[str]] = {}
        for name in images:
            self._full.setdefault(os.path.splitext(name)[0], []).append(name)
            self._first.setdefault(stem_of(name), []).append(name)

    def of_sidecar(self, name: str) -> list[str]:
        """Return the images that a sidecar of this name belongs to."""
        stem = os.path.splitext(name)[0]
        return self._full.get(stem) or (self._first.get(stem, []) if stem == stem_of(name) else [])


def choose_images(images: Sequence[str], described: Set[str]) -> tuple[list[str], Counter[str], list[str]]:
    """Choose the images of samples that hold several, such as a photo and its mask.

    Where one is named like its sidecar (``0.jpg``, ``0.cls``) and others are not (``0.seg.png``), the first is meant.

    Parameters
    ----------
    images : sequence of str
    described : set of str
        Those that sidecars speak of.

    Returns
    -------
    chosen : list of str
    passed_over : Counter
        By reason.
    notes : list of str
    """
    samples: dict[str, list[str]] = {}
    for name in images:
        samples.setdefault(stem_of(name), []).append(name)
    several = [names for names in samples.values() if len(names) > 1 and not described.isdisjoint(names)]
    if not several:
        return list(images), Counter(), []
    endings = Counter(ending_of(name) for names in several for name in names)
    dropped: set[str] = set()
    for stem, names in samples.items():
        if not described.isdisjoint(names) and any(os.path.splitext(name)[0] == stem for name in names):
            dropped.update(name for name in names if name not in described)
    kept = "all are rows" if not dropped else "those that are named like their sidecar are rows"
    shown = ", ".join(f"{ending} {count:,}" for ending, count in sorted(endings.items()))
    note = f"{len(several):,} samples hold several images ({shown}): {kept}; image_column={min(endings)!r} takes one"
    reasons = Counter(f"another image of a sample: .{ending_of(name)}" for name in dropped)
    return [name for name in images if name not in dropped], reasons, [note]


def stem_of(name: str) -> str:
    """Return the name of a sample: the folder and the file name up to its first dot."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]


def ending_of(name: str) -> str:
    """Return what follows the first dot of a file name, in lower case: ``seg.png``."""
    return name.rpartition("/")[2].partition(".")[2].lower()


def sidecar_extension(name: str) -> str:
    """Return the extension of a sidecar's name; empty for other names."""
    extension = os.path.splitext(name)[1].lower()
    return extension if extension in _EXTENSIONS else ""


def read_sidecar(member: ArchiveMember) -> Sidecar:
    """Return what a member says of its sample; nothing if it is no sidecar, or larger than 1 MiB.

    Raises
    ------
    UnreadableImageError, ValueError, RecursionError
        It is damaged.
    """
    extension = sidecar_extension(member.name)
    if not extension or member.problem or member.size > MOST_BYTES:
        return Sidecar()
    text = read_bytes(member).decode("utf-8")
    record: Any = json.loads(text) if extension == ".json" else None
    columns = dict(_json_columns(record)) if extension == ".json" else {extension[1:]: text.strip()}
    for part in (*columns, *columns.values()):
        part.encode("utf-8")  # JSON can spell lone surrogates
        if "\0" in part:  # as where a disk lost a block
            raise ValueError("it holds a NUL")
    return Sidecar(columns, frozenset(name for name in columns if record and isinstance(record.get(name), str)))


def _json_columns(record: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    for name, value in cast(dict[str, Any], record).items():
        if value is None or isinstance(value, str):
            yield name, value or ""
        else:
            yield name, json.dumps(value)
