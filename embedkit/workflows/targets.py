"""A TARGET is a feature file, or a source of images whose features come through the store.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from embedkit.backbones import BackboneRequest
from embedkit.errors import EmbedkitError, UsageError
from embedkit.evaluation import TargetType
from embedkit.extraction import Extraction, ExtractionRequest, Progress, default_store, resolve_together, run_many
from embedkit.images import open_source
from embedkit.probes.about import about
from embedkit.specs import FeatureSpec
from embedkit.store import FeatureStore
from embedkit.tables import FeatureTable
from embedkit.workflows.floors import PSEUDO, Contender, Floors, recorded_request, resolve_floors
from embedkit.workflows.tables import table_in_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTable:
    """A table, and what its rows of results are called.

    Attributes
    ----------
    name : str
        The model, as the user named it.
    table : FeatureTable
    floor : bool
    pace : float or None
        Images a second of the network, where this run computed features.
    """

    name: str
    table: FeatureTable
    floor: bool = False
    pace: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a target and its floors come down to.

    Attributes
    ----------
    tables : list of NamedTable
        The models' first, then the floors'.
    unavailable : list of (str, str)
        Floors that cannot be had, and why.
    """

    tables: list[NamedTable]
    unavailable: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


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
    floors: bool = False,
    label_column: str | None = None,
    check_labels: Callable[[TargetType], None] | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Target:
    """Return the tables that a target stands for: the feature file's one, or one a model; on request their floors.

    A source of images is passed over once for all of them. The floors of a feature file are extracted from its recorded
    source. What `check_labels` raises on the type of the labels is raised before features are computed.

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
        table = FeatureTable.open(target, label_column=label_column)
        if check_labels is not None:
            with about(str(target)):
                check_labels(table.target_type)
        named = NamedTable(name=_model_name(table), table=table, floor=table.spec.backbone.architecture in PSEUDO)
        return _with_floors_of_file(named, store, progress) if floors else Target(tables=[named])
    models = models or [BackboneRequest()]
    source = open_source(target, label_column=label_column)
    if check_labels is not None:
        with about(source.name):
            check_labels(source.target_type)
    images = len(source.keys)
    requests = [ExtractionRequest(backbone=model) for model in models]
    resolved = resolve_together(requests, store, expected_images=images, batch_size=batch_size)
    names = backbone_names(models, [resolution.spec for resolution, _ in resolved])
    beside = Floors()
    if floors:
        contenders = [
            Contender(name=name, request=request, spec=resolution.spec)
            for name, request, (resolution, _) in zip(names, requests, resolved, strict=True)
        ]
        beside = resolve_floors(contenders, store, expected_images=images, batch_size=batch_size)
    extractions = run_many(
        source,
        [*requests, *beside.requests.values()],
        store,
        resolved=[*resolved, *beside.resolved],
        batch_size=batch_size,
        progress=progress,
    )
    tables = [
        NamedTable(
            name=name,
            table=table_in_memory(source, extraction),
            floor=extraction.resolution.spec.backbone.architecture in PSEUDO,
            pace=extraction.pace,
        )
        for name, extraction in zip(names, extractions, strict=False)
    ]
    return _append_floors(Target(tables=tables, unavailable=beside.unavailable), beside, extractions[len(requests) :])


def _with_floors_of_file(named: NamedTable, store: FeatureStore, progress: Progress | None) -> Target:
    contender = Contender(name=named.name, request=recorded_request(named.table), spec=named.table.spec)
    recorded = named.table.provenance.get("source")
    try:
        if not isinstance(recorded, str):
            raise UsageError("the table does not say which images it was made from")
        source = open_source(recorded)
    except EmbedkitError as error:
        reason = f"the images it was made from cannot be had: {error}"
        names = () if named.floor else (*PSEUDO, f"{named.name} random weights")
        return Target(tables=[named], unavailable=[(name, reason) for name in names])
    floors = resolve_floors([contender], store, expected_images=len(source.keys))
    target = Target(tables=[named], unavailable=floors.unavailable)
    if not floors.requests:
        return target
    extractions = run_many(source, [*floors.requests.values()], store, resolved=floors.resolved, progress=progress)
    return _append_floors(target, floors, extractions)


def _append_floors(target: Target, floors: Floors, extractions: list[Extraction]) -> Target:
    """Add tables of floors for the very images of the first table.

    Rows are looked up by the digests in that table, so a file that changed since cannot stand in for itself.
    """
    first = target.tables[0].table
    tables, unavailable = list(target.tables), list(target.unavailable)
    for name, extraction in zip(floors.requests, extractions, strict=True):
        there = extraction.features.contains(first.digests)
        if not there.all():
            lost = int((~there).sum())
            reason = f"{lost} of {len(first)} images have changed since, are gone, or failed"
            unavailable.append((name, reason))
            continue
        head = copy.copy(first.head)
        head.spec = extraction.resolution.spec
        head.provenance = {**first.provenance, **extraction.resolution.provenance}
        table = FeatureTable(head, extraction.features.get(first.digests))
        tables.append(NamedTable(name=name, table=table, floor=True, pace=extraction.pace))
    return Target(tables=tables, unavailable=unavailable)


def backbone_names(models: list[BackboneRequest], specs: list[FeatureSpec]) -> list[str]:
    """Call each backbone by its model, and by its layer, pool or weights where that tells it from another."""
    names = [model.model or spec.backbone.architecture for model, spec in zip(models, specs, strict=True)]
    for part in (_output, _weights, _arguments):
        if len(set(names)) < len(names):
            names = [name + part(model) for name, model in zip(names, models, strict=True)]
    return names


def _output(model: BackboneRequest) -> str:
    layer = "" if model.layer is None else f" layer {model.layer}"
    return layer if model.pool == "auto" else f"{layer} {model.pool}"


def _weights(model: BackboneRequest) -> str:
    return f" {model.weights}"


def _arguments(model: BackboneRequest) -> str:
    return f" {dict(model.model_args)}"


def _model_name(table: FeatureTable) -> str:
    """Return the model that a table names, and the layer where its features are not the model's own output."""
    recorded = table.provenance.get("model")
    name = recorded if isinstance(recorded, str) else table.spec.backbone.architecture
    layer, pool = table.spec.backbone.layer, table.spec.backbone.pool
    return name + ("" if layer is None else f" layer {layer}") + ("" if pool == "auto" else f" {pool}")
