"""Progress of fits, in the terms in which the progress of images is told.

Layer: workflows; shared by those that fit.
"""

from __future__ import annotations

from typing import Literal

from embedkit.extraction import Progress, Tick


class FitTicks:
    """Counts fits that are done.

    Parameters
    ----------
    total : int
    progress : callable or None
        Called with a `Tick` now, and by `done`.
    of : {"fits", "epochs"}
    """

    def __init__(self, total: int, progress: Progress | None, of: Literal["fits", "epochs"] = "fits") -> None:
        self._total, self._done, self._progress = total, 0, progress
        self._of: Literal["fits", "epochs"] = of
        self._tell()

    def done(self) -> None:
        """Say that one more is done."""
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(Tick(self._total, min(self._done, self._total), 0, 0, of=self._of))
