"""Units handed out to workers that may die: one process a device here, or the workers of a Ray or Dask cluster.

Whatever the workers are, each thread of `drive` hands one unit after another to one of them. A unit whose worker died
goes to the next, a bounded number of times: `units.UnitWorker` finds out by itself, from the second death on, which
image is to blame, so a unit that keeps dying beyond that is an error of the machine and not of an image.

Layer: extraction; above the rooms, below the embedder.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, cast, get_args

from embedkit.errors import UsageError, WorkerDiedError
from embedkit.extraction.child import Child, ChildSettings
from embedkit.extraction.plan import Plan
from embedkit.extraction.report import Progress, Tick
from embedkit.extraction.units import DEATHS, UnitResult

Cluster = Literal["ray", "dask"]

_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:[0-9]+)?")

# A unit may lose so many workers: those before it is done carefully, those that die along with the children that find
# out what kills them, and some that were killed by others.
ATTEMPTS = 2 * DEATHS + 4

# Units for each worker: enough that all of them end at about the same time.
_UNITS_A_WORKER = 4

# No unit is so small that starting it costs more than its images, and none so large that losing it hurts.
_MIN_ROWS, _MAX_ROWS = 16, 8192


class Worker(Protocol):
    """Whatever does units, one at a time."""

    def extract(self, number: int, count: int, progress: Progress | None = None) -> dict[str, Any]:
        """Do a unit and return the record of its `UnitResult`; `WorkerDiedError` when the worker died over it."""
        ...

    def stop(self) -> None:
        """End the worker as soon as it has committed what it has; another thread is waiting for its answer."""
        ...


def parse_devices(device: str) -> list[str]:
    """Return the devices that a user named, one or several: ``"cpu"``, ``"cuda:0,cuda:1"``.

    Whether they are there is for `all_devices` and `extract_on_devices` to say, which import torch.

    Raises
    ------
    UsageError
        No text, or no name of a device in it.
    """
    names = [name.strip() for name in device.split(",")] if isinstance(cast(object, device), str) else [""]
    if not all(_DEVICE.fullmatch(name) for name in names):
        raise UsageError(f"device is {device!r}, expected names such as 'auto', 'cpu', 'cuda' or 'cuda:0,cuda:1'")
    return names


def all_devices(names: list[str]) -> list[str]:
    """Return ``["cuda"]`` as all GPUs that are visible; anything else, or where there is none, as it is."""
    if names != ["cuda"]:
        return names
    from embedkit.backbones import available_devices

    return [name for name in available_devices() if name.startswith("cuda")] or names


def check_cluster(cluster: str | None, devices: Sequence[str]) -> None:
    """Refuse a cluster that there is not, and one together with several devices.

    Raises
    ------
    UsageError
    """
    if cluster is None:
        return
    if cluster not in get_args(Cluster):
        raise UsageError(f"cluster is {cluster!r}, expected 'ray' or 'dask'")
    if len(devices) > 1:
        raise UsageError("several devices and a cluster: name one device, which each worker of the cluster has")


def suggest_units(rows: int, workers: int) -> int:
    """Return into how many units rows are divided for some workers."""
    wanted = max(workers * _UNITS_A_WORKER, -(-rows // _MAX_ROWS))
    return max(1, min(wanted, -(-rows // _MIN_ROWS)))


def extract_on_devices(
    plan: Plan, devices: Sequence[str], *, batch_size: int | None = None, progress: Progress | None = None
) -> list[UnitResult]:
    """Do the units of a plan by one process a device, which share the cores of this machine.

    Parameters
    ----------
    plan : Plan
    devices : sequence of str
        As torch names them; one named twice has two processes.
    batch_size : int, optional
    progress : callable, optional

    Raises
    ------
    DeviceError
        A device is not there.
    WorkerDiedError
        A unit has lost too many processes, and no image is to blame.
    EmbedkitError
        What a process raised.
    """
    for device in devices:
        if device not in ("auto", "cpu"):  # said at once, and even when the others would have been enough
            from embedkit.backbones import resolve_device

            resolve_device(device)
    shares = _share_cores(len(devices))
    settings = [
        ChildSettings(plan=plan.file, device=device, batch_size=batch_size, cores=cores)
        for device, cores in zip(devices, shares, strict=True)
    ]

    def start(place: int) -> AbstractContextManager[Worker]:
        return Child(settings[place])

    return drive(plan, len(devices), start, progress)


def extract_on_cluster(
    plan: Plan, cluster: Cluster, *, device: str | None, batch_size: int | None, progress: Progress | None = None
) -> list[UnitResult]:
    """Do the units of a plan on the workers of a Ray or Dask cluster, which see the plan and its store.

    Parameters
    ----------
    plan : Plan
    cluster : {"ray", "dask"}
        The cluster that the engine's own configuration names (``RAY_ADDRESS``, ``DASK_SCHEDULER_ADDRESS``), or one of
        two workers on this machine.
    device : str or None
        Of each worker; None: the plan's.
    batch_size : int or None
    progress : callable, optional

    Raises
    ------
    MissingExtraError
        The engine is not installed.
    WorkerDiedError, EmbedkitError
        As for `extract_on_devices`.
    """
    if cluster == "dask":
        from embedkit.extraction.dask_engine import dask_workers as workers
    else:
        from embedkit.extraction.ray_engine import ray_workers as workers
    with workers(plan.file, plan.units, device=device, batch_size=batch_size) as (count, start):
        return drive(plan, count, start, progress)


def drive(
    plan: Plan,
    workers: int,
    start: Callable[[int], AbstractContextManager[Worker]],
    progress: Progress | None = None,
) -> list[UnitResult]:
    """Have all units of a plan done.

    Parameters
    ----------
    plan : Plan
    workers : int
        How many work at once.
    start : callable (place) -> context manager of Worker
        Starts the worker at a place, 0 to `workers` - 1.
    progress : callable, optional
        Called with the sum of what the workers say.

    Returns
    -------
    list of UnitResult
        In the order of the units.
    """
    board = _Board(plan, progress)
    running: dict[int, Worker] = {}

    def work(place: int) -> None:
        try:
            with start(place) as worker:
                running[place] = worker
                while (number := board.take()) is not None:
                    try:
                        done = worker.extract(number, plan.units, board.reporter(number))
                    except WorkerDiedError as error:
                        board.give_back(number, error)
                    else:
                        board.finish(UnitResult.from_dict(done))
        except BaseException:
            board.stop()
            raise

    with ThreadPoolExecutor(max(1, min(workers, plan.units)), thread_name_prefix="embedkit-unit") as executor:
        futures = [executor.submit(work, place) for place in range(min(workers, plan.units))]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            board.stop()
            for worker in list(running.values()):
                worker.stop()
            raise
    return board.results()


class _Board:
    """The units that wait, are under way and are done. Safe from several threads."""

    def __init__(self, plan: Plan, progress: Progress | None) -> None:
        self._plan = plan
        self._progress = progress
        self._waiting = deque(range(1, plan.units + 1))
        self._deaths: dict[int, int] = {}
        self._ticks: dict[int, Tick] = {}
        self._results: dict[int, UnitResult] = {}
        self._changed = threading.Condition()
        self._stopped = False

    def take(self) -> int | None:
        """Return the next unit; None when all are done, or everybody has to stop."""
        with self._changed:
            while not self._waiting and len(self._results) < self._plan.units and not self._stopped:
                self._changed.wait()  # somebody else's worker may die yet
            return self._waiting.popleft() if self._waiting and not self._stopped else None

    def give_back(self, number: int, error: WorkerDiedError) -> None:
        with self._changed:
            deaths = self._deaths[number] = self._deaths.get(number, 0) + 1
            if deaths >= ATTEMPTS:
                raise WorkerDiedError(
                    f"unit {number}/{self._plan.units} has lost {deaths} workers, the last one so: {error}; see their "
                    "logs: the machine may be out of memory"
                ) from error
            self._waiting.append(number)
            self._changed.notify_all()

    def finish(self, result: UnitResult) -> None:
        self._report(result.number, Tick(result.rows, result.rows, result.cache_hits, len(result.failures)))
        with self._changed:
            self._results[result.number] = result
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def reporter(self, number: int) -> Progress:
        return lambda tick: self._report(number, tick)

    def results(self) -> list[UnitResult]:
        return [self._results[number] for number in sorted(self._results)]

    def _report(self, number: int, tick: Tick) -> None:
        with self._changed:
            self._ticks[number] = tick
            if self._progress is not None:
                ticks = self._ticks.values()
                self._progress(
                    Tick(
                        len(self._plan.source),
                        sum(tick.done for tick in ticks),
                        sum(tick.found for tick in ticks),
                        sum(tick.failed for tick in ticks),
                    )
                )


def _share_cores(workers: int) -> list[tuple[int, ...] | None]:
    """Divide the cores of this process, so that threads of several processes do not fight for them."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * workers
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < workers:
        return [None] * workers
    bounds = [place * len(cores) // workers for place in range(workers + 1)]
    return [tuple(cores[bounds[place] : bounds[place + 1]]) for place in range(workers)]
