"""The features of images that are known by their digests alone: nothing is read, nothing goes through the network.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone
from embedkit.extraction.report import Extraction
from embedkit.extraction.request import ExtractionRequest
from embedkit.extraction.resolution import resolve
from embedkit.store import FeatureStore


def recall(
    digests: npt.NDArray[np.uint8],
    request: ExtractionRequest,
    store: FeatureStore,
    *,
    backbone: Backbone | None = None,
) -> Extraction:
    """Find features in the store by the digests of images.

    Parameters
    ----------
    digests : ndarray of shape (n_images, 32), uint8
    request : ExtractionRequest
    store : FeatureStore
    backbone : Backbone, optional
        The backbone of this very request, where the caller has loaded it before.

    Returns
    -------
    Extraction
        Its failures are the images whose features the store does not hold.
    """
    started = time.monotonic()
    resolution, backbone = resolve(request, store, expected_images=len(digests), backbone=backbone)
    features = store.features(resolution.spec)
    there = features.contains(digests)
    absent = digests[~there]
    reasons = features.undecodable(absent)
    failures = {
        row: reasons.get(digest.tobytes(), "the store holds no features of it")
        for row, digest in zip(np.flatnonzero(~there).tolist(), absent, strict=True)
    }
    return Extraction(
        resolution=resolution,
        features=features,
        digests=digests,
        backbone=backbone,
        failures=failures,
        forward_passes=0,
        cache_hits=int(there.sum()),
        seconds=time.monotonic() - started,
    )
