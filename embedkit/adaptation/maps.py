"""What enters the last blocks of a network, kept in the store: one pass of the blocks before, an image and view, ever.

Rows are float16: of a ViT-Tiny at 224 pixels 76 kB an image, view and depth.

Layer: adaptation. Imports extraction and the store; torch stays behind them.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest
from embedkit.errors import AdaptationError, SpecMismatchError
from embedkit.extraction import Extraction, Progress, Resolution, resolve_together, run_many
from embedkit.images import ImageSource
from embedkit.specs import FeatureSpec
from embedkit.store import FeatureSet, FeatureStore

_log = logging.getLogger("embedkit")
_WORTH_SAYING = 50e6

Float16 = npt.NDArray[np.float16]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The blocks of a network that stay as they are, and how many views each training image has.

    Attributes
    ----------
    request : FeatureRequest
        The model, computed by torch in fp32 so that what is cached is what training would compute.
    layers : mapping of int to int
        Of each number of last blocks that is tried, the layer whose output enters them.
    views : int
        Random views beside each image itself.
    seed : int
        Of their draws.
    weights : str
        Digest that the request has to mean; empty where any will do.
    """

    request: FeatureRequest
    layers: Mapping[int, int]
    views: int
    seed: int
    weights: str = ""

    def requests(self, view: int) -> list[FeatureRequest]:
        """Return what is asked of the store: the output of the block before the tuned ones, one a depth."""
        preprocess = self.request.overrides.given() | ({"view": view, "view_seed": self.seed} if view else {})
        return [
            dataclasses.replace(
                self.request,
                layer=layer,
                pool="map",
                precision="fp32",
                engine="torch",
                dtype="float16",
                preprocess=preprocess,
            )
            for layer in self.layers.values()
        ]


class Maps:
    """The maps of images, by depth, row and view.

    Parameters
    ----------
    digests : uint8 (n, 32)
    sets : mapping of depth to the feature sets of the image itself and of its views, in order
    """

    def __init__(self, digests: npt.NDArray[np.uint8], sets: dict[int, list[FeatureSet]]) -> None:
        self.digests = digests
        self.sets = sets

    @property
    def views(self) -> int:
        """Random views beside the images themselves."""
        return len(next(iter(self.sets.values()))) - 1

    def fingerprint(self, depth: int) -> str:
        """Name what is read at a depth."""
        return " ".join(one.fingerprint for one in self.sets[depth])

    def read(self, depth: int, rows: Rows, views: npt.NDArray[np.intp] | int = 0) -> Float16:
        """Return maps, float16 (n, tokens * channels), each row in its view."""
        wanted = np.broadcast_to(views, rows.shape)
        found = np.empty((len(rows), self.sets[depth][0].width), np.float16)
        for view in sorted({int(one) for one in wanted}):
            places = np.flatnonzero(wanted == view)
            features: FeatureSet = self.sets[depth][view]
            found[places] = features.get(self.digests[rows[places]])
        return found


def cache_maps(
    source: ImageSource,
    trained: Rows,
    prefix: Prefix,
    store: FeatureStore,
    *,
    progress: Progress | None = None,
) -> tuple[Maps, list[Extraction]]:
    """Compute what the store does not hold: each image itself, and the views of those that are trained on.

    Parameters
    ----------
    source : ImageSource
        Every image can be read.
    trained : ndarray of intp
        Rows that are trained on.
    prefix : Prefix
    store : FeatureStore
    progress : callable, optional

    Raises
    ------
    AdaptationError
        The disk has no room for the maps, or an image cannot be read.
    """
    resolved = [resolve_together(prefix.requests(view), store) for view in range(prefix.views + 1)]
    now = resolved[0][0][0].spec.backbone.weights
    if prefix.weights and now != prefix.weights:
        raise SpecMismatchError(
            f"the features come of weights {prefix.weights}, and {prefix.request.model} has {now} now: extract again",
            [("backbone.weights", now, prefix.weights)],
        )
    part = _part_of(source, trained)
    _check_space(store, source, part, resolved)
    found: dict[int, list[FeatureSet]] = {depth: [] for depth in prefix.layers}
    extractions: list[Extraction] = []
    for view, known in enumerate(resolved):
        images = part if view else source
        passed = run_many(images, prefix.requests(view), store, resolved=known, progress=progress)
        for depth, extraction in zip(prefix.layers, passed, strict=True):
            if extraction.failures:
                row, reason = next(iter(extraction.failures.items()))
                raise AdaptationError(f"{images.keys[row]} gives no map of the blocks before the tuned ones: {reason}")
            found[depth].append(extraction.features)
        extractions += passed
    return Maps(extractions[0].digests, found), extractions


def specs_of(prefix: Prefix, store: FeatureStore) -> list[FeatureSpec]:
    """Say how the images, and each of their views, become pixels."""
    return [resolve_together(prefix.requests(view)[:1], store)[0][0].spec for view in range(prefix.views + 1)]


def row_bytes(width: int) -> int:
    """Return the bytes that a map of a width takes in a store, with its digest."""
    return 2 * width + 32


def _part_of(source: ImageSource, rows: Rows) -> ImageSource:
    images: Any = [source.images[row] for row in rows.tolist()]
    return ImageSource(name=source.name, keys=[source.keys[row] for row in rows.tolist()], images=images)


def _check_space(
    store: FeatureStore,
    source: ImageSource,
    part: ImageSource,
    resolved: Sequence[Sequence[tuple[Resolution, Any]]],
) -> None:
    widths = [resolution.spec.backbone.width for resolution, _ in resolved[0]]
    there = set(store.fingerprints())
    missing = 0
    for view, known in enumerate(resolved):
        for (resolution, _), width in zip(known, widths, strict=True):
            rows = len(part if view else source)
            if resolution.spec.fingerprint in there:
                rows = max(0, rows - store.features(resolution.spec).counts()[0])
            missing += rows * row_bytes(width)
    free = shutil.disk_usage(store.path).free
    if missing > free:
        raise AdaptationError(
            f"the maps of {len(source)} images and {len(resolved) - 1} views of {len(part)} take "
            f"{missing / 1e9:.1f} GB, and {store.path} has {free / 1e9:.1f} GB free: take fewer views or depths, or "
            "name a store on another disk"
        )
    if missing >= _WORTH_SAYING:
        _log.warning(
            "maps of %d images and %d views of %d take %.2f GB more in %s (%.0f GB free)",
            *(len(source), len(resolved) - 1, len(part), missing / 1e9, store.path, free / 1e9),
        )
