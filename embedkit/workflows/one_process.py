"""An extraction in this process: one pass over the images, a feature file for each request, and what was done.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from embedkit.backbones import Backbone, FeatureRequest
from embedkit.extraction import Extraction, Progress, Resolution, UnitResult, resolve_together, run_many
from embedkit.images import ImageSource
from embedkit.results import ExtractResult, Skipped, Stages
from embedkit.store import FeatureStore
from embedkit.tables import check_output, write_feature_file
from embedkit.workflows.origins import origin_of
from embedkit.workflows.tables import feature_batches, image_failures, source_failures, table_head


def extract_here(
    source: ImageSource,
    requests: Sequence[FeatureRequest],
    store: FeatureStore,
    outputs: Sequence[Path | None],
    *,
    force: bool,
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
            check_output(output, resolution.spec, source.keys, force=force)
    extractions = run_many(
        source, requests, store, resolved=resolved, progress=progress, rehash=rehash, batch_size=batch_size
    )
    for extraction, output in zip(extractions, outputs, strict=True):
        write_output(output, source, extraction, force=force)
    return [
        extract_result(
            request,
            extraction.resolution,
            store,
            extraction,
            images=len(source) + len(source.failures),
            skipped=without_features(source, extraction),
            output=output,
            stages=extraction.stages,
            seconds=time.monotonic() - started,
        )
        for request, extraction, output in zip(requests, extractions, outputs, strict=True)
    ]


def write_output(output: Path | None, source: ImageSource, extraction: Extraction, *, force: bool) -> None:
    """Write the table of an extraction, where a file is asked for."""
    if output is not None:
        write_feature_file(output, table_head(source, extraction), feature_batches(extraction), force=force)


def without_features(source: ImageSource, extraction: Extraction) -> list[Skipped]:
    """Return what is no row of a table, and why."""
    return [Skipped(one.key, one.reason) for one in (*source_failures(source), *image_failures(source, extraction))]


def extract_result(
    request: FeatureRequest,
    resolution: Resolution,
    store: FeatureStore,
    done: Extraction | UnitResult,
    *,
    images: int,
    skipped: list[Skipped],
    seconds: float,
    output: Path | None = None,
    stages: Stages | None = None,
) -> ExtractResult:
    """Say what was done for a request, by this process or by others."""
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
        origin=origin_of(
            "extract",
            {"request": request, "output": output, "store": str(store.path)},
            fingerprints={request.model or backbone.architecture: resolution.spec.fingerprint},
        ),
    )
