"""What an extraction would do: the rows, the forward passes, and the time, disk and memory to expect.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone, FeatureRequest, as_requests
from embedkit.extraction import Resolution, default_store, image_digests, resolve_together
from embedkit.images import ImageSource, Layout, TargetOption, describe, open_source
from embedkit.results import Forecast
from embedkit.store import FeatureStore
from embedkit.workflows.origins import origin_of
from embedkit.workflows.pace import TRIED, peak_bytes, row_bytes, seconds_an_image
from embedkit.workflows.targets import open_store


def forecast(
    source: Any,
    models: str | FeatureRequest | Sequence[str | FeatureRequest] | None = None,
    *,
    store: str | os.PathLike[str] | None = None,
    label_column: str | None = None,
    layout: Layout | None = None,
    target_type: TargetOption | None = None,
    image_column: str | None = None,
    batch_size: int | None = None,
) -> list[Forecast]:
    """Say what `extract` would do. Nothing is written: no feature, no output, and nothing is remembered.

    Up to 64 of the images that the store does not hold are put through the network, to know its pace here.

    Parameters
    ----------
    source : path, or sequence of images
    models : str, FeatureRequest, or sequence of these, optional
        By default the bundled backbone.
    store, label_column, layout, target_type, image_column, batch_size
        As in `extract`.

    Returns
    -------
    list of Forecast
        One a request.

    Raises
    ------
    SourceError, BackboneError, StoreError
        As in `extract`.
    """
    requests = as_requests(models) or [FeatureRequest()]
    images = open_source(
        source, label_column=label_column, layout=layout, target_type=target_type, image_column=image_column
    )
    place = default_store() if store is None else Path(store)
    with tempfile.TemporaryDirectory(prefix="embedkit-") as nowhere:
        opened = open_store(place if place.exists() else nowhere)  # opening a store makes its folder
        resolved = resolve_together(
            requests, opened, expected_images=len(images), batch_size=batch_size, remember=False
        )
        digests = image_digests(images, opened, remember=False)
        return [
            _forecast(images, request, one, opened, str(place), digests, batch_size)
            for request, one in zip(requests, resolved, strict=True)
        ]


def _forecast(
    source: ImageSource,
    request: FeatureRequest,
    resolved: tuple[Resolution, Backbone | None],
    store: FeatureStore,
    place: str,
    digests: npt.NDArray[np.uint8],
    batch_size: int | None,
) -> Forecast:
    resolution = resolved[0]
    spec = resolution.spec
    first = np.unique(digests, axis=0, return_index=True)[1]  # of each distinct image
    first = np.sort(first[digests[first].any(axis=1)])
    features = store.features(spec)
    absent = first[~features.contains(digests[first])]
    undecodable = features.undecodable(digests[absent])
    missing = [row for row in absent.tolist() if digests[row].tobytes() not in undecodable]
    seconds = seconds_an_image(source, request, resolved, missing[:TRIED], batch_size) * len(missing)
    rows = int(digests.any(axis=1).sum())
    found = describe(source, digests)
    return Forecast(
        rows=len(source),
        labels=found.labels,
        splits=found.splits,
        passed_over=found.passed_over,
        forward_passes=len(missing),
        seconds_expected=seconds,
        bytes_expected=row_bytes(spec) * (len(missing) + rows),
        memory_expected=peak_bytes(),
        model=request.model or spec.backbone.architecture,
        engine=spec.backbone.engine,
        precision=spec.backbone.precision,
        choice=resolution.choice,
        width=spec.backbone.width,
        fingerprint=spec.fingerprint,
        store=place,
        read=[found.line()],
        source_notes=found.notes,
        origin=origin_of(
            "extract --dry-run",
            {"source": source.name, "request": request, "store": place},
            sources=[source.name],
            fingerprints={request.model or spec.backbone.architecture: spec.fingerprint},
        ),
    )
