"""A small vision transformer with random weights, a few pictures of three tints, and what is tuned on them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from embedkit import FeatureRequest
from embedkit.adaptation import Problem
from embedkit.adaptation.maps import Maps, Prefix, cache_maps
from embedkit.adaptation.networks import tunable_network
from embedkit.adaptation.start import LinearHead, fit_head
from embedkit.adaptation.tail import Tail
from embedkit.adaptation.training import Read
from embedkit.extraction import run
from embedkit.images import ImageSource, rows_of
from embedkit.store import FeatureStore
from tests.photos import make_photo

MODEL = "vit_tiny_patch16_224"
ARGS: dict[str, Any] = {"depth": 4, "embed_dim": 48, "num_heads": 3}
BLOCKS, CLASSES = 4, 3


def request(**fields: Any) -> FeatureRequest:
    return FeatureRequest(
        MODEL,
        "random",
        model_args=ARGS,
        preprocess={"input_size": (64, 64)},
        precision="fp32",
        engine="torch",
        **fields,
    )


def pictures(count: int = 36) -> tuple[ImageSource, np.ndarray]:
    images = [make_photo(number, tint=number % CLASSES, size=(80, 72)) for number in range(count)]
    return rows_of(images), np.arange(count) % CLASSES


class Scene:
    """Pictures with their features and maps, and rows: 18 fit, 9 select, 9 judged."""

    def __init__(self, folder: Path, *, depths: tuple[int, ...] = (1, 2), views: int = 2) -> None:
        self.store = FeatureStore(folder)
        self.source, y = pictures()
        self.y = y.astype(np.intp)
        self.problem = Problem(y=self.y, classes=CLASSES, fit=np.arange(18), select=np.arange(18, 27))
        self.judged = np.arange(27, 36)
        found = run(self.source, request(), self.store)
        self.X = found.features.get(found.digests).astype(np.float32)
        self.prefix = Prefix(
            request=request(), layers={depth: BLOCKS - depth - 1 for depth in depths}, views=views, seed=0
        )
        self.maps: Maps
        self.maps, self.passes = cache_maps(self.source, self.problem.train, self.prefix, self.store)

    def read(self, depth: int) -> Read:
        return functools.partial(self.maps.read, depth)

    def head(self) -> LinearHead:
        return fit_head(self.X, self.y, self.problem.fit, 0.01, CLASSES)

    def tail(self, depth: int) -> Tail:
        tail = Tail(tunable_network(request(), CLASSES), depth)
        tail.set_head(self.head())
        return tail
