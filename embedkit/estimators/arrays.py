"""Names for array types, how many threads a fit may use, and how many pages of a file it keeps.

Layer: the bottom of estimators; imports NumPy, threadpoolctl and the standard library.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Indices = NDArray[np.intp]

Item = TypeVar("Item")
Result = TypeVar("Result")


class MapFunction(Protocol):
    """`map` over one iterable: results come in the order of the items, whatever computes them."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterable[Result]:
        """Apply the function to each item."""
        ...


WORTH_THREADS = 10**8
"""Multiplications of one pass over the rows, a millisecond or two: with fewer, handing work to threads costs more."""


@contextmanager
def row_threads(multiplications: int) -> Generator[MapFunction]:
    """Give a `map` that works on blocks of rows in threads, each of which calls a single-threaded BLAS.

    NumPy's element-wise functions use one core; a block a thread keeps all of them busy. As many threads are used as
    BLAS was allowed (``OMP_NUM_THREADS``, `threadpoolctl`, joblib's limits in its workers), and no more than the
    cores that this process may run on. With few `multiplications` a pass there is one thread, this one.
    """
    import threadpoolctl

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with threadpoolctl.threadpool_limits(1, user_api="blas") as limits:
        allowed = cast(dict[str, int | None], limits.get_original_num_threads()).get("blas")
        count = min(allowed or cores, cores)
        if count == 1 or multiplications < WORTH_THREADS:
            yield map
            return
        with ThreadPoolExecutor(count, thread_name_prefix="embedkit-rows") as pool:
            yield pool.map


def row_spans(n_rows: int) -> list[slice]:
    """Cut rows into spans: a function of their number only, so that sums over spans do not depend on the threads.

    512 rows are enough for BLAS to run at full speed, 2048 rows of 100 logits still fit a core's cache.
    """
    size = min(max(-(-n_rows // 32), 512), 2048)
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def release_pages(array: NDArray[Any]) -> None:
    """Let go of the pages of a mapped file, which otherwise count as this process's memory until others need it.

    They stay in the system's cache and are there again when they are next read. Nothing happens to other arrays, nor to
    mappings that may be written to: of those, private ones would lose what was written.
    """
    mapping = _read_only_mapping(array)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def is_mapped(array: object) -> bool:
    """Whether an array is a view of a file that is mapped for reading."""
    return isinstance(array, np.ndarray) and _read_only_mapping(cast("NDArray[Any]", array)) is not None


def _read_only_mapping(array: NDArray[Any]) -> mmap.mmap | None:
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = cast(Any, owner).base
    if not isinstance(owner, mmap.mmap):
        return None
    with memoryview(owner) as memory:
        return owner if memory.readonly else None
