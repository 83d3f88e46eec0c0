"""Units on the workers of a Dask cluster; the extra ``dask``.

Dask starts a worker that died anew by itself and gives its task to another, up to its own bound; then `drive` does. A
unit that Dask runs again although it was done returns at once.

Layer: extraction; above the rooms, below the embedder. Imports distributed when it is used.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from embedkit.errors import MissingExtraError, WorkerDiedError
from embedkit.extraction.plan import PlanFile
from embedkit.extraction.report import Progress
from embedkit.extraction.units import UnitWorker

# Workers of the cluster that is started here where none is configured.
_LOCAL_WORKERS = 2

# Units that are handed to the scheduler at once; it keeps what no worker has room for.
_AT_ONCE = 256

# A worker may run several tasks in threads, but one unit uses all its cores.
_one_unit_at_a_time = threading.Lock()


@contextmanager
def dask_workers(
    file: PlanFile, units: int, *, device: str | None, batch_size: int | None
) -> Generator[tuple[int, Callable[[int], AbstractContextManager[_DaskWorker]]]]:
    """Connect to the configured cluster, or start one; yield how many units are handed out at once, and to whom."""
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError("--cluster dask needs distributed; pip install 'embedkit[dask]'") from error
    dask: Any = distributed
    with _client(dask) as client:

        def extract(number: int, count: int) -> Any:
            return client.submit(_extract, file, device, batch_size, number, count, pure=False)

        worker = _DaskWorker(extract, dask.KilledWorker)
        yield min(units, _AT_ONCE), lambda place: nullcontext(worker)


class _DaskWorker:
    """Whichever worker the scheduler chooses."""

    def __init__(self, submit: Callable[[int, int], Any], killed: type[Exception]) -> None:
        self._submit = submit
        self._killed = killed
        self._waiting: set[Any] = set()

    def extract(self, number: int, count: int, progress: Progress | None = None) -> dict[str, Any]:
        """Do a unit; see `engines.Worker`."""
        future = self._submit(number, count)
        self._waiting.add(future)
        try:
            return future.result()
        except self._killed as error:
            raise WorkerDiedError("Dask has lost every worker that tried it") from error
        finally:
            self._waiting.discard(future)

    def stop(self) -> None:
        """Cancel what was not begun."""
        for future in list(self._waiting):
            future.cancel()


@contextmanager
def _client(dask: Any) -> Generator[Any]:
    from dask import config

    logging.getLogger("distributed").setLevel(logging.ERROR)  # what it starts and ends is not what was asked for
    configured: Any = config
    if configured.get("scheduler-address", None):
        with dask.Client() as client:
            yield client
        return
    with (
        dask.LocalCluster(
            n_workers=_LOCAL_WORKERS,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        dask.Client(cluster) as client,
    ):
        yield client


def _extract(file: PlanFile, device: str | None, batch_size: int | None, number: int, count: int) -> dict[str, Any]:
    """Do a unit, on a worker."""
    with _one_unit_at_a_time:
        return _unit_worker(file, device, batch_size).extract(number, count).to_dict()


@functools.lru_cache(maxsize=1)  # the backbone stays loaded from one unit to the next
def _unit_worker(file: PlanFile, device: str | None, batch_size: int | None) -> UnitWorker:
    return UnitWorker(file, device=device, batch_size=batch_size)
