"""extract_several: several kinds of features from one pass over the images, each in a feature file of its own.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedkit.backbones import FeatureRequest, as_requests, check_batch_size
from embedkit.errors import UsageError
from embedkit.extraction import Progress, resolve_together
from embedkit.images import Layout, TargetOption, open_source
from embedkit.results import ExtractResult
from embedkit.workflows.one_process import extract_here
from embedkit.workflows.targets import backbone_names, open_store


def extract_several(
    source: Any,
    models: Sequence[str | FeatureRequest],
    *,
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
) -> list[ExtractResult]:
    """Compute the features of several backbones, or of several layers of one.

    Each image is read once, and decoded once for all networks that take the same pixels; layers of one network share
    its forward passes.

    Parameters
    ----------
    source : path, or sequence of images
        As in `extract`.
    models : sequence of str or FeatureRequest
        At least one.
    output : path, optional
        A folder, created if it is missing: one feature file for each request goes into it, named by the model, and by
        layer, pool or weights where they differ. Without it features go to the store only.
    store, force, update, label_column, layout, target_type, image_column, batch_size, rehash, progress
        As in `extract`, which also lists what is raised.

    Returns
    -------
    list of ExtractResult
        One a request; `seconds` is that of the whole pass.
    """
    folder = None if output is None else Path(output)
    if folder is not None and (folder.suffix.lower() in (".h5", ".hdf5") or folder.is_file()):
        raise UsageError(f"{folder} names one file, and several kinds of features were asked for; name a folder")
    check_batch_size(batch_size)
    opened, requests = open_store(store), as_requests(models)
    images = open_source(
        source, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    resolved = resolve_together(requests, opened, expected_images=len(images), batch_size=batch_size)
    outputs: list[Path | None] = [None] * len(requests)
    if folder is not None:
        names = [_file_name(name) for name in backbone_names(requests)]
        if len(set(names)) < len(names):
            raise UsageError(f"two requests would be written to {folder / names[0]}; ask for each once")
        if not folder.parent.is_dir():
            raise UsageError(f"the folder {folder.parent} does not exist, so {folder.name} cannot be made in it")
        folder.mkdir(exist_ok=True)
        outputs = [folder / name for name in names]
    return extract_here(
        images,
        requests,
        opened,
        outputs,
        force=force,
        update=update,
        batch_size=batch_size,
        rehash=rehash,
        progress=progress,
        resolved=resolved,
    )


def _file_name(name: str) -> str:
    """Turn the name of a backbone into that of a file."""
    return re.sub(r"[^\w.+=-]+", "-", name).strip("-") + ".h5"
