"""Notes on several features tables: each once, and whose it is where it is not everyone's.

Layer: workflows; above targets.
"""

from __future__ import annotations

from collections.abc import Iterable

from embedkit.workflows.targets import NamedTable


def attributed(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Return each note once, after the names it is about unless it is about all of them.

    Parameters
    ----------
    notes : iterable of (name, note)
        A name without notes comes with a blank one.
    """
    names_of: dict[str, dict[str, None]] = {}
    names: set[str] = set()
    for name, note in notes:
        names.add(name)
        if note:
            names_of.setdefault(note, {})[name] = None
    return [note if len(found) == len(names) else f"{', '.join(found)}: {note}" for note, found in names_of.items()]


def precision_notes(tables: Iterable[NamedTable]) -> list[str]:
    """Name the precision of features that are not those of fp32 torch, which `compare` computes unless told otherwise.

    Features of another precision differ within the drift bound, so that one backbone may have two numbers.
    """
    return [
        f"{named.name}: its features are of {spec.backbone.engine} {spec.backbone.precision}; `compare` computes torch "
        "fp32 unless told otherwise, and its number may differ a little from this one"
        for named in tables
        if not named.floor
        and (spec := named.table.spec).backbone.weights != "none"
        and (spec.backbone.engine, spec.backbone.precision) != ("torch", "fp32")
    ]
