"""What a child process runs: it does units or rows of a plan for its parent (see `child` for how they talk).

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from types import FrameType
from typing import Any, TextIO

from embedkit.extraction.child import ChildSettings
from embedkit.extraction.report import Extraction, Tick
from embedkit.extraction.units import UnitWorker
from embedkit.text import log_to_stderr


def main() -> None:
    """Answer requests from standard input until there are no more."""
    log_to_stderr()
    ours, interrupted = os.getpid(), False

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != ours:  # a library has forked: its process ends as if nobody had interfered
            os._exit(128 + number)
        nonlocal interrupted
        if not interrupted:  # once is enough: then what was computed is being committed
            interrupted = True
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    # Whatever libraries print goes to stderr; the answers have the pipe for themselves.
    pipe = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(pipe, "w", encoding="utf-8") as answers:
            _serve(sys.stdin, answers)
    except (KeyboardInterrupt, BrokenPipeError):  # the parent is ending, or gone
        os._exit(130)  # what was computed is committed; threads of libraries are not waited for


def _serve(requests: TextIO, answers: TextIO) -> None:
    settings = ChildSettings.from_json(requests.readline())
    if settings.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, settings.cores)
    worker: UnitWorker | None = None

    def say(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def tick(tick: Tick) -> None:
        say({"tick": [tick.total, tick.done, tick.found, tick.failed]})

    for line in requests:
        request: dict[str, Any] = json.loads(line)
        try:
            if worker is None:
                worker = UnitWorker(settings.plan, device=settings.device, batch_size=settings.batch_size)
            if "unit" in request:
                number, count = request["unit"]
                say({"done": worker.extract(number, count, tick).to_dict()})
            else:
                say({"done": _plain(worker.extract_rows(request["rows"], worker.plan.source.name))})
        except Exception as error:
            say({"error": [type(error).__name__, str(error) or repr(error)]})


def _plain(extraction: Extraction) -> dict[str, Any]:
    return {
        "digests": [digest.tobytes().hex() for digest in extraction.digests],
        "failures": {str(place): reason for place, reason in extraction.failures.items()},
        "forward_passes": extraction.forward_passes,
        "cache_hits": extraction.cache_hits,
        "copies": extraction.copies,
    }
