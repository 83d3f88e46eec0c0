"""Notes on several features tables: each once, and whose it is where it is not everyone's.

Layer: workflows. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable


def attributed(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Return each note once, after the names it is about unless it is about all of them.

    Parameters
    ----------
    notes : iterable of (name, note)
        A name without notes comes with a blank one.
    """
    about: dict[str, dict[str, None]] = {}
    names: set[str] = set()
    for name, note in notes:
        names.add(name)
        if note:
            about.setdefault(note, {})[name] = None
    return [note if len(found) == len(names) else f"{', '.join(found)}: {note}" for note, found in about.items()]
