"""Where a result comes from, in the one form that all of them keep: the call, the data, the features, the split.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from embedkit.backbones import FeatureRequest
from embedkit.results import Origin, to_plain
from embedkit.tables import FeatureTable
from embedkit.workflows.targets import NamedTable


def origin_of(
    command: str,
    arguments: Mapping[str, object],
    data: Mapping[str, Sequence[NamedTable]] | None = None,
    *,
    seeds: Sequence[int] = (),
    sources: Sequence[str] = (),
    fingerprints: Mapping[str, str] | None = None,
) -> Origin:
    """Describe a call.

    Parameters
    ----------
    command : str
        As the command line calls it.
    arguments : mapping of str to object
        What was asked, by the names of the parameters; what was left out may be None.
    data : mapping of str to sequence of NamedTable
        The tables of each data set, by its name.
    seeds : sequence of int
    sources : sequence of str
        Names of sources of images of which there are no tables here.
    fingerprints : mapping of str to str, optional
        Of features that are in no table here.
    """
    sets = data or {}
    several = len(sets) > 1
    return Origin(
        request={"command": command, **{name: _plain(value) for name, value in arguments.items() if value is not None}},
        data=[*sets, *data_titles(list(sources)).values()],
        fingerprints=dict(fingerprints or {})
        | {
            f"{name}: {one.name}" if several else one.name: one.table.spec.fingerprint
            for name, tables in sets.items()
            for one in tables
        },
        split={name: split_digest(tables[0].table) for name, tables in sets.items() if tables},
        seeds=list(seeds),
    )


def split_digest(table: FeatureTable) -> str:
    """Digest the keys of a table with the part, the group and the label of each: SHA-256, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    nothing = [""] * len(table)
    parts = nothing if table.split is None else table.split.tolist()
    groups = nothing if table.groups is None else table.groups.tolist()
    labels = nothing if table.y is None else table.y.tolist()
    for row in sorted(zip(table.keys, parts, groups, map(repr, labels), strict=True)):
        digest.update("\0".join(row).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _plain(value: object) -> Any:
    """Write an argument as JSON would: objects by their repr, images in memory by how many they are."""
    if isinstance(value, FeatureRequest):
        return {name: part for name, part in value.to_dict().items() if part not in (None, {}, [])}
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in cast(Mapping[Any, object], value).items()}
    if isinstance(value, list | tuple):
        listed = cast(Sequence[object], value)
        return [_plain(part) for part in listed] if len(listed) <= 100 else f"{len(listed)} items"
    return (
        to_plain(value) if isinstance(value, str | int | float | bool) or value is None else f"<{type(value).__name__}>"
    )


def data_name(named: NamedTable) -> str:
    """Call the data set of a table by the last part of the path of its images."""
    source = str(named.table.provenance.get("source") or "images")
    return data_titles([source])[source]


def data_titles(sources: list[str]) -> dict[str, str]:
    """Call data sets by the last parts of their paths, as many as tell them apart."""
    for parts in (1, 2, 3):
        titles = {source: "/".join(_without_manifest(source).parts[-parts:]) or source for source in sources}
        if len(set(titles.values())) == len(sources):
            return titles
    return {source: source for source in sources}


def _without_manifest(source: str) -> Path:
    path = Path(source)
    return path.parent if path.stem == "split" else path
