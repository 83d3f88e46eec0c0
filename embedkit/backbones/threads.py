"""How many cores one forward pass uses: one, on a CPU, where several passes run side by side.

torch divides each operation among threads that wait for each other after it. Beside decoding threads, or any other
load, they wait for the one that was not given a core: on four cores shared with other work a MobileNet fell from 80
images/s with two threads to 4 with four, while four passes of one thread each lost nothing. Passes of one thread also
give the same bits on every number of cores.

Layer: backbones. Imports torch when a thread is told.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_one_thread() -> None:
    """Let the calling thread compute alone from now on."""
    import torch

    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@contextmanager
def keep_thread_count() -> Generator[None]:
    """Restore the number of threads that later threads begin with; `use_one_thread` changes it for all of them."""
    import torch

    count = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(count)
