"""An extraction in this process: one pass over the images, a feature file for each request, and what was done.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedkit.backbones import Backbone, FeatureRequest
from embedkit.errors import UsageError
from embedkit.extraction import Extraction, Progress, Resolution, UnitResult, resolve_together, run_many
from embedkit.images import ImageSource, describe
from embedkit.results import ExtractResult, Skipped, Stages
from embedkit.store import FeatureStore
from embedkit.tables import check_output, write_feature_file
from embedkit.workflows.origins import origin_of
from embedkit.workflows.reading import changes
from embedkit.workflows.tables import feature_batches, image_failures, source_failures, table_head


def extract_here(
    source: ImageSource,
    requests: Sequence[FeatureRequest],
    store: FeatureStore,
    outputs: Sequence[Path | None],
    *,
    force: bool,
    update: bool = False,
    batch_size: int | None,
    rehash: bool,
    progress: Progress | None,
    resolved: Sequence[tuple[Resolution, Backbone | None]] | None = None,
) -> list[ExtractResult]:
    """Compute the features of a source and write them, one file or none for each request.

    Outputs that may not be written are refused before the pass.
    """
    started = time.monotonic()
    resolved = resolved or resolve_together(requests, store, expected_images=len(source), batch_size=batch_size)
    for (resolution, _), output in zip(resolved, outputs, strict=True):
        if output is not None:
            check_output(output, resolution.spec, None if update else source.keys, force=force)
    extractions = run_many(
        source, requests, store, resolved=resolved, progress=progress, rehash=rehash, batch_size=batch_size
    )
    changed = [
        write_output(output, source, extraction, force=force, update=update)
        for extraction, output in zip(extractions, outputs, strict=True)
    ]
    return [
        extract_result(
            request,
            extraction.resolution,
            store,
            extraction,
            name=source.name,
            source=source,
            skipped=without_features(source, extraction),
            output=output,
            changes=change,
            stages=extraction.stages,
            seconds=time.monotonic() - started,
        )
        for request, extraction, output, change in zip(requests, extractions, outputs, changed, strict=True)
    ]


def write_output(
    output: Path | None, source: ImageSource, extraction: Extraction, *, force: bool, update: bool = False
) -> dict[str, int] | None:
    """Write the table of an extraction, where a file is asked for; of an update return what it changes."""
    if output is None:
        return None
    head = table_head(source, extraction)
    changed = changes(output, head.keys, head.digests) if update and output.exists() else None
    write_feature_file(output, head, feature_batches(extraction), force=force or changed is not None)
    return changed


def without_features(source: ImageSource, extraction: Extraction) -> list[Skipped]:
    """Return what is no row of a table, and why."""
    return [Skipped(one.key, one.reason) for one in (*source_failures(source), *image_failures(source, extraction))]


def output_path(output: str | os.PathLike[str] | None) -> Path | None:
    """Return where the feature file will be, or refuse a name that other commands would not take for one."""
    path = None if output is None else Path(output)
    if path is not None and path.suffix.lower() not in (".h5", ".hdf5"):
        raise UsageError(
            f"{output} is no name of a feature file; let it end in .h5 (`embedkit export` writes other formats)"
        )
    return path


def extract_result(
    request: FeatureRequest,
    resolution: Resolution,
    store: FeatureStore,
    done: Extraction | UnitResult,
    *,
    skipped: list[Skipped],
    seconds: float,
    name: str,
    asked: Mapping[str, object] | None = None,
    source: ImageSource | None = None,
    images: int | None = None,
    output: Path | None = None,
    changes: dict[str, int] | None = None,
    stages: Stages | None = None,
) -> ExtractResult:
    """Say what was done for a request, by this process or by others; of a whole source also what it holds.

    `name` is that of the source, `asked` what a record should know of the call beside it.
    """
    found = describe(source, done.digests if isinstance(done, Extraction) else None) if source is not None else None
    if images is None:
        images = 0 if source is None else len(source) + len(source.failures)
    backbone, note = resolution.spec.backbone, resolution.provenance.get("note")
    return ExtractResult(
        images=images,
        forward_passes=done.forward_passes,
        cache_hits=done.cache_hits,
        copies=done.copies,
        skipped=skipped,
        fingerprint=resolution.spec.fingerprint,
        store=str(store.path),
        output=str(output) if output is not None else None,
        model=request.model or backbone.architecture,
        engine=backbone.engine,
        precision=backbone.precision,
        choice=resolution.choice,
        drift=resolution.drift,
        width=backbone.width,
        seconds=seconds,
        stages=stages,
        notes=[str(note)] if note else [],
        source_notes=list(source.notes) if source is not None else [],
        read=[found.line()] if found is not None else [],
        labels=found.labels if found is not None else {},
        splits=found.splits if found is not None else {},
        passed_over=found.passed_over if found is not None else {},
        changes=changes,
        origin=origin_of(
            "extract",
            {"source": name, **(asked or {}), "request": request, "output": output, "store": store.path},
            sources=[name],
            fingerprints={request.model or backbone.architecture: resolution.spec.fingerprint},
        ),
    )
