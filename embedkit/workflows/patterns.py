"""Pictures for the demonstration: ten kinds of patterns, whose colours, sizes, places and angles say nothing.

What a picture shows is in none of its pixels alone, which is what features are for.

Layer: workflows; knows nothing of embedkit.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float64]
Random = np.random.Generator

_SIDE = 96
_NOISE = 0.05


def _stripes(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    return (u % 1) < 0.5


def _checks(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    return (np.floor(u) + np.floor(v)) % 2 == 0


def _dots(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    return (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.1


def _rings(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    x, y = random.normal(0, 0.5, 2)
    return np.hypot(u - u.mean() + x, v - v.mean() + y) % 1 < 0.5


def _bricks(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    return (v % 1 > 0.15) & ((u / 2 + np.floor(v) % 2 / 2) % 1 > 0.08)


def _waves(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    return (v + 0.4 * np.sin(np.pi * u)) % 1 < 0.5


def _grid(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    return (u % 1 < 0.15) | (v % 1 < 0.15)


def _zigzag(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    return (v + np.abs(u % 2 - 1)) % 1 < 0.5


def _blobs(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    waves = random.normal(0, 1.2, (8, 2)), random.uniform(0, 2 * np.pi, 8)
    return np.sum([np.cos(a * u + b * v + phase) for (a, b), phase in zip(*waves, strict=True)], axis=0) > 0


def _noise(u: Plane, v: Plane, random: Random) -> npt.NDArray[Any]:
    return np.kron(random.random((_SIDE // 3, _SIDE // 3)) < 0.5, np.ones((3, 3))) > 0


PATTERNS: dict[str, Callable[[Plane, Plane, Random], npt.NDArray[Any]]] = {
    "blobs": _blobs,
    "bricks": _bricks,
    "checks": _checks,
    "dots": _dots,
    "grid": _grid,
    "noise": _noise,
    "rings": _rings,
    "stripes": _stripes,
    "waves": _waves,
    "zigzag": _zigzag,
}


def draw_pattern(name: str, random: Random) -> npt.NDArray[np.uint8]:
    """Return a picture, uint8 (96, 96, 3), of one of `PATTERNS` in two colours, with a little noise."""
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float64)
    angle, period = random.uniform(0, np.pi), random.uniform(8, 20)
    shift = random.uniform(0, 50, 2)
    u = (x * np.cos(angle) + y * np.sin(angle) + shift[0]) / period
    v = (y * np.cos(angle) - x * np.sin(angle) + shift[1]) / period
    hue = random.random()
    hues = (hue, (hue + random.uniform(0.2, 0.8)) % 1)
    bright = (random.uniform(0.5, 1), random.uniform(0.1, 0.8))
    ink, paper = (colorsys.hsv_to_rgb(h, random.uniform(0.3, 1), b) for h, b in zip(hues, bright, strict=True))
    picture = np.where(PATTERNS[name](u, v, random)[..., None], ink, paper)
    return np.rint(255 * np.clip(picture + random.normal(0, _NOISE, picture.shape), 0, 1)).astype(np.uint8)
