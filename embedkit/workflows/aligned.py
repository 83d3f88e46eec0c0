"""Features of the same images by several backbones, row for row.

Layer: workflows; above targets.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from embedkit.backbones import FeatureRequest
from embedkit.errors import SpecMismatchError
from embedkit.extraction import Progress
from embedkit.tables import FeatureTable
from embedkit.workflows.reading import read_line
from embedkit.workflows.targets import NamedTable, is_feature_file, open_store, open_target, tables_of


def aligned_tables(
    targets: Any,
    requests: list[FeatureRequest],
    label_column: str | None,
    store: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> tuple[list[NamedTable], list[str]]:
    """Return the tables of several feature files, or of a source by several models, and what was read.

    Raises
    ------
    SpecMismatchError
        The feature files are of other images, labels or splits.
    """
    listed: list[Any] = [*targets] if isinstance(targets, list | tuple) else []
    each: list[Any] = listed if listed and all(map(is_feature_file, listed)) else [targets]
    opened = [open_target(one, label_column=label_column) for one in each]
    feature_store = open_store(store)
    found = [tables_of(one, requests, feature_store, progress=progress) for one in opened]
    named = [one for tables in found for one in tables.named]
    first = named[0]
    aligned = [first, *(dataclasses.replace(one, table=_aligned(one, first)) for one in named[1:])]
    return aligned, [read_line(opened[0])]


def _aligned(named: NamedTable, first: NamedTable) -> FeatureTable:
    """Return a table with the rows in the order of the first; they have to be the same images, labels and splits."""
    table, reference = named.table, first.table
    places = {key: place for place, key in enumerate(table.keys)}
    if len(table) != len(reference) or not all(key in places for key in reference.keys):
        raise SpecMismatchError(
            f"{named.name} has features of {len(table)} images and {first.name} of {len(reference)}, not all the same: "
            "extract both from one source",
            [],
        )
    ordered = table[[places[key] for key in reference.keys]]
    for what in ("digests", "y", "split", "groups"):
        left, right = getattr(ordered, what), getattr(reference, what)
        if (left is None) != (right is None) or (left is not None and not np.array_equal(left, right)):
            raise SpecMismatchError(
                f"{named.name} and {first.name} differ in the {_SAID[what]} of some rows: extract both from one source",
                [],
            )
    return ordered


_SAID = {"digests": "images", "y": "labels", "split": "splits", "groups": "groups"}
