"""Networks from outside timm, as a user's module has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

TRANSFORM: dict[str, Any] = {"input_size": 32, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2), "crop_pct": 1.0}


class Means(nn.Module):
    """Coloured means of a grid of cells, turned by a fixed matrix; a dropout that must be off."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.turn = nn.Linear(48, width)
        self.drop = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(self.turn(nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)))


def means(width: int = 16, seed: int = 0) -> tuple[nn.Module, dict[str, Any]]:
    torch.manual_seed(seed)
    return Means(width).train(), TRANSFORM


def without_transform() -> Any:
    return Means(4)


def half_a_transform() -> Any:
    return Means(4), {"input_size": 32}


def odd_transform() -> Any:
    return Means(4), {**TRANSFORM, "size": 3}


def failing() -> Any:
    raise OSError("no such disk")
