"""Images that kill the process which decodes them, and decoding that takes its time, in every process of a test."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

POISON = b"the end of whoever reads this"
ROOT = Path(__file__).resolve().parent.parent

_SITE = """
import os, time
from embedkit.extraction import pipeline

plain = pipeline.decode

def decode(data, *arguments, **options):
    if {poison!r} in data:
        {kill}
    time.sleep({seconds})
    return plain(data, *arguments, **options)

pipeline.decode = decode
"""


def deadly_path(folder: Path, seconds: float = 0.0, kill: str = "os._exit(9)") -> str:
    """Return a PYTHONPATH under which Python processes die of POISON and decode slowly.

    Python imports ``sitecustomize`` before anything else, so nothing in embedkit has to know of this.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SITE.format(poison=POISON, seconds=seconds, kill=kill))
    return os.pathsep.join([str(folder), str(ROOT), str(ROOT / "cli")])


def poison(image: Path) -> None:
    """Make an image deadly; it stays a sound image otherwise."""
    image.write_bytes(image.read_bytes() + POISON)


@contextmanager
def killing(at_work: Callable[[], list[int]], times: int) -> Generator[list[int]]:
    """Kill processes as they are seen at work, each once, so many at most; yield those that were killed."""
    killed: list[int] = []
    done = threading.Event()

    def kill() -> None:
        while len(killed) < times and not done.wait(0.02):
            for process in [process for process in at_work() if process not in killed][:1]:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        done.set()
        killer.join()


def wait_for(condition, seconds: float = 120.0):
    """Return the first true answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")
