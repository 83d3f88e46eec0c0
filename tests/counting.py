"""An ImageEmbedder whose networks write down every image that passes through them, in whatever process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from embedkit import ImageEmbedder
from embedkit.backbones.features import FrozenFeatures

_log: Path | None = None


class CountingEmbedder(ImageEmbedder):
    """Importing its module, as unpickling it in a worker does, hooks every backbone of that process."""

    def transform(self, X: Any) -> Any:
        _count_in(self.store)
        return super().transform(X)

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        _count_in(self.store)
        return super().fit_transform(X, y)


def passes(store: str) -> int:
    """Return how many images went through a network for a store, in all processes together."""
    log = Path(store) / "passes.txt"
    return sum(map(int, log.read_text().split())) if log.exists() else 0


def stop_counting() -> None:
    """Leave the networks of this process alone: what follows may trace one, which no hook must decide by its values."""
    global _log
    _log = None


def _count_in(store: Any) -> None:
    global _log
    _log = Path(store) / "passes.txt"


def _record(module: torch.nn.Module, arguments: tuple[Any, ...], output: object) -> None:
    """Count the images of one pass.

    Not counted is a blank image, on which loading tries the network, and what fills up a short batch: copies of its
    last image.
    """
    if not isinstance(module, FrozenFeatures) or _log is None:
        return
    pixels = arguments[0].flatten(1)
    images = torch.unique(pixels[(pixels != pixels[:, :1]).any(dim=1)], dim=0)
    descriptor = os.open(_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, b"%d\n" % len(images))  # one write of a short line: lines of several processes do not mix
    os.close(descriptor)


torch.nn.modules.module.register_module_forward_hook(_record)
