"""An extraction in steps, for several machines: a plan, its units wherever they run, its status, and the table.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from embedkit.backbones import BackboneRequest, PreprocessOverrides
from embedkit.backbones.request import check_batch_size
from embedkit.errors import UsageError
from embedkit.extraction import ExtractionRequest, Progress, resolve
from embedkit.extraction.engines import (
    Cluster,
    all_devices,
    check_cluster,
    extract_on_cluster,
    extract_on_devices,
    parse_devices,
    suggest_units,
)
from embedkit.extraction.plan import Plan, PlanFile, write_plan
from embedkit.extraction.records import Records, plans_folder
from embedkit.extraction.status import plan_status, planned_extraction
from embedkit.extraction.units import UnitResult, UnitWorker
from embedkit.images import ImageSource, StatMemo, open_source
from embedkit.results import ExtractResult, PlanResult, PlanStatus, Skipped
from embedkit.specs import Dtype, Engine, FeatureSpec, Json, Pool, Precision
from embedkit.store import FeatureStore
from embedkit.tables import Failure, check_output, write_feature_file
from embedkit.workflows.extract import extract_to_file
from embedkit.workflows.tables import feature_batches, image_failures, source_failures, table_head
from embedkit.workflows.targets import open_store

AnyPath = str | os.PathLike[str]

# For how many workers the rows are divided where a cluster knows how many it has.
_CLUSTER_WORKERS = 16


def plan_extraction(
    source: Any,
    model: str | None,
    plan: AnyPath,
    *,
    units: int | None = None,
    weights: str = "pretrained",
    model_args: Mapping[str, Json] | None = None,
    layer: int | None = None,
    pool: Pool = "auto",
    precision: Precision | Literal["auto"] = "auto",
    engine: Engine | Literal["auto"] = "auto",
    device: str = "auto",
    preprocess: PreprocessOverrides | None = None,
    resize: Literal["fast", "exact"] = "fast",
    dtype: Dtype = "float32",
    store: AnyPath | None = None,
    force: bool = False,
    label_column: str | None = None,
) -> PlanResult:
    """List the images of a source, resolve what is to be computed, and write both into a plan. Nothing is extracted.

    Parameters
    ----------
    source, model, weights, model_args, layer, pool, precision, engine, device, preprocess, resize, dtype, label_column
        As in `extract`. The images have to be files, members of archives or URLs.
    plan : path
        The file to write.
    units : int, optional
        Into how many units the rows are divided where nobody says otherwise; by default one for each 2,000 rows.
    store : path, optional
        The folder of the store, which all machines share.
    force : bool
        Replace an existing file.

    Returns
    -------
    PlanResult

    Raises
    ------
    SourceError, BackboneError, StoreError
        As in `extract`.
    UsageError
        Images in memory.
    OutputExistsError
    """
    if len(parse_devices(device)) > 1:
        raise UsageError(f"device is {device!r}: a plan is made on one device; name several when it is carried out")
    backbone = BackboneRequest(
        model,
        weights=weights,
        model_args=dict(model_args or {}),
        layer=layer,
        pool=pool,
        precision=precision,
        engine=engine,
        device=device,
        preprocess=preprocess or PreprocessOverrides(),
        resize=resize,
    )
    rows, opened = open_source(source, label_column=label_column), open_store(store)
    request = ExtractionRequest(backbone=backbone, dtype=dtype)
    # All of them, however they are divided: the same images must not get other features for another number of units.
    resolution, _ = resolve(request, opened, expected_images=len(rows))
    written = write_plan(Path(plan), rows, request, resolution, opened, units=units, force=force)
    spec = resolution.spec
    return PlanResult(
        plan=os.fspath(plan),
        images=len(rows),
        bytes=sum(size or 0 for size in written.sizes),
        units=written.units,
        fingerprint=spec.fingerprint,
        store=str(opened.path),
        model=_model(written),
        engine=spec.backbone.engine,
        precision=spec.backbone.precision,
        choice=resolution.choice,
        drift=resolution.drift,
        width=spec.backbone.width,
    )


def extract_unit(
    plan: AnyPath,
    number: int,
    count: int,
    *,
    device: str | None = None,
    store: AnyPath | None = None,
    root: str | None = None,
    weights: str | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> ExtractResult:
    """Do what is left of one unit of a plan. May be repeated, and run anywhere at any time.

    Parameters
    ----------
    plan : path
    number, count : int
        The unit, from 1, of how many. Rows are divided evenly, whatever number the plan proposes.
    device : str, optional
        In place of the plan's.
    store : path, optional
        Where this machine sees the store.
    root : str, optional
        Where this machine sees the folder of the images.
    weights : str, optional
        Where this machine has the file of weights; other weights than the plan's are refused.
    batch_size, progress
        As in `extract`.

    Returns
    -------
    ExtractResult
        Of the unit's images.

    Raises
    ------
    PlanError
        No plan, a damaged one, or one of a newer version.
    UsageError
        No such unit, several devices.
    SpecMismatchError, BackboneError
        This machine cannot compute what the plan says.
    StoreError
    """
    started = time.monotonic()
    if device is not None and len(parse_devices(device)) > 1:
        raise UsageError(f"device is {device!r}: a unit is done on one device; name several with --plan alone")
    worker = UnitWorker(_located(plan, store, root, weights), device=device, batch_size=batch_size)
    result = worker.extract(number, count, progress)
    failures = [Failure(worker.plan.source.keys[row], reason) for row, reason in sorted(result.failures.items())]
    return _result(worker.plan, worker.store, [result], failures, result.rows, started)


def extraction_status(plan: AnyPath, *, store: AnyPath | None = None, root: str | None = None) -> PlanStatus:
    """Say how much of a plan is done, unit by unit, and who works on what.

    Parameters
    ----------
    plan : path
    store, root
        As in `extract_unit`.

    Raises
    ------
    PlanError, StoreError
    """
    opened = _located(plan, store, root, None).read()
    return plan_status(opened, FeatureStore(opened.store))


def extract_planned(
    plan: AnyPath,
    *,
    output: AnyPath | None = None,
    device: str | None = None,
    cluster: Cluster | None = None,
    store: AnyPath | None = None,
    root: str | None = None,
    weights: str | None = None,
    batch_size: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ExtractResult:
    """Write the table of a plan; with devices or a cluster, have its units done first.

    Parameters
    ----------
    plan : path
    output : path, optional
        The feature file.
    device : str, optional
        One process for each device named: ``"cuda:0,cuda:1"``, ``"cuda"`` for all. On a cluster: of each worker.
    cluster : {"ray", "dask"}, optional
        The cluster that does the units.
    store, root, weights, batch_size, progress
        As in `extract_unit`.
    force : bool
        As in `extract`.

    Returns
    -------
    ExtractResult

    Raises
    ------
    IncompletePlanError
        Units are missing, and nobody was asked to do them.
    PlanError, StoreError, OutputExistsError
    MissingExtraError
        The engine of the cluster is not installed.
    """
    devices = [] if device is None else parse_devices(device)
    check_cluster(cluster, devices)
    check_batch_size(batch_size)
    opened = _located(plan, store, root, weights).read()
    return carry_out(
        opened,
        output=Path(output) if output is not None else None,
        devices=devices if cluster is not None else all_devices(devices),
        cluster=cluster,
        batch_size=batch_size,
        force=force,
        progress=progress,
    )


def extract_by_workers(
    source: ImageSource,
    request: ExtractionRequest,
    store: FeatureStore,
    *,
    devices: list[str],
    cluster: Cluster | None,
    output: Path | None,
    force: bool,
    batch_size: int | None,
    rehash: bool,
    progress: Progress | None,
) -> ExtractResult:
    """Do what `extract` promises by several processes: make a plan, carry it out, and remove it again.

    Nobody is started, and nobody asks which devices there are, where the store has everything.
    """
    resolution, backbone = resolve(request, store, expected_images=len(source), batch_size=batch_size)
    all_there = not rehash and _is_all_there(source, store, resolution.spec)
    if cluster is None and not all_there:
        devices = all_devices(devices)
    if all_there or (cluster is None and len(devices) == 1):
        return extract_to_file(
            source,
            request,
            store,
            output=output,
            force=force,
            batch_size=batch_size,
            rehash=rehash,
            progress=progress,
            backbone=backbone,
        )
    del backbone  # each process has its own
    if rehash:
        (store.memo_folder / source.memo_name).unlink(missing_ok=True)
    workers = len(devices) if cluster is None else _CLUSTER_WORKERS
    with tempfile.TemporaryDirectory(dir=plans_folder(store.memo_folder), prefix="run-") as folder:
        plan = write_plan(
            Path(folder) / "plan.json", source, request, resolution, store, units=suggest_units(len(source), workers)
        )
        try:
            return carry_out(
                plan,
                output=output,
                devices=devices,
                cluster=cluster,
                batch_size=batch_size,
                force=force,
                progress=progress,
            )
        finally:
            Records(plan, store.memo_folder).remove()


def _is_all_there(source: ImageSource, store: FeatureStore, spec: FeatureSpec) -> bool:
    """Say whether the files are unchanged and the store knows all of them: then nobody has to be started."""
    rows, refs = source.on_disk()
    if len(rows) < len(source):
        return False
    digests, known = StatMemo(store.memo_folder / source.memo_name).lookup(refs)
    features = store.features(spec)
    absent = digests[~features.contains(digests)]
    reasons = features.undecodable(absent)
    return bool(known.all()) and all(digest.tobytes() in reasons for digest in absent)


def carry_out(
    plan: Plan,
    *,
    output: Path | None,
    devices: Sequence[str],
    cluster: Cluster | None,
    batch_size: int | None,
    force: bool,
    progress: Progress | None,
) -> ExtractResult:
    """Do what `extract_planned` promises, with the plan at hand."""
    started = time.monotonic()
    store = FeatureStore(plan.store)
    if output is not None:
        check_output(output, plan.resolution.spec, plan.source.keys, force=force)
    units: list[UnitResult] = []
    if cluster is not None:
        device = devices[0] if devices else None
        units = extract_on_cluster(plan, cluster, device=device, batch_size=batch_size, progress=progress)
    elif devices:
        units = extract_on_devices(plan, devices, batch_size=batch_size, progress=progress)
    extraction = planned_extraction(plan, store)
    if output is not None:
        write_feature_file(output, table_head(plan.source, extraction), feature_batches(extraction), force=force)
    failures = [*source_failures(plan.source), *image_failures(plan.source, extraction)]
    images = len(plan.source) + len(plan.source.failures)
    if not units:
        found = UnitResult(number=1, count=1, rows=images, cache_hits=extraction.cache_hits)
        return _result(plan, store, [found], failures, images, started, output)
    return _result(plan, store, units, failures, images, started, output)


def _located(plan: AnyPath, store: AnyPath | None, root: str | None, weights: str | None) -> PlanFile:
    return PlanFile(
        path=os.path.abspath(plan),
        store=None if store is None else os.path.abspath(store),
        root=root,
        weights=weights,
    )


def _model(plan: Plan) -> str:
    return plan.request.backbone.model or plan.resolution.spec.backbone.architecture


def _result(
    plan: Plan,
    store: FeatureStore,
    units: Sequence[UnitResult],
    failures: list[Failure],
    images: int,
    started: float,
    output: Path | None = None,
) -> ExtractResult:
    resolution = plan.resolution
    backbone = resolution.spec.backbone
    return ExtractResult(
        images=images,
        forward_passes=sum(unit.forward_passes for unit in units),
        cache_hits=sum(unit.cache_hits for unit in units),
        copies=sum(unit.copies for unit in units),
        skipped=[Skipped(failure.key, failure.reason) for failure in failures],
        fingerprint=resolution.spec.fingerprint,
        store=str(store.path),
        output=str(output) if output is not None else None,
        model=_model(plan),
        engine=backbone.engine,
        precision=backbone.precision,
        choice=resolution.choice,
        drift=resolution.drift,
        width=backbone.width,
        seconds=time.monotonic() - started,
        notes=[str(resolution.provenance["note"])] if resolution.provenance.get("note") else [],
    )
