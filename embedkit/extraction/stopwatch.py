"""Where the time of a pass over images goes, stage by stage, and which stage holds it up.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator
from typing import get_args

from embedkit.results import Stage, Stages


class Stopwatch:
    """Adds up the seconds of stages, from any thread."""

    def __init__(self) -> None:
        self._seconds: dict[Stage, float] = dict.fromkeys(get_args(Stage), 0.0)
        self._lock = threading.Lock()
        self._started = time.perf_counter()

    @contextlib.contextmanager
    def timed(self, stage: Stage) -> Generator[None]:
        """Count what happens inside towards a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)

    def add(self, stage: Stage, seconds: float) -> None:
        """Count seconds towards a stage."""
        with self._lock:
            self._seconds[stage] += seconds

    def read_off(self, threads: int, readers: int, on_device: bool) -> Stages:
        """Return the sums so far."""
        return Stages(
            read=self._seconds["read"],
            decode=self._seconds["decode"],
            forward=self._seconds["forward"],
            commit=self._seconds["commit"],
            wall=time.perf_counter() - self._started,
            threads=threads,
            readers=readers,
            on_device=on_device,
        )
