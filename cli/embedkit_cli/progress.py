"""A bar on stderr that shows where an extraction stands; silent when stderr is no terminal.

Layer: cli; public names of embedkit only.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedkit import Tick


class ProgressBar:
    """The `progress` argument of embedkit's functions: rate, time left, what was found and what failed."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, tick: Tick) -> None:
        """Show a tick; the bar appears with the first image that is not found in the store."""
        if self._bar is None:
            if tick.done == tick.total or not sys.stderr.isatty():
                return
            from tqdm import tqdm

            self._bar = tqdm(total=tick.total, initial=tick.done, unit="img", file=sys.stderr)
        self._bar.update(tick.done - self._bar.n)
        self._bar.set_postfix(found=tick.found, failed=tick.failed, refresh=False)
        if tick.done == tick.total:
            self._bar.close()
            self._bar = None
