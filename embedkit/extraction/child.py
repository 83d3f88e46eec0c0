"""A child process that computes features for this one, and may die of it.

The child runs `child_main`. Both talk in lines of JSON over the child's standard input and output: first the settings,
then one request at a time, ``{"unit": [2, 8]}`` or ``{"rows": [...]}``; the child answers with any number of
``{"tick": [...]}`` and one ``{"done": {...}}`` or ``{"error": [type, message]}``. A plain process and not one of
`multiprocessing`, whose children may neither have children of their own nor start from any script.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from embedkit import errors
from embedkit.errors import EmbedkitError, WorkerDiedError
from embedkit.extraction.plan import PlanFile
from embedkit.extraction.report import Progress, Tick

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from embedkit.extraction.child_main import main; main()"
)

# How long a child that is told to end may take to commit what it has.
_LEAVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSettings:
    """How a child works.

    Attributes
    ----------
    plan : PlanFile
    device : str or None
        In place of the plan's.
    batch_size : int or None
    cores : tuple of int or None
        The cores that the child may use; None for all.
    """

    plan: PlanFile
    device: str | None = None
    batch_size: int | None = None
    cores: tuple[int, ...] | None = None

    def to_json(self) -> str:
        """Return the settings as one line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> ChildSettings:
        """Read what `to_json` returned."""
        record: dict[str, Any] = json.loads(line)
        cores = record["cores"]
        return cls(
            plan=PlanFile(**record["plan"]),
            device=record["device"],
            batch_size=record["batch_size"],
            cores=None if cores is None else tuple(cores),
        )


class Child:
    """The parent's end; a context manager. The process is started with the first request, and again after it died."""

    def __init__(self, settings: ChildSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(at_once=error is not None)

    @property
    def process(self) -> int | None:
        """The id of the child, while there is one."""
        return None if self._process is None else self._process.pid

    def extract(self, number: int, count: int, progress: Progress | None = None) -> dict[str, Any]:
        """Let the child do a unit; return the record of its `UnitResult`.

        Raises
        ------
        WorkerDiedError
            The child ended without an answer.
        EmbedkitError
            What the child raised.
        """
        return self._ask({"unit": [number, count]}, progress)

    def extract_rows(self, rows: Sequence[int]) -> dict[str, Any]:
        """Let the child do some rows; return ``digests``, ``failures`` by place, and how they were come by.

        Raises as `extract` does.
        """
        return self._ask({"rows": list(rows)}, None)

    def stop(self) -> None:
        """Tell the child to commit what it has and end; may be called from another thread."""
        process = self._process
        if process is not None:
            process.terminate()

    def close(self, *, at_once: bool = False) -> None:
        """End the child: after what it is doing, or at once, with what it has so far committed."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # closes the pipes
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            if at_once:
                process.terminate()
            try:
                process.wait(_LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def _ask(self, request: dict[str, Any], progress: Progress | None) -> dict[str, Any]:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._buried() from None
        for line in process.stdout:
            if not line.endswith("\n"):  # cut off by death
                break
            message: dict[str, Any] = json.loads(line)
            if "done" in message:
                return cast(dict[str, Any], message["done"])
            if "error" in message:
                raise _error_of(*message["error"])
            if progress is not None:
                progress(Tick(*message["tick"]))
        raise self._buried()

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the next request finds out
            process.stdin.write(self._settings.to_json() + "\n")
        return process

    def _buried(self) -> WorkerDiedError:
        process, self._process = self._process, None
        assert process is not None
        with process:
            code = process.wait()
        return WorkerDiedError(f"the process ended {_manner(code)} before it was done")


def _manner(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _error_of(name: str, message: str) -> EmbedkitError:
    """Return the error that a child raised, as the class it was where that takes a message alone."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, EmbedkitError):
        return kind(message)
    return EmbedkitError(f"{name}: {message}")
