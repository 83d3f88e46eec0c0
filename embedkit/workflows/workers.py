"""An extraction by several processes: the devices of this machine, or the workers of a cluster.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from embedkit.backbones import FeatureRequest
from embedkit.extraction import (
    Cluster,
    Plan,
    Progress,
    Records,
    UnitResult,
    all_devices,
    extract_on_cluster,
    extract_on_devices,
    planned_extraction,
    plans_folder,
    resolve,
    suggest_units,
    write_plan,
)
from embedkit.images import ImageSource, StatMemo
from embedkit.results import ExtractResult
from embedkit.specs import FeatureSpec
from embedkit.store import FeatureStore
from embedkit.tables import check_output
from embedkit.workflows.one_process import extract_here, extract_result, without_features, write_output

# For how many workers the rows are divided where a cluster knows how many it has.
_CLUSTER_WORKERS = 16


def extract_by_workers(
    source: ImageSource,
    request: FeatureRequest,
    store: FeatureStore,
    output: Path | None,
    *,
    devices: list[str],
    cluster: Cluster | None,
    force: bool,
    update: bool = False,
    batch_size: int | None,
    rehash: bool,
    progress: Progress | None,
) -> ExtractResult:
    """Make a plan, carry it out, and remove it again.

    Nobody is started, and nobody asks which devices there are, where the store has everything.
    """
    resolution, backbone = resolve(request, store, expected_images=len(source), batch_size=batch_size)
    all_there = not rehash and _is_all_there(source, store, resolution.spec)
    if cluster is None and not all_there:
        devices = all_devices(devices)
    if all_there or (cluster is None and len(devices) == 1):
        [result] = extract_here(
            source,
            [request],
            store,
            [output],
            force=force,
            update=update,
            batch_size=batch_size,
            rehash=rehash,
            progress=progress,
            resolved=[(resolution, backbone)],
        )
        return result
    del backbone  # each process has its own
    if rehash:
        (store.memo_folder / source.memo_name).unlink(missing_ok=True)
    units = suggest_units(len(source), len(devices) if cluster is None else _CLUSTER_WORKERS)
    with tempfile.TemporaryDirectory(dir=plans_folder(store.memo_folder), prefix="run-") as folder:
        plan = write_plan(Path(folder) / "plan.json", source, request, resolution, store, units=units)
        try:
            return carry_out(
                plan,
                output,
                devices=devices,
                cluster=cluster,
                batch_size=batch_size,
                force=force,
                update=update,
                progress=progress,
                source=source,
            )
        finally:
            Records(plan, store.memo_folder).remove()


def carry_out(
    plan: Plan,
    output: Path | None,
    *,
    devices: Sequence[str],
    cluster: Cluster | None,
    batch_size: int | None,
    force: bool,
    update: bool = False,
    progress: Progress | None,
    source: ImageSource | None = None,
) -> ExtractResult:
    """Have the units of a plan done, by a cluster or on devices where any are named, and write its table."""
    started = time.monotonic()
    source, store = source or plan.source, plan.open_store()
    if output is not None:
        check_output(output, plan.resolution.spec, None if update else source.keys, force=force)
    units: list[UnitResult] = []
    if cluster is not None:
        device = devices[0] if devices else None
        units = extract_on_cluster(plan, cluster, device=device, batch_size=batch_size, progress=progress)
    elif devices:
        units = extract_on_devices(plan, devices, batch_size=batch_size, progress=progress)
    extraction = planned_extraction(plan, store)
    if units:
        extraction = dataclasses.replace(
            extraction,
            forward_passes=sum(unit.forward_passes for unit in units),
            cache_hits=sum(unit.cache_hits for unit in units),
            copies=sum(unit.copies for unit in units),
        )
    changes = write_output(output, source, extraction, force=force, update=update)
    return extract_result(
        plan.request,
        plan.resolution,
        store,
        extraction,
        name=source.name,
        source=source,
        skipped=without_features(source, extraction),
        output=output,
        changes=changes,
        seconds=time.monotonic() - started,
    )


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
