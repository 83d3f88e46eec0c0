"""Where a run stands, on stderr: a bar on a terminal, else a line every half a minute, or JSON for machines.

Layer: cli; public names of embedkit only.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from embedkit.render import duration
from embedkit_cli.log import is_json, say

if TYPE_CHECKING:
    from embedkit import Tick

_EVERY = 30.0
"""Seconds between two lines without a terminal."""

_WIDTH = 80
"""Of a terminal that says it has none."""


_ROWS = 20


class ProgressBar:
    """The `progress` argument of embedkit's functions: rate, time left, what was found and what failed.

    A stage (the images, then the fits) appears with its first tick that leaves something to do.
    """

    def __init__(self, every: float = _EVERY) -> None:
        self._stage: _Stage | None = None
        self._every = every

    def __call__(self, tick: Tick) -> None:
        """Show a tick."""
        if self._stage is not None and self._stage.of != tick.of:
            self._end(None)
        if self._stage is None:
            if tick.done == tick.total:
                return
            on_terminal = sys.stderr.isatty() and not is_json()
            self._stage = _Bar(tick) if on_terminal else _Lines(tick, self._every)
        self._stage.show(tick)
        if tick.done == tick.total:
            self._end(tick)

    def _end(self, tick: Tick | None) -> None:
        if self._stage is not None:
            self._stage.end(tick)
        self._stage = None


class _Stage:
    def __init__(self, first: Tick) -> None:
        self.of = first.of

    def show(self, tick: Tick) -> None:
        raise NotImplementedError

    def end(self, tick: Tick | None) -> None:
        raise NotImplementedError


class _Bar(_Stage):
    def __init__(self, first: Tick) -> None:
        from tqdm import tqdm

        super().__init__(first)
        try:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or _WIDTH
        except (OSError, ValueError):
            width = _WIDTH
        unit = "img" if first.of == "images" else first.of.removesuffix("s")
        # tqdm hides bars below the last row of the terminal, which may say that it has none, too.
        self._bar: Any = tqdm(
            total=first.total, initial=first.done, unit=unit, file=sys.stderr, ncols=width, nrows=_ROWS
        )

    def show(self, tick: Tick) -> None:
        self._bar.update(tick.done - self._bar.n)
        if tick.of == "images":
            self._bar.set_postfix(found=tick.found, failed=tick.failed, refresh=False)

    def end(self, tick: Tick | None) -> None:
        self._bar.close()


class _Lines(_Stage):
    """A line every so often, from a thread of its own: a fit that takes minutes says nothing by itself."""

    def __init__(self, first: Tick, every: float) -> None:
        super().__init__(first)
        self._first, self._last, self._started = first, first, time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._speak, args=(every,), daemon=True).start()
        if is_json():
            self._say()

    def show(self, tick: Tick) -> None:
        self._last = tick

    def end(self, tick: Tick | None) -> None:
        self._ended.set()
        if is_json():
            self._say()

    def _speak(self, every: float) -> None:
        while not self._ended.wait(every):
            self._say()

    def _say(self) -> None:
        tick, seconds = self._last, time.monotonic() - self._started
        rate = (tick.done - self._first.done) / seconds if seconds > 0 else 0.0
        left = (tick.total - tick.done) / rate if rate > 0 else None
        pace = "" if left is None else f", {rate:.1f}/s" if rate >= 1 else f", {1 / rate:.1f} s each"
        beside = f"; {tick.found:,} found, {tick.failed:,} failed" if tick.of == "images" else ""
        say(
            "progress",
            f"{tick.done:,} of {tick.total:,} {tick.of}{pace}"
            f"{'' if left is None else f', {duration(left)} left'}{beside}",
            of=tick.of,
            done=tick.done,
            total=tick.total,
            found=tick.found,
            failed=tick.failed,
            rate=round(rate, 3),
            seconds_left=None if left is None else round(left, 1),
        )
