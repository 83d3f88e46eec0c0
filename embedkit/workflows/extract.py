"""extract: from a source of images to a feature file, through the store.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from embedkit.backbones import FeatureRequest, PreprocessOverrides, as_request, check_batch_size
from embedkit.extraction import Cluster, Progress, check_cluster, parse_devices
from embedkit.images import Layout, TargetOption, open_source
from embedkit.results import ExtractResult
from embedkit.specs import Dtype, Engine, Json, Pool, Precision
from embedkit.workflows.one_process import extract_here, output_path
from embedkit.workflows.targets import open_store
from embedkit.workflows.workers import extract_by_workers


def extract(
    source: Any,
    model: str | FeatureRequest | None = None,
    *,
    weights: str | os.PathLike[str] = "pretrained",
    model_args: Mapping[str, Json] | None = None,
    layer: int | None | Sequence[int | None] = None,
    pool: Pool | Sequence[Pool] = "auto",
    precision: Precision | Literal["auto"] = "auto",
    engine: Engine | Literal["auto"] = "auto",
    device: str = "auto",
    cluster: Cluster | None = None,
    preprocess: PreprocessOverrides | Mapping[str, Any] | None = None,
    resize: Literal["fast", "exact"] = "fast",
    dtype: Dtype = "float32",
    store: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    update: bool = False,
    label_column: str | None = None,
    layout: Layout | None = None,
    target_type: TargetOption | None = None,
    image_column: str | None = None,
    batch_size: int | None = None,
    rehash: bool = False,
    progress: Progress | None = None,
) -> ExtractResult:
    """Compute the features of a source of images that the store does not hold yet, and write them as one feature file.

    Parameters
    ----------
    source : path, or sequence of images
        A folder (sub-folders are classes), a manifest (``path,label,split`` and further columns), or images in memory.
    model : str or FeatureRequest, optional
        A timm name, ``"pixels32"`` or ``"colour-histogram"``; by default the bundled backbone. A request says the rest,
        too.
    weights, model_args, layer, pool, precision, engine, device, preprocess, resize, dtype
        As in `FeatureRequest`; but `device` may name several (``"cuda:0,cuda:1"``), and ``"cuda"`` is all that are
        visible: each has a process of its own.
    cluster : {"ray", "dask"}, optional
        Let the workers of a cluster do it, which see the images and the store under the same paths: the cluster that
        the engine's own configuration names, or one on this machine.
    store : path, optional
        The folder of the store; by default the user's (``EMBEDKIT_STORE``).
    output : path, optional
        The feature file to write. Without it features go to the store only.
    update : bool
        Bring an output of the same features to what the source holds now, whatever was added, removed or changed.
    force : bool
        Replace an output that holds other features, or images that are not in this source.
    label_column, layout, target_type, image_column : str, optional
        As in `open_source`: the column of a manifest that holds the labels, what folders are, what labels are, and
        where the images are.
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
    path = output_path(output)
    asked = as_request(
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
    devices = parse_devices(asked.device)
    check_cluster(cluster, devices)
    check_batch_size(batch_size)
    request = dataclasses.replace(asked, device=devices[0])
    opened = open_store(store)
    images = open_source(
        source, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    if cluster is not None or len(devices) > 1 or devices == ["cuda"]:
        return extract_by_workers(
            images,
            request,
            opened,
            path,
            devices=devices,
            cluster=cluster,
            force=force,
            update=update,
            batch_size=batch_size,
            rehash=rehash,
            progress=progress,
        )
    [result] = extract_here(
        images,
        [request],
        opened,
        [path],
        force=force,
        update=update,
        batch_size=batch_size,
        rehash=rehash,
        progress=progress,
    )
    return result
