"""Handing out units to workers that may die."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.backbones import FeatureRequest
from embedkit.errors import UsageError, WeightsError, WorkerDiedError
from embedkit.extraction import Tick, engines, resolve, run
from embedkit.extraction.engines import (
    ATTEMPTS,
    all_devices,
    check_cluster,
    drive,
    extract_on_devices,
    parse_devices,
    suggest_units,
)
from embedkit.extraction.plan import write_plan
from embedkit.extraction.status import plan_status, planned_extraction
from embedkit.extraction.units import UnitResult
from embedkit.images import open_source
from embedkit.store import FeatureStore
from tests.deadly import deadly_path, killing, poison
from tests.photos import make_folder
from tests.stores import new_store

REQUEST = FeatureRequest("pixels32")


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "photos", {"red": 20, "green": 20})


def make(tmp_path, target, units):
    store = FeatureStore(tmp_path / "store")
    resolution, _ = resolve(REQUEST, store)
    return write_plan(tmp_path / "P.json", open_source(target), REQUEST, resolution, store, units=units)


def test_devices_by_name(monkeypatch):
    assert parse_devices("cpu") == ["cpu"]
    assert parse_devices("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]
    assert parse_devices("auto") == ["auto"]
    assert parse_devices("cuda") == ["cuda"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert all_devices(["cuda"]) == ["cuda:0", "cuda:1", "cuda:2"]
    assert all_devices(["cuda:1"]) == ["cuda:1"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert all_devices(["cuda"]) == ["cuda"]  # and loading the backbone says that there is none
    for wrong in ("", "cpu,,cpu", ",", "cpu,gpu", "cuda:", "cuda:x", 5, None, ["cpu"]):
        with pytest.raises(UsageError, match="expected names such as"):
            parse_devices(wrong)


def test_clusters_by_name():
    check_cluster(None, ["cpu", "cpu"])
    check_cluster("ray", [])
    check_cluster("dask", ["cuda"])
    for wrong in ("slurm", "", 3):
        with pytest.raises(UsageError, match="expected 'ray' or 'dask'"):
            check_cluster(wrong, [])
    with pytest.raises(UsageError, match="several devices and a cluster"):
        check_cluster("dask", ["cpu", "cpu"])


@given(rows=st.integers(1, 10**7), workers=st.integers(1, 64))
def test_units_are_neither_tiny_nor_huge(rows, workers):
    units = suggest_units(rows, workers)
    assert units >= 1
    assert units == 1 or rows / units >= 8
    assert rows / units <= 8192


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_cores_are_shared_out(workers, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 2, 5, 7}, raising=False)
    shares = engines._share_cores(workers)
    assert sorted(core for share in shares for core in share) == [1, 2, 5, 7]
    assert len(shares) == workers
    assert engines._share_cores(9) == [None] * 9


class Fake:
    """A worker that dies over some units, so many times each."""

    def __init__(self, deadly, done):
        self.deadly, self.done, self.stopped = deadly, done, threading.Event()

    def extract(self, number, count, progress=None):
        if self.deadly.get(number, 0):
            self.deadly[number] -= 1
            raise WorkerDiedError("it fell")
        progress(Tick(2, 1, 1, 0))
        self.done.append(number)
        return UnitResult(number=number, count=count, rows=2, cache_hits=1).to_dict()

    def stop(self):
        self.stopped.set()


def starting(worker):
    @contextmanager
    def start(place):
        yield worker

    return start


def test_each_unit_is_done_once_though_workers_die(tmp_path, folder):
    plan, ticks = make(tmp_path, folder, 20), []
    worker = Fake({3: ATTEMPTS - 1, 20: 1}, [])
    results = drive(plan, 4, starting(worker), ticks.append)
    assert sorted(worker.done) == [result.number for result in results] == list(range(1, 21))
    assert (ticks[-1].total, ticks[-1].done, ticks[-1].found) == (40, 40, 20)


def test_a_unit_that_keeps_dying_is_an_error(tmp_path, folder):
    plan = make(tmp_path, folder, 5)
    with pytest.raises(WorkerDiedError, match=f"unit 3/5 has lost {ATTEMPTS} workers, the last one so: it fell"):
        drive(plan, 2, starting(Fake({3: 1000}, [])))


def test_an_error_stops_all_workers(tmp_path, folder):
    plan = make(tmp_path, folder, 4)

    class Failing(Fake):
        def extract(self, number, count, progress=None):
            if number == 2:
                raise WeightsError("not these")
            assert self.stopped.wait(60)
            raise WorkerDiedError("stopped")

    worker = Failing({}, [])
    with pytest.raises(WeightsError, match="not these"):
        drive(plan, 2, starting(worker))
    assert worker.stopped.is_set()


def test_processes_that_are_killed_while_they_work(tmp_path, folder, monkeypatch):
    """Two devices; whoever is seen at work is killed, three in all, and one image kills by itself."""
    poison(folder / "red" / "007.png")
    plan = make(tmp_path, folder, 4)
    store = FeatureStore(plan.store)
    monkeypatch.setenv("PYTHONPATH", deadly_path(tmp_path / "site", seconds=0.2))

    def at_work():
        workers = [unit.worker for unit in plan_status(plan, store).units if unit.worker]
        return [int(worker.rpartition(":")[2]) for worker in workers]

    with killing(at_work, times=3) as killed:
        results = extract_on_devices(plan, ["cpu", "cpu"])
    assert killed
    row = plan.source.keys.index("red/007.png")
    failures = {row: text for result in results for row, text in result.failures.items()}
    assert list(failures) == [row]
    assert "it kills the process that reads it" in failures[row]
    done = planned_extraction(plan, store)
    assert list(done.failures) == [row]
    monkeypatch.undo()
    expected = run(plan.source, REQUEST, new_store())
    np.testing.assert_array_equal(
        done.features.get(done.digests[done.rows]), expected.features.get(expected.digests[done.rows])
    )


def test_errors_of_a_process_are_errors_here(tmp_path, folder):
    plan = make(tmp_path, folder, 2)
    for part in ("embedkit-store.json", "features", "memo"):
        target = plan.store / part
        if target.is_file():
            target.write_text("no store")
    from embedkit.errors import StoreFormatError

    with pytest.raises(StoreFormatError, match="embedkit-store.json is damaged"):
        extract_on_devices(plan, ["cpu", "cpu"])
