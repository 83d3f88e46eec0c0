"""Where the time of a pass over images goes, stage by stage, and which stage holds it up.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

Stage = Literal["read", "decode", "forward", "commit"]

_DOING: dict[Stage, str] = {"read": "reading", "decode": "decoding", "forward": "computing", "commit": "committing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """What the threads of a pass were busy with.

    Attributes
    ----------
    read, decode, forward, commit : float
        Seconds, summed over threads: reading and hashing; decoding and resizing; in the network; writing to the store.
    wall : float
        Seconds that the pass took.
    threads : int
        Threads that read, decode and, on a CPU, compute; each keeps one core busy.
    readers : int
        Threads that read: these, or more that mostly wait, where the images lie at URLs.
    on_device : bool
        The network runs on a GPU, beside the threads.
    """

    read: float
    decode: float
    forward: float
    commit: float
    wall: float
    threads: int
    readers: int
    on_device: bool

    @property
    def bottleneck(self) -> str:
        """The stage that used most of what it had, in words: ``"decode-bound: 1.9 of 2 cores decoding"``."""
        shares: dict[Stage, float] = {
            "read": self.read / self.readers,
            "decode": self.decode / self.threads,
            "forward": self.forward if self.on_device else self.forward / self.threads,
            "commit": self.commit,
        }
        stage = max(shares, key=lambda name: shares[name])
        busy = shares[stage] / self.wall
        if stage == "commit" or (stage == "forward" and self.on_device):
            return f"{stage}-bound: {_DOING[stage]} {min(busy, 1.0):.0%} of the time"
        if stage == "read" and self.readers > self.threads:
            return f"read-bound: {min(busy, 1.0) * self.readers:.0f} of {self.readers} readers busy"
        return f"{stage}-bound: {min(busy, 1.0) * self.threads:.1f} of {self.threads} cores {_DOING[stage]}"

    def to_dict(self) -> dict[str, float | int | str]:
        """Return plain JSON values."""
        return {
            "read": self.read,
            "decode": self.decode,
            "forward": self.forward,
            "commit": self.commit,
            "wall": self.wall,
            "threads": self.threads,
            "readers": self.readers,
            "bottleneck": self.bottleneck,
        }


class Stopwatch:
    """Adds up the seconds of stages, from any thread."""

    def __init__(self) -> None:
        self._seconds: dict[Stage, float] = dict.fromkeys(_DOING, 0.0)
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
