"""A TARGET is a feature file, or a source of images whose features come through the store.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest
from embedkit.errors import EmbedkitError, LabelsError, SourceError, UsageError
from embedkit.extraction import Extraction, Progress, default_store, image_digests, resolve_together, run_many
from embedkit.files import open_regular
from embedkit.images import ImageSource, open_source
from embedkit.results import Skipped, Unavailable
from embedkit.store import FeatureStore
from embedkit.tables import FeatureTable
from embedkit.workflows.floors import PSEUDO, Contender, Floors, recorded_request, resolve_floors
from embedkit.workflows.tables import table_in_memory

if TYPE_CHECKING:
    from embedkit.specs import TargetType


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A feature file or a source of images, opened; no feature is computed yet.

    Attributes
    ----------
    name : str
    table : FeatureTable or None
        Of a feature file.
    images : ImageSource or None
        Of anything else.
    dropped : int
        Rows that were left out, since they have no label.
    """

    name: str
    table: FeatureTable | None = None
    images: ImageSource | None = None
    dropped: int = 0

    @property
    def target_type(self) -> TargetType:
        """What the labels are."""
        return self.table.target_type if self.table is not None else cast(ImageSource, self.images).target_type


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
class Tables:
    """What a target and its floors come down to.

    Attributes
    ----------
    named : list of NamedTable
        The models' first, then the floors'.
    unavailable : list of Unavailable
        Floors that cannot be had, and why.
    """

    named: list[NamedTable]
    unavailable: list[Unavailable] = field(default_factory=list[Unavailable])

    @property
    def skipped(self) -> list[Skipped]:
        """The images that have no features in some table, each once, sorted, with the reason."""
        reasons = {failure.key: failure.reason for one in self.named for failure in one.table.failures}
        return [Skipped(*item) for item in sorted(reasons.items())]


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
        with open_regular(path) as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False


def open_target(
    target: Any, *, label_column: str | None = None, drop_unlabelled: bool = False, recorded: bool = False
) -> Target:
    """Open a feature file or a source of images, take labels from a column of it, and leave out rows without any.

    A `FeatureTable` stands for its file.

    One that is only `recorded` in a file is not named by the user: of URLs, what data may name is followed.

    Raises
    ------
    LabelsError
        No row has a label, so that none would be left.
    UsageError
        A label column beside a `FeatureTable`.
    """
    if isinstance(target, FeatureTable) and label_column is not None:
        raise UsageError(
            "a FeatureTable has its labels already: FeatureTable.open(path, label_column=...) takes others"
        )
    if isinstance(target, FeatureTable) or is_feature_file(target):
        table = target if isinstance(target, FeatureTable) else FeatureTable.open(target, label_column=label_column)
        if drop_unlabelled and (dropped := _unlabelled(table.labelled, str(target))):
            return Target(name=str(target), table=table[table.labelled], dropped=dropped)
        return Target(name=str(target), table=table)
    images = open_source(target, label_column=label_column, recorded=recorded)
    if drop_unlabelled and (dropped := _unlabelled(images.labelled, images.name)):
        return Target(name=images.name, images=images.some(images.labelled), dropped=dropped)
    return Target(name=images.name, images=images)


def _unlabelled(labelled: npt.NDArray[np.bool_], name: str) -> int:
    if not labelled.any():
        raise LabelsError(f"none of the {len(labelled)} rows of {name} has a label, so none would be left")
    return int((~labelled).sum())


def images_of(target: Target, store: FeatureStore) -> ImageSource:
    """Return the images of a target; of a feature file those that it was made from, row for row.

    Raises
    ------
    SourceError
        They are gone, or some have changed since.
    UsageError
        The feature file does not say which they are.
    """
    if target.table is None:
        return cast(ImageSource, target.images)
    table, recorded = target.table, _recorded_images(target.table)
    row_of = {digest.tobytes(): row for row, digest in enumerate(image_digests(recorded, store))}
    rows = [row_of.get(digest.tobytes()) for digest in table.digests]
    if lost := rows.count(None):
        raise SourceError(f"{target.name}: {_lost(lost, table)}; extract {recorded.name} again")
    return ImageSource(
        name=recorded.name,
        keys=table.keys,
        images=[recorded.images[row] for row in rows if row is not None],
        labels=None if table.y is None else table.y.tolist() if table.target_type == "class" else table.y,
        label_classes=table.classes,
        split=None if table.split is None else table.split.tolist(),
        groups=None if table.groups is None else table.groups.tolist(),
    )


def images_in_order(target: Target, table: FeatureTable, store: FeatureStore) -> ImageSource:
    """Return the image of each row of a table that was made from a target.

    Raises
    ------
    SourceError
        One of them is gone.
    """
    source = images_of(target, store)
    places = {key: place for place, key in enumerate(source.keys)}
    lost = [key for key in table.keys if key not in places]
    if lost:
        raise SourceError(f"{source.name} has no image {lost[0]!r} any more; extract it again")
    images: list[Any] = [source.images[places[key]] for key in table.keys]
    return ImageSource(name=source.name, keys=list(table.keys), images=images)


def request_of(target: Target) -> FeatureRequest:
    """Return what the features of a target were asked for; the bundled backbone for images, of which no model is named.

    Raises
    ------
    UsageError
        The feature file does not say.
    """
    if target.table is None:
        return FeatureRequest()
    found = recorded_request(target.table)
    if found is None:
        raise UsageError(f"{target.name} does not say which model it was asked for: name the images and the model")
    return found


