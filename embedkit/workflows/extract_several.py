"""extract_several: several kinds of features from one pass over the images, each in a feature file of its own.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedkit.backbones import BackboneRequest
from embedkit.errors import UsageError
from embedkit.extraction import ExtractionRequest, Progress, resolve_together, run_many
from embedkit.images import open_source
from embedkit.specs import Dtype
from embedkit.tables import check_output, write_feature_file
from embedkit.workflows.extract import ExtractResult, describe
from embedkit.workflows.tables import feature_batches, table_head
from embedkit.workflows.targets import backbone_names, open_store


def extract_several(
    source: Any,
    models: Sequence[BackboneRequest],
    *,
    dtype: Dtype = "float32",
    store: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    label_column: str | None = None,
    batch_size: int | None = None,
    rehash: bool = False,
    progress: Progress | None = None,
) -> list[ExtractResult]:
    """Compute the features of several backbones, or of several layers of one.

    Each image is read once, and decoded once for all networks that take the same pixels; layers of one network share
    its forward passes.

    Parameters
    ----------
    source : path, or sequence of images
        As in `extract`.
    models : sequence of BackboneRequest
        At least one.
    output : path, optional
        A folder, created if it is missing: one feature file for each request goes into it, named by the model, and by
        layer, pool or weights where they differ. Without it features go to the store only.
    dtype, store, force, label_column, batch_size, rehash, progress
        As in `extract`, which also lists what is raised.

    Returns
    -------
    list of ExtractResult
        One a request; `seconds` is that of the whole pass.
    """
    started = time.monotonic()
    folder = None if output is None else Path(output)
    if folder is not None and (folder.suffix.lower() in (".h5", ".hdf5") or folder.is_file()):
        raise UsageError(f"{folder} names one file, and several kinds of features were asked for; name a folder")
    rows, opened = open_source(source, label_column=label_column), open_store(store)
    requests = [ExtractionRequest(backbone=model, dtype=dtype) for model in models]
    resolved = resolve_together(requests, opened, expected_images=len(rows.keys), batch_size=batch_size)
    specs = [resolution.spec for resolution, _ in resolved]
    outputs: list[Path | None] = [None] * len(requests)
    if folder is not None:
        names = [_file_name(name) for name in backbone_names(list(models), specs)]
        if len(set(names)) < len(names):
            raise UsageError(f"two requests would be written to {folder / names[0]}; ask for each once")
        if not folder.parent.is_dir():
            raise UsageError(f"the folder {folder.parent} does not exist, so {folder.name} cannot be made in it")
        folder.mkdir(exist_ok=True)
        outputs = [folder / name for name in names]
        for path, spec in zip(outputs, specs, strict=True):
            if path is not None:
                check_output(path, spec, rows.keys, force=force)
    extractions = run_many(
        rows, requests, opened, resolved=resolved, batch_size=batch_size, rehash=rehash, progress=progress
    )
    for path, extraction in zip(outputs, extractions, strict=True):
        if path is not None:
            write_feature_file(path, table_head(rows, extraction), feature_batches(extraction), force=force)
    seconds = time.monotonic() - started
    return [
        describe(rows, request, extraction, opened, output=path, seconds=seconds)
        for request, extraction, path in zip(requests, extractions, outputs, strict=True)
    ]


def _file_name(name: str) -> str:
    """Turn the name of a backbone into that of a file."""
    return re.sub(r"[^\w.+=-]+", "-", name).strip("-") + ".h5"
