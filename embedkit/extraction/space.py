"""Whether the features that a run will compute fit on the disk of the store: said before the first forward pass.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedkit.specs import FeatureSpec

_log = logging.getLogger("embedkit")

_DIGEST_BYTES = 32


def row_bytes(spec: FeatureSpec) -> int:
    """Give the bytes of one image in a store: its features and its digest."""
    return spec.backbone.width * np.dtype(spec.dtype).itemsize + _DIGEST_BYTES


def check_space(store: Path, missing: Sequence[tuple[FeatureSpec, int]]) -> None:
    """Log a warning where the features of missing images need more bytes than are free.

    Copies, and images that turn out to be known, need none: so it is said and not refused. What a full disk ends was
    committed before, and the same command goes on once there is space.

    Parameters
    ----------
    store : Path
    missing : sequence of (FeatureSpec, int)
        How many images have no features of each kind.
    """
    needed = sum(row_bytes(spec) * images for spec, images in missing)
    try:
        free = shutil.disk_usage(store).free
    except OSError:
        return
    if needed > free:
        _log.warning(
            "the features of %d images need up to %s, and %s has %s free: the disk may be full before the end; free "
            "some space, name a --store on another disk, or store half as much by --dtype float16",
            max(images for _, images in missing),
            _size(needed),
            store,
            _size(free),
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
