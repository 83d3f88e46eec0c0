"""Whether the images of a plan can be reached from this machine: a lost mount must not pass for images that are gone.

An image that vanished since the plan was made becomes a failure, so that one that is gone for good does not hold up the
rest. But where the folder or an archive is not there, or no image of a whole unit, it is the place that is missing, and
the unit is not done.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from embedkit.errors import SourceNotFoundError
from embedkit.extraction.plan import Plan
from embedkit.images import ArchiveMember, is_url


def check_reachable(plan: Plan, rows: Iterable[int]) -> None:
    """Refuse to begin with rows of a plan whose folder or archives are not there.

    Raises
    ------
    SourceNotFoundError
    """
    if not isinstance(plan.source.images, list):  # one file, which reading the plan has opened
        return
    folder = plan.root.rstrip(os.sep) + os.sep
    found: set[str] = set()
    for row in rows:
        ref = plan.source.images[row]
        if isinstance(ref, ArchiveMember) and not ref.problem:
            place, is_there = ref.archive, os.path.exists
        elif isinstance(ref, str) and ref.startswith(folder):
            place, is_there = plan.root, os.path.isdir
        else:
            continue
        if place not in found and not is_url(place) and not is_there(place):
            raise SourceNotFoundError(
                f"{place}: no such file or folder, where images of {plan.file.path} lie; mount it, or say by --root "
                "where this machine sees it"
            )
        found.add(place)


def was_there(plan: Plan, row: int) -> bool:
    """Say whether an image was there when the plan was made, as far as that was seen."""
    if not isinstance(plan.source.images, list):
        return True
    ref = plan.source.images[row]
    if isinstance(ref, ArchiveMember):
        return not ref.problem
    return not isinstance(ref, str) or is_url(ref) or plan.sizes[row] is not None


def is_there(plan: Plan, row: int, was_read: bool) -> bool:
    """Say whether an image has a file now; at a URL or in a table, where only reading tells, whether it was read."""
    ref = plan.source.images[row] if isinstance(plan.source.images, list) else None
    path = ref.archive if isinstance(ref, ArchiveMember) else ref
    if not isinstance(path, str) or is_url(path):
        return was_read
    return os.access(path, os.R_OK)