def tables_of(
    target: Target,
    requests: Sequence[FeatureRequest],
    store: FeatureStore,
    *,
    floors: bool = False,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Tables:
    """Return the tables that a target stands for: the feature file's one, or one a request; if asked, their floors.

    A source of images is passed over once for all of them; without a request its features are the bundled backbone's.
    The floors of a feature file are extracted from its recorded source.

    Raises
    ------
    UsageError
        Models are named beside a feature file.
    """
    if target.table is not None:
        if requests:
            raise UsageError(
                f"{target.name} is a feature file and has its model already; leave the model out, or name images"
            )
        pseudo = target.table.spec.backbone.architecture in PSEUDO
        tables = Tables(named=[NamedTable(name=_model_name(target.table), table=target.table, floor=pseudo)])
        return with_floors(tables, store, progress=progress) if floors else tables
    images = cast(ImageSource, target.images)
    asked = list(requests) or [FeatureRequest()]
    resolved = resolve_together(asked, store, expected_images=len(images), batch_size=batch_size)
    names = backbone_names(asked)
    beside = Floors()
    if floors:
        contenders = [
            Contender(name=name, request=request, spec=resolution.spec)
            for name, request, (resolution, _) in zip(names, asked, resolved, strict=True)
        ]
        beside = resolve_floors(contenders, store, expected_images=len(images), batch_size=batch_size)
    extractions = run_many(
        images,
        [*asked, *beside.requests.values()],
        store,
        resolved=[*resolved, *beside.resolved],
        batch_size=batch_size,
        progress=progress,
    )
    named = [
        NamedTable(
            name=name,
            table=table_in_memory(images, extraction),
            floor=extraction.resolution.spec.backbone.architecture in PSEUDO,
            pace=extraction.pace,
        )
        for name, extraction in zip(names, extractions, strict=False)
    ]
    return _append_floors(Tables(named=named, unavailable=beside.unavailable), beside, extractions[len(asked) :])


def with_floors(tables: Tables, store: FeatureStore, *, progress: Progress | None = None) -> Tables:
    """Add the floors of tables, extracted from the images that the first of them was made from."""
    contenders = [
        Contender(name=one.name, request=recorded_request(one.table), spec=one.table.spec) for one in tables.named
    ]
    try:
        images = _recorded_images(tables.named[0].table)
    except EmbedkitError as error:
        reason = f"the images it was made from cannot be had: {error}"
        models = [one.name for one in tables.named if not one.floor]
        names = [*PSEUDO, *(f"{name} random weights" for name in models)] if models else []
        lost = [Unavailable(name, reason) for name in names]
        return Tables(named=tables.named, unavailable=[*tables.unavailable, *lost])
    floors = resolve_floors(contenders, store, expected_images=len(images))
    found = Tables(named=tables.named, unavailable=[*tables.unavailable, *floors.unavailable])
    if not floors.requests:
        return found
    extractions = run_many(images, [*floors.requests.values()], store, resolved=floors.resolved, progress=progress)
    return _append_floors(found, floors, extractions)


def _append_floors(tables: Tables, floors: Floors, extractions: list[Extraction]) -> Tables:
    """Add tables of floors for the very images of the first table.

    Rows are looked up by the digests in that table, so a file that changed since cannot stand in for itself.
    """
    first = tables.named[0].table
    named, unavailable = list(tables.named), list(tables.unavailable)
    for name, extraction in zip(floors.requests, extractions, strict=True):
        there = extraction.features.contains(first.digests)
        if not there.all():
            unavailable.append(Unavailable(name, _lost(int((~there).sum()), first)))
            continue
        head = copy.copy(first.metadata)
        head.spec = extraction.resolution.spec
        head.provenance = {**first.provenance, **extraction.resolution.provenance}
        table = FeatureTable(head, extraction.features.get(first.digests))
        named.append(NamedTable(name=name, table=table, floor=True, pace=extraction.pace))
    return Tables(named=named, unavailable=unavailable)


def _recorded_images(table: FeatureTable) -> ImageSource:
    recorded = table.provenance.get("source")
    if not isinstance(recorded, str):
        raise UsageError("the table does not say which images it was made from")
    return open_source(recorded, layout="flat", recorded=True)  # whatever its folders mean: the table says it


def _lost(number: int, table: FeatureTable) -> str:
    return f"{number} of {len(table)} images have changed since, are gone, or failed"


def backbone_names(requests: Sequence[FeatureRequest]) -> list[str]:
    """Call each backbone by its model, and by its layer, pool or weights where that tells it from another."""
    names = [cast(str, request.model) for request in requests]
    outputs = [_output(request.layer, request.pool) for request in requests]
    weights = [f" {Path(request.weights).name}" for request in requests]
    files = [f" {request.weights}" for request in requests]
    arguments = [f" {dict(request.model_args or {})}" for request in requests]
    for parts in (outputs, weights, files, arguments):
        if len(set(names)) < len(names):
            names = [name + part if names.count(name) > 1 else name for name, part in zip(names, parts, strict=True)]
    return names


def _output(layer: Any, pool: Any) -> str:
    """Name the layer and the pool of features that are not the model's own output."""
    layers, pools = _joined(layer), _joined(pool)
    return (f" layer {layers}" if layers else "") + (f" {pools}" if pools else "")


def _joined(parts: Any) -> str:
    several = cast(tuple[Any, ...], parts if isinstance(parts, tuple) else (parts,))
    if set(several) <= {None, "auto"}:
        return ""
    return ",".join(str(part) for part in (several if len(set(several)) > 1 else several[:1]))


def _model_name(table: FeatureTable) -> str:
    """Return the model that a table names, and the layer where its features are not the model's own output."""
    recorded, backbone = table.provenance.get("model"), table.spec.backbone
    return (recorded if isinstance(recorded, str) else backbone.architecture) + _output(backbone.layer, backbone.pool)
