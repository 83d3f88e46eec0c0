"""What an extraction did, as plain records.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from embedkit.backbones import Backbone
from embedkit.extraction.resolution import Resolution
from embedkit.results import Stages
from embedkit.store import FeatureSet


@dataclass(frozen=True, slots=True)
class Tick:
    """Where a run stands, for a progress bar.

    Attributes
    ----------
    total, done, found, failed : int
        Images in the source, times the kinds of features where a run computes several; settled so far; of these found
        in the store; of these failed.
    of : {"images", "fits", "epochs"}
        What is counted. Fits and epochs come after the images, none of them found or failed.
    """

    total: int
    done: int
    found: int
    failed: int
    of: Literal["images", "fits", "epochs"] = "images"


Progress = Callable[[Tick], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """The outcome of one run over one source.

    Each image of the source is a forward pass, a cache hit, a copy or a failure, and only one of these.

    Attributes
    ----------
    resolution : Resolution
    features : FeatureSet
        Where the features are.
    digests : ndarray of shape (n_images, 32), uint8
        The identity of each image of the source; zeros where its bytes could not be had.
    backbone : Backbone or None
        The network, where this run had to load it.
    failures : dict of int to str
        Row of the source -> reason, for each image without features.
    forward_passes, cache_hits, copies : int
        Distinct images that went through the network and became features; rows that the store held, before the run or
        by the time that another one had computed them; rows with the same bytes as one that this run has computed or
        waited for.
    seconds : float
        Wall clock of the pass, which may have served other requests too.
    stages : Stages or None
        Where the time went; None where nothing was computed.
    pace : float or None
        Images a second of the network alone, on this machine as it was; None where nothing was computed.
    """

    resolution: Resolution
    features: FeatureSet
    digests: npt.NDArray[np.uint8]
    backbone: Backbone | None
    failures: dict[int, str]
    forward_passes: int
    cache_hits: int
    seconds: float
    stages: Stages | None = None
    pace: float | None = None
    copies: int = 0

    @property
    def rows(self) -> npt.NDArray[np.intp]:
        """The rows of the source that have features, in order."""
        ok = np.ones(len(self.digests), dtype=bool)
        ok[list(self.failures)] = False
        return np.flatnonzero(ok)
