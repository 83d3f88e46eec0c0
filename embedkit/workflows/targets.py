"""A TARGET is a feature file, or a source of images whose features come through the store.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from embedkit.backbones import BackboneRequest
from embedkit.errors import EmbedkitError, UsageError
from embedkit.extraction import ExtractionRequest, Progress, default_store, run
from embedkit.images import open_source
from embedkit.store import FeatureStore, FeatureTable
from embedkit.workflows.tables import table_in_memory

FLOORS = ("pixels32", "colour-histogram")
"""Pseudo-backbones that any network has to beat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTable:
    """A table, and what its rows of results are called.

    Attributes
    ----------
    name : str
        The model, as the user named it.
    table : FeatureTable
    floor : bool
    """

    name: str
    table: FeatureTable
    floor: bool = False


def open_store(store: str | os.PathLike[str] | None) -> FeatureStore:
    """Return the store at a path, or the user's own."""
    return FeatureStore(default_store() if store is None else Path(store))


def is_feature_file(target: Any) -> bool:
    """Whether a target names a feature file: by its ending, or because it begins as HDF5 does."""
    if not isinstance(target, str | os.PathLike):
        return False
    path = Path(cast(str, target))
    if path.suffix.lower() in (".h5", ".hdf5"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


def open_target(
    target: Any,
    models: list[BackboneRequest],
    store: FeatureStore,
    *,
    label_column: str | None = None,
    progress: Progress | None = None,
) -> list[NamedTable]:
    """Return the tables that a target stands for: the feature file's one, or one a model.

    Raises
    ------
    UsageError
        Models are named beside a feature file, or none beside images.
    """
    if is_feature_file(target):
        if models:
            raise UsageError(
                f"{target} is a feature file and has its model already; leave the model out, or name images"
            )
        table = FeatureTable.open(target)
        if label_column is not None:
            table = table.with_label(label_column)
        return [NamedTable(name=_model_name(table), table=table)]
    if not models:
        raise UsageError(f"{target} is a source of images, so a model is needed: name one of `embedkit models`")
    source = open_source(target, label_column=label_column)
    tables: list[NamedTable] = []
    for backbone in models:
        extraction = run(source, ExtractionRequest(backbone=backbone), store, progress=progress)
        name = backbone.model or extraction.resolution.spec.backbone.architecture
        tables.append(NamedTable(name=name, table=table_in_memory(source, extraction), floor=name in FLOORS))
    return tables


def floor_tables(table: FeatureTable, store: FeatureStore, progress: Progress | None = None) -> list[NamedTable] | str:
    """Return the floors for the very images of a table, extracted from its recorded source; or why there are none.

    Rows are looked up by the digests in the table, so a file that changed since cannot stand in for itself.
    """
    recorded = table.provenance.get("source")
    if not isinstance(recorded, str):
        return "the table does not say which images it was made from"
    try:
        source = open_source(recorded)
    except EmbedkitError as error:
        return f"the images it was made from cannot be had: {error}"
    floors: list[NamedTable] = []
    for name in FLOORS:
        extraction = run(source, ExtractionRequest(backbone=BackboneRequest(name)), store, progress=progress)
        if not extraction.features.contains(table.digests).all():
            return f"some images in {recorded} have changed since, or are gone"
        head = copy.copy(table.head)
        head.spec = extraction.resolution.spec
        floors.append(
            NamedTable(name=name, table=FeatureTable(head, extraction.features.get(table.digests)), floor=True)
        )
    return floors


def _model_name(table: FeatureTable) -> str:
    name = table.provenance.get("model")
    return name if isinstance(name, str) else table.spec.backbone.architecture
