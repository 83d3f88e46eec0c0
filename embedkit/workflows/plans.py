"""An extraction in steps, for several machines: a plan, its units wherever they run, its status, and the table.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from embedkit.backbones import FeatureRequest, PreprocessOverrides, as_request, check_batch_size
from embedkit.errors import UsageError
from embedkit.extraction import (
    Cluster,
    PlanFile,
    Progress,
    UnitWorker,
    all_devices,
    check_cluster,
    check_plan,
    parse_devices,
    plan_status,
    resolve,
    write_plan,
)
from embedkit.images import Layout, TargetOption, describe, open_source
from embedkit.results import ExtractResult, PlanResult, PlanStatus, Skipped
from embedkit.specs import Dtype, Engine, Json, Pool, Precision
from embedkit.workflows.one_process import extract_result, output_path
from embedkit.workflows.origins import origin_of
from embedkit.workflows.pace import TRIED, peak_bytes, row_bytes, seconds_an_image
from embedkit.workflows.targets import open_store
from embedkit.workflows.workers import carry_out

AnyPath = str | os.PathLike[str]


def plan_extraction(
    source: Any,
    model: str | FeatureRequest | None,
    plan: AnyPath,
    *,
    units: int | None = None,
    weights: str | os.PathLike[str] = "pretrained",
    model_args: Mapping[str, Json] | None = None,
    layer: int | None | Sequence[int | None] = None,
    pool: Pool | Sequence[Pool] = "auto",
    precision: Precision | Literal["auto"] = "auto",
    engine: Engine | Literal["auto"] = "auto",
    device: str = "auto",
    preprocess: PreprocessOverrides | Mapping[str, Any] | None = None,
    resize: Literal["fast", "exact"] = "fast",
    dtype: Dtype = "float32",
    store: AnyPath | None = None,
    force: bool = False,
    label_column: str | None = None,
    layout: Layout | None = None,
    target_type: TargetOption | None = None,
    image_column: str | None = None,
) -> PlanResult:
    """List the images of a source, resolve what is to be computed, and write both into a plan. Nothing is extracted.

    Parameters
    ----------
    source, model, weights, model_args, layer, pool, precision, engine, device, preprocess, resize, dtype
    label_column, layout, target_type, image_column
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
    request = as_request(
        model,
        weights=weights,
        model_args=model_args,
        layer=layer,
        pool=pool,
        precision=precision,
        engine=engine,
        device=device,
        preprocess=preprocess,
        resize=resize,
        dtype=dtype,
    )
    if len(parse_devices(request.device)) > 1:
        raise UsageError(
            f"device is {request.device!r}: a plan is made on one device; name several when it is carried out"
        )
    opened = open_store(store)
    images = open_source(
        source, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    # All of them, however they are divided: the same images must not get other features for another number of units.
    resolved = resolve(request, opened, expected_images=len(images))
    resolution, spec = resolved[0], resolved[0].spec
    check_plan(Path(plan), images, force=force)  # before the time is measured
    pace = seconds_an_image(images, request, resolved, range(min(TRIED, len(images))))
    memory = peak_bytes()
    written = write_plan(
        Path(plan), images, request, resolution, opened, units=units, force=force, pace=pace, memory=memory
    )
    found = describe(images)
    return PlanResult(
        read=[found.line()],
        notes=found.notes,
        origin=origin_of(
            "extract",
            {"source": images.name, "plan": plan, "request": written.request, "units": written.units},
            sources=[images.name],
            fingerprints={request.model or spec.backbone.architecture: spec.fingerprint},
        ),
        plan=os.fspath(plan),
        images=len(images),
        bytes=sum(size or 0 for size in written.sizes),
        units=written.units,
        fingerprint=spec.fingerprint,
        store=str(opened.path),
        model=request.model or spec.backbone.architecture,
        engine=spec.backbone.engine,
        precision=spec.backbone.precision,
        choice=resolution.choice,
        drift=resolution.drift,
        width=spec.backbone.width,
        seconds_expected=pace * len(images),
        bytes_expected=2 * len(images) * row_bytes(spec),
        memory_expected=memory,
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
    unit = worker.extract(number, count, progress)
    return extract_result(
        worker.plan.request,
        worker.plan.resolution,
        worker.store,
        unit,
        name=worker.plan.source.name,
        asked={"plan": plan, "unit": f"{number}/{count}"},
        images=unit.rows,
        skipped=[Skipped(worker.plan.source.keys[row], reason) for row, reason in sorted(unit.failures.items())],
        seconds=time.monotonic() - started,
    )


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
    status = plan_status(opened, opened.open_store())
    asked = {"status": plan, "store": store, "root": root}
    features = {opened.request.model or "model": status.fingerprint}
    origin = origin_of("extract", asked, sources=[opened.source.name], fingerprints=features)
    return dataclasses.replace(status, origin=origin)


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
    written_to = output_path(output)
    opened = _located(plan, store, root, weights).read()
    return carry_out(
        opened,
        written_to,
        devices=devices if cluster is not None else all_devices(devices),
        cluster=cluster,
        batch_size=batch_size,
        force=force,
        progress=progress,
    )


def _located(plan: AnyPath, store: AnyPath | None, root: str | None, weights: str | None) -> PlanFile:
    return PlanFile(
        path=os.path.abspath(plan),
        store=None if store is None else os.path.abspath(store),
        root=root,
        weights=weights,
    )
