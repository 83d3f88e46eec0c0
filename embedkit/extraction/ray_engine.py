"""Units on the actors of a Ray cluster, one a device; the extra ``ray``.

An actor that died is not restarted by Ray, whose own retries know no bound by default: `drive` hands its unit out
again, a bounded number of times, and a new actor takes it.

Layer: extraction; above the rooms, below the embedder. Imports ray when it is used.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from typing import Any

from embedkit.errors import EmbedkitError, MissingExtraError, WorkerDiedError
from embedkit.extraction.plan import PlanFile
from embedkit.extraction.report import Progress
from embedkit.extraction.units import UnitWorker

# Actors on a single machine without GPUs: one goes on while the other is replaced.
_LEAST_ACTORS = 2


@contextmanager
def ray_workers(
    file: PlanFile, units: int, *, device: str | None, batch_size: int | None
) -> Generator[tuple[int, Callable[[int], AbstractContextManager[_RayWorker]]]]:
    """Connect to the configured cluster, or start one; yield how many actors it has room for, and how one starts.

    A GPU takes one actor; without GPUs, each machine does, and a single one two.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--cluster ray needs ray; pip install 'embedkit[ray]'") from error
    engine: Any = ray
    ours = not engine.is_initialized()
    with redirect_stdout(sys.stderr):  # Ray tells of dead workers on stdout, which belongs to results
        if ours:
            engine.init(log_to_driver=False, logging_level=logging.ERROR)
        try:
            gpus = int(engine.cluster_resources().get("GPU", 0))
            machines = sum(bool(node["Alive"]) for node in engine.nodes())
            count = gpus or max(machines, _LEAST_ACTORS)
            actor = engine.remote(_Actor).options(num_cpus=0, num_gpus=1 if gpus else 0, max_restarts=0)

            @contextmanager
            def start(place: int) -> Generator[_RayWorker]:
                worker = _RayWorker(engine, lambda: actor.remote(file, device, batch_size))
                try:
                    yield worker
                finally:
                    worker.stop()

            yield min(count, units), start
        finally:
            if ours:
                engine.shutdown()


class _RayWorker:
    """One actor, or its successor."""

    def __init__(self, engine: Any, create: Callable[[], Any]) -> None:
        self._engine = engine
        self._create = create
        self._actor: Any = None

    def extract(self, number: int, count: int, progress: Progress | None = None) -> dict[str, Any]:
        """Do a unit; see `engines.Worker`."""
        if self._actor is None:
            self._actor = self._create()
        try:
            return self._engine.get(self._actor.extract.remote(number, count))
        except self._engine.exceptions.RayActorError as error:
            self._actor = None
            raise WorkerDiedError(f"its actor died ({type(error).__name__})") from error
        except self._engine.exceptions.RayTaskError as error:
            if isinstance(error.cause, EmbedkitError):
                raise error.cause from error
            raise

    def stop(self) -> None:
        """End the actor."""
        actor, self._actor = self._actor, None
        if actor is not None:
            with suppress(Exception):  # it may be dead already, or the cluster gone
                self._engine.kill(actor)


class _Actor:
    """Does units with the backbone loaded once."""

    def __init__(self, file: PlanFile, device: str | None, batch_size: int | None) -> None:
        self._settings = (file, device, batch_size)
        self._worker: UnitWorker | None = None

    def extract(self, number: int, count: int) -> dict[str, Any]:
        """Do a unit."""
        if self._worker is None:  # here and not before, so that its errors come back as those of a task
            file, device, batch_size = self._settings
            self._worker = UnitWorker(file, device=device, batch_size=batch_size)
        return self._worker.extract(number, count).to_dict()
