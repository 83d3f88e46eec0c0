"""Images known by their digests, and the features of images of which nothing else is known.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone, FeatureRequest
from embedkit.extraction.pipeline import Identified, identify
from embedkit.extraction.report import Extraction
from embedkit.extraction.resolution import resolve
from embedkit.images import ImageSource, StatMemo
from embedkit.store import FeatureStore


def recall(
    digests: npt.NDArray[np.uint8],
    request: FeatureRequest,
    store: FeatureStore,
    *,
    backbone: Backbone | None = None,
) -> Extraction:
    """Find features in the store by the digests of images.

    Parameters
    ----------
    digests : ndarray of shape (n_images, 32), uint8
    request : FeatureRequest
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


def image_digests(source: ImageSource, store: FeatureStore, *, remember: bool = True) -> npt.NDArray[np.uint8]:
    """Return the digests of a source's images, read only where the stat memo of a store does not know them.

    With `remember` the memo knows them then.

    Returns
    -------
    ndarray of shape (n_images, 32), uint8
        Zeros where the bytes cannot be had.
    """
    memo = StatMemo(store.memo_folder / source.memo_name)
    digests = np.zeros((len(source), 32), dtype=np.uint8)
    known = np.zeros(len(source), dtype=np.bool_)
    rows, refs = source.on_disk()
    digests[rows], known[rows] = memo.lookup(refs)
    for row in np.flatnonzero(~known).tolist():
        found = identify(row, source.images[row])
        if isinstance(found, Identified):
            digests[row] = np.frombuffer(found.digest, np.uint8)
            if found.file is not None:
                memo.record(*found.file, found.digest)
    if remember:
        memo.save()
    return digests
