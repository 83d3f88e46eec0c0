"""extract: from a source of images to a feature file, through the store.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from embedkit.backbones import Backbone, BackboneRequest, PreprocessOverrides
from embedkit.backbones.request import check_batch_size
from embedkit.errors import UsageError
from embedkit.extraction import Extraction, ExtractionRequest, Progress, Stages, resolve, run
from embedkit.extraction.engines import Cluster, check_cluster, parse_devices
from embedkit.images import ImageSource, open_source
from embedkit.specs import Dtype, Engine, Json, Pool, Precision
from embedkit.store import FeatureStore
from embedkit.tables import Failure, check_output, write_feature_file
from embedkit.workflows.tables import feature_batches, image_failures, source_failures, table_head
from embedkit.workflows.targets import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractResult:
    """What an extraction did.

    Each image is a forward pass, a cache hit, a copy or a failure, and only one of these.

    Attributes
    ----------
    images : int
        Rows and failures together.
    forward_passes : int
        Distinct images that went through the network in this run and became features.
    cache_hits : int
        Rows that the store held before the run, or by the time that another run had computed them.
    copies : int
        Rows with the same bytes as another image of this run.
    failures : list of Failure
        Images without features, with their reasons.
    fingerprint : str
        Of the features.
    store : str
        The folder of the store.
    output : str or None
        The feature file, where one was asked for.
    model, engine, precision, choice : str
        What computed the features, and why that.
    drift : float or None
        Worst centred cosine to fp32 torch; None where fp32 torch computed.
    notes : list of str
    width : int
        Number of features of one image.
    seconds : float
        Wall clock, the writing of the feature file included.
    stages : Stages or None
        Where the time went and what held the run up; None where this process computed nothing.
    """

    images: int
    forward_passes: int
    cache_hits: int
    failures: list[Failure]
    fingerprint: str
    store: str
    output: str | None
    model: str
    engine: str
    precision: str
    choice: str
    drift: float | None
    width: int
    seconds: float
    stages: Stages | None = None
    copies: int = 0
    notes: list[str] = field(default_factory=list[str])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``failed`` counts the failures and ``failures`` lists them."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        record["stages"] = None if self.stages is None else self.stages.to_dict()
        record["failed"] = len(self.failures)
        record["failures"] = [{"key": failure.key, "reason": failure.reason} for failure in self.failures]
        record["images_per_second"] = self.images / self.seconds if self.seconds > 0 else None
        return record


def extract(
    source: Any,
    model: str | None = None,
    *,
    weights: str = "pretrained",
    model_args: Mapping[str, Json] | None = None,
    layer: int | None = None,
    pool: Pool = "auto",
    precision: Precision | Literal["auto"] = "auto",
    engine: Engine | Literal["auto"] = "auto",
    device: str = "auto",
    cluster: Cluster | None = None,
    preprocess: PreprocessOverrides | None = None,
    resize: Literal["fast", "exact"] = "fast",
    dtype: Dtype = "float32",
    store: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    label_column: str | None = None,
    batch_size: int | None = None,
    rehash: bool = False,
    progress: Progress | None = None,
) -> ExtractResult:
    """Compute the features of a source of images that the store does not hold yet, and write them as one feature file.

    Parameters
    ----------
    source : path, or sequence of images
        A folder (sub-folders are classes), a manifest (``path,label,split`` and further columns), or images in memory.
    model : str or None
        A timm name, ``"pixels32"`` or ``"colour-histogram"``; None is the bundled backbone.
    weights, model_args, layer, pool, precision, engine, device, preprocess, resize
        As in `BackboneRequest`; but `device` may name several (``"cuda:0,cuda:1"``), and ``"cuda"`` is all that are
        visible: each has a process of its own.
    cluster : {"ray", "dask"}, optional
        Let the workers of a cluster do it, which see the images and the store under the same paths: the cluster that
        the engine's own configuration names, or one on this machine.
    dtype : {"float32", "float16"}
        The type in which features are stored.
    store : path, optional
        The folder of the store; by default the user's (``EMBEDKIT_STORE``).
    output : path, optional
        The feature file to write. Without it features go to the store only.
    force : bool
        Replace an output that holds other features, or images that are not in this source.
    label_column : str, optional
        The column of a manifest that holds the labels.
    batch_size : int, optional
        Images in one forward pass, 256 at most on a CPU and 4,096 on a GPU. Short batches are filled up, so that all
        have one shape; but above 32, to no more than the source has images.
    rehash : bool
        Read every file to know its identity, whatever the memo of file stamps says.
    progress : callable, optional
        Called with a `Tick` whenever images are settled.

    Returns
    -------
    ExtractResult

    Raises
    ------
    SourceError
        The source is missing, empty, or cannot be understood.
    BackboneError
        The model or its weights cannot be had, or the device cannot do what was asked.
    OutputExistsError
        The output would lose something, and `force` was not given.
    StoreError
        The store cannot be read or written; what was committed before is intact.
    """
    if output is not None and Path(output).suffix.lower() not in (".h5", ".hdf5"):
        raise UsageError(
            f"{output} is no name of a feature file; let it end in .h5 (`embedkit export` writes other formats)"
        )
    devices = parse_devices(device)
    check_cluster(cluster, devices)
    check_batch_size(batch_size)
    backbone = BackboneRequest(
        model,
        weights=weights,
        model_args=dict(model_args or {}),
        layer=layer,
        pool=pool,
        precision=precision,
        engine=engine,
        device=devices[0],
        preprocess=preprocess or PreprocessOverrides(),
        resize=resize,
    )
    rows, request, opened = (
        open_source(source, label_column=label_column),
        ExtractionRequest(backbone=backbone, dtype=dtype),
        open_store(store),
    )
    if cluster is not None or len(devices) > 1 or devices == ["cuda"]:
        from embedkit.workflows.plans import extract_by_workers  # which builds on this module

        return extract_by_workers(
            rows,
            request,
            opened,
            devices=devices,
            cluster=cluster,
            output=Path(output) if output is not None else None,
            force=force,
            batch_size=batch_size,
            rehash=rehash,
            progress=progress,
        )
    return extract_to_file(
        rows,
        request,
        opened,
        output=Path(output) if output is not None else None,
        force=force,
        batch_size=batch_size,
        rehash=rehash,
        progress=progress,
    )


def extract_to_file(
    source: ImageSource,
    request: ExtractionRequest,
    store: FeatureStore,
    *,
    output: Path | None = None,
    force: bool = False,
    batch_size: int | None = None,
    rehash: bool = False,
    progress: Progress | None = None,
    backbone: Backbone | None = None,
) -> ExtractResult:
    """Do what `extract` promises, with the source, the request, the store and perhaps the backbone at hand."""
    started = time.monotonic()
    if output is not None:
        # Resolved first: an output that may not be written is better refused before hours of work than after them.
        resolution, backbone = resolve(
            request, store, expected_images=len(source.keys), batch_size=batch_size, backbone=backbone
        )
        check_output(output, resolution.spec, source.keys, force=force)
    extraction = run(source, request, store, progress=progress, rehash=rehash, batch_size=batch_size, backbone=backbone)
    if output is not None:
        write_feature_file(output, table_head(source, extraction), feature_batches(extraction), force=force)
    return describe(source, request, extraction, store, output=output, seconds=time.monotonic() - started)


def describe(
    source: ImageSource,
    request: ExtractionRequest,
    extraction: Extraction,
    store: FeatureStore,
    *,
    output: Path | None,
    seconds: float,
) -> ExtractResult:
    """Say what an extraction did."""
    spec, provenance = extraction.resolution.spec, extraction.resolution.provenance
    return ExtractResult(
        images=len(source.keys) + len(source.failures),
        forward_passes=extraction.forward_passes,
        cache_hits=extraction.cache_hits,
        copies=extraction.copies,
        failures=[*source_failures(source), *image_failures(source, extraction)],
        fingerprint=spec.fingerprint,
        store=str(store.path),
        output=str(output) if output is not None else None,
        model=request.backbone.model or spec.backbone.architecture,
        engine=spec.backbone.engine,
        precision=spec.backbone.precision,
        choice=extraction.resolution.choice,
        drift=extraction.resolution.drift,
        width=spec.backbone.width,
        seconds=seconds,
        stages=extraction.stages,
        notes=[str(provenance["note"])] if provenance.get("note") else [],
    )
