"""How fast a backbone goes here: a few images through the network, into a store that is thrown away.

Layer: workflows; shared by what says beforehand how long something takes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedkit.backbones import Backbone, FeatureRequest
from embedkit.extraction import Resolution, run_many
from embedkit.images import ImageSource
from embedkit.specs import FeatureSpec
from embedkit.store import FeatureStore

TRIED = 64
"""Images that go through the network to know its pace."""

_DIGEST_BYTES = 32


def seconds_an_image(
    source: ImageSource,
    request: FeatureRequest,
    resolved: tuple[Resolution, Backbone | None] | None,
    rows: Sequence[int],
    batch_size: int | None = None,
) -> float:
    """Return the seconds for each of some images, reading and decoding included, loading the network not."""
    if not rows:
        return 0.0
    few = ImageSource(
        name="a sample", keys=[source.keys[row] for row in rows], images=[source.images[row] for row in rows]
    )
    with tempfile.TemporaryDirectory(prefix="embedkit-") as folder:
        tried = FeatureStore(Path(folder))
        known = None if resolved is None else [resolved]
        [done] = run_many(few, [request], tried, resolved=known, batch_size=batch_size)
    return (done.stages.wall if done.stages is not None else done.seconds) / len(rows)


def row_bytes(spec: FeatureSpec) -> int:
    """Return what one image takes on disk: its features and its digest."""
    return spec.backbone.width * np.dtype(spec.dtype).itemsize + _DIGEST_BYTES


def peak_bytes() -> int:
    """Return the most memory that this process has had; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
