"""Shards at URLs: the features, rows and ledger that the same shards give on a local disk, in one pass or by a plan."""

from __future__ import annotations

import io
import shutil
import tarfile
import threading

import numpy as np
import pytest

from embedkit.backbones import FeatureRequest
from embedkit.extraction import resolve, run
from embedkit.extraction.plan import PlanFile, write_plan
from embedkit.extraction.status import planned_extraction
from embedkit.extraction.units import UnitWorker
from embedkit.images import open_source, remote, remote_file
from embedkit.store import FeatureStore
from tests.bucket import Bucket, new_bucket
from tests.photos import MODEL, make_photo
from tests.stores import new_store

REQUEST = FeatureRequest(MODEL, weights="random", precision="fp32", engine="torch")
FILES = Bucket()


def add(tar, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Three shards of ten images and one that is none, here and at a URL; the last is cut short."""
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 1 << 12)
    url, folder = new_bucket(), tmp_path / "shards"
    folder.mkdir()
    for shard in range(3):
        path = folder / f"s-{shard}.tar"
        with tarfile.open(path, "w") as tar:
            for number in range(10):
                file = io.BytesIO()
                make_photo(10 * shard + number, tint=number).save(file, "JPEG")
                add(tar, f"../{number:03d}.jpg", file.getvalue())
                add(tar, f"../{number:03d}.cls", b"%d" % (number % 3))
                if number == 4:
                    add(tar, "../bad.jpg", b"no image")
        if shard == 2:
            path.write_bytes(path.read_bytes()[:-18000])
        FILES.pipe(f"{url}/{path.name}", path.read_bytes())
    return folder, url


def features_of(extraction):
    return extraction.features.get(extraction.digests[extraction.rows])


def test_features_and_rows_are_those_of_local_shards(shards):
    folder, url = shards
    here, there = open_source(folder), open_source(f"{url}/s-{{0..2}}.tar")
    assert (here.keys, here.labels, here.failures) == (there.keys, there.labels, there.failures)
    assert here.failures[0][1].startswith("cut short or damaged after")
    assert here.keys[5] == "s-0.tar/../bad.jpg"
    local = run(here, REQUEST, new_store(), batch_size=4)
    remote_ = run(there, REQUEST, new_store(), batch_size=4)
    np.testing.assert_array_equal(local.digests, remote_.digests)
    np.testing.assert_array_equal(features_of(local), features_of(remote_))
    assert local.failures == remote_.failures
    assert len(local.failures) >= 2


def test_a_second_run_makes_no_pass(shards, tmp_path):
    store = FeatureStore(tmp_path / "store")
    first = run(open_source(shards[1]), REQUEST, store)
    second = run(open_source(shards[1]), REQUEST, store)
    assert first.forward_passes > 20
    assert (second.forward_passes, second.cache_hits) == (0, first.forward_passes)


def test_what_cannot_be_read_is_in_the_ledger_and_tried_again(shards, tmp_path):
    store, source = FeatureStore(tmp_path / "store"), open_source(shards[1])
    remote_file._recent.forget(f"{shards[1]}/s-1.tar")

    def fault(request):
        if request[0].endswith("s-1.tar"):
            raise ConnectionError("reset by peer")

    Bucket.fault = fault
    torn = run(source, REQUEST, store)
    unread = [row for row, reason in torn.failures.items() if "ConnectionError: reset by peer" in reason]
    assert [source.keys[row].split("/")[0] for row in unread] == ["s-1.tar"] * 11
    Bucket.fault = None
    whole = run(source, REQUEST, store)
    assert whole.forward_passes == 10
    assert set(torn.failures) - set(whole.failures) == set(unread) - {unread[5]}
    np.testing.assert_array_equal(features_of(whole), features_of(run(open_source(shards[0]), REQUEST, new_store())))


def test_many_requests_are_under_way_at_once():
    url, together = new_bucket(), threading.Barrier(48)
    for number in range(96):
        file = io.BytesIO()
        make_photo(number).save(file, "PNG")
        FILES.pipe(f"{url}/{number:02d}.png", file.getvalue())

    def wait_for_the_others(request):
        together.wait(timeout=60)

    Bucket.fault = wait_for_the_others
    done = run(open_source(url), REQUEST, new_store())
    assert (done.forward_passes, done.failures) == (96, {})
    assert done.stages.readers >= 48


@pytest.mark.parametrize("target", ["", "/s-0.tar", "/s-*.tar"])
def test_a_plan_of_remote_shards(shards, tmp_path, target):
    folder, url = shards
    store = FeatureStore(tmp_path / "store")
    resolution, _ = resolve(REQUEST, store)
    source = open_source(url + target)
    plan = write_plan(tmp_path / "P.json", source, REQUEST, resolution, store)
    again = plan.file.read().source
    assert (again.keys, again.images, again.failures) == (source.keys, source.images, source.failures)
    assert plan.sizes == [ref.size for ref in source.images]
    for number in (2, 1):
        assert UnitWorker(plan.file).extract(number, 2).forward_passes > 0
    done = planned_extraction(plan, FeatureStore(plan.store))
    expected = run(open_source(f"{folder}{target}"), REQUEST, new_store())
    np.testing.assert_array_equal(features_of(done), features_of(expected))
    assert done.failures == expected.failures
    for root in (f"{url}-moved", str(tmp_path / "moved")):
        moved = PlanFile(path=plan.file.path, root=root).read().source
        assert [ref.archive for ref in moved.images] == [ref.archive.replace(url, root) for ref in source.images]
    shutil.copytree(folder, tmp_path / "moved")
    moved = PlanFile(path=plan.file.path, root=str(tmp_path / "moved")).read().source
    np.testing.assert_array_equal(features_of(run(moved, REQUEST, new_store())), features_of(expected))


def test_a_plan_of_remote_parquet(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    url, file, images = new_bucket(), io.BytesIO(), []
    for number in range(6):
        images.append(io.BytesIO())
        make_photo(number).save(images[-1], "JPEG")
    pq.write_table(pa.table({"image": [image.getvalue() for image in images]}), file, row_group_size=2)
    FILES.pipe(f"{url}/a.parquet", file.getvalue())
    (tmp_path / "a.parquet").write_bytes(file.getvalue())
    store, source = FeatureStore(tmp_path / "store"), open_source(f"{url}/a.parquet")
    resolution, _ = resolve(REQUEST, store)
    plan = write_plan(tmp_path / "P.json", source, REQUEST, resolution, store)
    assert UnitWorker(plan.file).extract(1, 1).forward_passes == 6
    done = planned_extraction(plan, FeatureStore(plan.store))
    expected = run(open_source(tmp_path / "a.parquet"), REQUEST, new_store())
    np.testing.assert_array_equal(features_of(done), features_of(expected))
    FILES.pipe(f"{url}-moved/a.parquet", file.getvalue())
    moved = PlanFile(path=plan.file.path, root=f"{url}-moved").read().source
    assert list(moved.images) == list(source.images)
