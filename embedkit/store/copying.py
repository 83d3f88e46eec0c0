"""Copying rows out of mapped parts: gathered one by one, or whole runs by several threads.

Layer: above parts.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.store.digests import Features
from embedkit.store.parts import BLOCK_BYTES

Rows = npt.NDArray[np.int64]
Positions = npt.NDArray[np.intp]

_THREADS = 4


def gather(features: Features, sources: Rows, target: Features, positions: Positions) -> None:
    """Copy ``features[sources]`` to ``target[positions]``; positions ascend."""
    if is_run(positions):
        block = target[positions[0] :][: len(positions)]
        np.take(features, sources, axis=0, out=block, mode="clip")  # the default mode copies twice
        return
    order = np.argsort(sources, kind="stable")  # through the file forwards
    sources, positions = sources[order], positions[order]
    block = np.empty((min(len(sources), _block_rows(target)), target.shape[1]), target.dtype)
    for start in range(0, len(sources), len(block)):
        here, there = sources[start : start + len(block)], positions[start : start + len(block)]
        target[there] = np.take(features, here, axis=0, out=block[: len(here)], mode="clip")


def copy_runs(runs: list[tuple[Features, Features]]) -> None:
    """Copy consecutive rows, by several threads when there are many: a page fault then makes only one of them wait."""
    blocks = [
        (source[start : start + step], target[start : start + step])
        for source, target in runs
        for step in [_block_rows(target)]
        for start in range(0, len(source), step)
    ]

    def copy(block: tuple[Features, Features]) -> None:
        np.copyto(block[1], block[0])

    if len(blocks) < _THREADS:
        deque(map(copy, blocks), maxlen=0)
    else:
        with ThreadPoolExecutor(_THREADS) as threads:
            deque(threads.map(copy, blocks), maxlen=0)


def _block_rows(target: Features) -> int:
    """Return how many rows make a block of `BLOCK_BYTES`."""
    return max(1, BLOCK_BYTES // (target.itemsize * target.shape[1]))


def is_run(numbers: npt.NDArray[np.signedinteger[Any]]) -> bool:
    """Say whether each number is one more than the number before."""
    return bool((np.diff(numbers) == 1).all())
