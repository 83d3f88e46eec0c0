"""Extraction by several workers, from Python."""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest

from embedkit import EmbedkitError, extract, extract_planned, extract_unit, extraction_status, plan_extraction
from embedkit.backbones import FeatureRequest
from embedkit.backbones.choice import FEW_IMAGES
from embedkit.errors import StoreNotFoundError, UsageError
from embedkit.extraction import RequestMemo, engines, resolve
from embedkit.images import memo
from embedkit.store import FeatureStore
from embedkit.workflows import workers
from tests.photos import MODEL, make_folder, make_photo


@pytest.fixture
def photos(tmp_path):
    folder = make_folder(tmp_path / "photos", {"red": 20, "green": 20})
    (folder / "red" / "007.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def nobody(monkeypatch):
    """Whoever starts a worker fails."""

    def drive(*arguments: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(engines, "drive", drive)


@pytest.fixture
def settled(monkeypatch):
    """Let files be remembered that are new."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 60_000_000_000)
    monkeypatch.setattr(memo, "file_system_time", lambda _: None)


def test_nobody_is_started_when_all_is_there(photos, tmp_path, nobody, settled):
    first = extract(photos, "pixels32", store=tmp_path / "store")
    again = extract(photos, "pixels32", store=tmp_path / "store", device="cpu,cpu", output=tmp_path / "f.h5")
    assert (first.forward_passes, again.forward_passes, again.cache_hits, len(again.skipped)) == (39, 0, 39, 1)
    for changed in ({"rehash": True}, {"resize": "exact"}):
        with pytest.raises(AssertionError, match="a worker was started"):
            extract(photos, "pixels32", store=tmp_path / "store", device="cpu,cpu", **changed)
    (photos / "green" / "new.png").write_bytes((photos / "green" / "000.png").read_bytes())
    with pytest.raises(AssertionError, match="a worker was started"):
        extract(photos, "pixels32", store=tmp_path / "store", device="cpu,cpu")


def test_auto_is_settled_for_all_images_however_they_are_divided(tmp_path):
    folder = make_folder(tmp_path / "photos", {"many": FEW_IMAGES})
    for units in (1, 50):
        store, plan = tmp_path / f"store{units}", tmp_path / f"P{units}.json"
        planned = plan_extraction(folder, MODEL, plan, weights="random", engine="torch", units=units, store=store)
        assert "torch fp32" in planned.choice  # what was tried, with its time
        # The resolution of the plan is that of each unit.
        unit = extract_unit(plan, 1, units * 10)
        assert (unit.fingerprint, unit.choice) == (planned.fingerprint, planned.choice)
    several = extract(
        folder, MODEL, weights="random", engine="torch", store=tmp_path / "several", device="cpu,cpu", batch_size=8
    )
    assert "torch fp32" in several.choice


def test_a_store_that_is_not_there_is_not_replaced_by_an_empty_one(photos, tmp_path):
    plan, store = tmp_path / "P.json", tmp_path / "shared" / "store"
    plan_extraction(photos, "pixels32", plan, store=store)
    extract_unit(plan, 1, 2)
    store.parent.rename(tmp_path / "unmounted")
    calls = (lambda **o: extract_unit(plan, 2, 2, **o), lambda **o: extraction_status(plan, **o))
    for call in (*calls, lambda **o: extract_planned(plan, output=tmp_path / "f.h5", **o)):
        with pytest.raises(StoreNotFoundError, match=r"shared/store, which all who .*P\.json share; mount it"):
            call()
        with pytest.raises(StoreNotFoundError, match="typo"):
            call(store=tmp_path / "typo")
    assert not store.parent.exists()
    assert not (tmp_path / "typo").exists()
    (tmp_path / "new").mkdir()  # a folder that the user names, and made
    assert extract_unit(plan, 2, 2, store=tmp_path / "new").forward_passes == 19
    assert extract_unit(plan, 2, 2, store=tmp_path / "unmounted" / "store").forward_passes == 19
    (tmp_path / "unmounted").rename(store.parent)
    assert extraction_status(plan).complete


@pytest.mark.parametrize("device", ["cpu", "cpu,cpu"])
def test_the_numbers_of_a_report_add_up(photos, tmp_path, device):
    shutil.copy(photos / "red" / "000.png", photos / "red" / "001.png")
    shutil.copy(photos / "red" / "000.png", photos / "green" / "copy.png")
    (photos / "red" / "002.png").unlink()
    (photos / "red" / "002.png").symlink_to("gone.png")
    for passes in (37, 0):
        done = extract(photos, "pixels32", store=tmp_path / "store", device=device)
        assert (done.images, done.forward_passes, len(done.skipped)) == (41, passes, 2)
        assert done.images == done.forward_passes + done.cache_hits + done.copies + len(done.skipped)
        assert done.to_dict()["copies"] == done.copies


def test_images_in_memory_have_one_process(tmp_path):
    with pytest.raises(UsageError, match="in the memory of this process.* or use one device"):
        extract([make_photo(0)], "pixels32", store=tmp_path / "store", device="cpu,cpu")
    with pytest.raises(UsageError, match="in the memory of this process"):
        plan_extraction(np.zeros((2, 9, 9, 3), np.uint8), "pixels32", tmp_path / "P.json", store=tmp_path / "store")


def test_arguments_that_cannot_be_honoured(photos, tmp_path):
    with pytest.raises(UsageError, match="a plan is made on one device"):
        plan_extraction(photos, "pixels32", tmp_path / "P.json", store=tmp_path / "store", device="cpu,cpu")
    with pytest.raises(EmbedkitError, match=r"photos.csv is no name of a feature file"):
        extract(photos, "pixels32", store=tmp_path / "store", device="cpu,cpu", output="photos.csv")
    with pytest.raises(UsageError, match="a unit is done on one device"):
        extract_unit(tmp_path / "P.json", 1, 1, device="cpu,cpu")


@pytest.mark.parametrize("warm", [False, True])
def test_what_can_be_refused_at_once_is_whatever_the_store_holds(photos, tmp_path, warm):
    store = tmp_path / "store"
    if warm:
        extract(photos, "pixels32", store=store)
    plan_extraction(photos, "pixels32", tmp_path / "P.json", store=tmp_path / "other")
    for wrong, message in (
        ({"cluster": "slurm"}, "cluster is 'slurm', expected 'ray' or 'dask'"),
        ({"cluster": "dask", "device": "cpu,cpu"}, "several devices and a cluster"),
        ({"device": 5}, "device is 5, expected names such as"),
        ({"device": "cpu,tpu"}, "device is 'cpu,tpu', expected names such as"),
        ({"device": "cpu,cpu", "batch_size": 0}, "batch_size is 0"),
    ):
        with pytest.raises(UsageError, match=message):
            extract(photos, "pixels32", store=store, **wrong)
        with pytest.raises(UsageError, match=message):
            extract_planned(tmp_path / "P.json", **wrong)
    with pytest.raises(UsageError, match="device is 5"):
        plan_extraction(photos, "pixels32", tmp_path / "Q.json", store=store, device=5)
    with pytest.raises(UsageError, match="device is 5"):
        extract_unit(tmp_path / "P.json", 1, 1, device=5)
    assert store.exists() == warm


def test_nobody_asks_for_gpus_when_all_is_there(photos, tmp_path, monkeypatch, nobody, settled):
    store = FeatureStore(tmp_path / "store")
    extract(photos, "pixels32", store=store.path)
    on_gpu = FeatureRequest("pixels32", device="cuda")
    resolution, _ = resolve(FeatureRequest("pixels32"), store)
    RequestMemo(store.memo_folder).record(on_gpu, resolution, [])  # as if this machine had one

    def asked(names):
        raise AssertionError("devices were asked for")

    monkeypatch.setattr(workers, "all_devices", asked)
    assert extract(photos, "pixels32", store=store.path, device="cuda").cache_hits == 39
    with pytest.raises(AssertionError, match="devices were asked for"):
        extract(photos, "pixels32", store=store.path, device="cuda", rehash=True)
