"""Units: done once, wherever and however often they are run; what kills its process is found."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest

from embedkit.backbones import FeatureRequest
from embedkit.errors import IncompletePlanError, SourceNotFoundError, SpecMismatchError
from embedkit.extraction import resolve, run
from embedkit.extraction.plan import PlanFile, write_plan
from embedkit.extraction.records import Records
from embedkit.extraction.status import plan_status, planned_extraction
from embedkit.extraction.units import DEATHS, UnitResult, UnitWorker
from embedkit.images import open_source
from embedkit.store import FeatureStore
from tests.deadly import deadly_path, poison
from tests.photos import MODEL, make_folder, make_manifest, make_photo
from tests.stores import new_store

REQUEST = FeatureRequest("pixels32")


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "photos", {"red": 5, "green": 6})


@pytest.fixture
def plan(tmp_path, folder):
    return make(tmp_path, folder)


def make(tmp_path, target, request=REQUEST, **options):
    store = FeatureStore(tmp_path / "store")
    resolution, _ = resolve(request, store)
    return write_plan(tmp_path / "P.json", open_source(target), request, resolution, store, **options)


def expected_features(plan):
    done = run(plan.source, REQUEST, new_store())
    return done.features.get(done.digests[done.rows])


def features_of(extraction):
    return extraction.features.get(extraction.digests[extraction.rows])


def test_units_add_up_to_one_extraction(plan):
    with pytest.raises(
        IncompletePlanError, match=r"11 of 11 images of .*P.json are missing \(first: 'green/000.png'\)"
    ):
        planned_extraction(plan, FeatureStore(plan.store))
    for number in (2, 3, 1):
        result = UnitWorker(plan.file).extract(number, 3)
        assert (result.rows, result.forward_passes, result.cache_hits) == (len(plan.unit(number, 3)),) * 2 + (0,)
        assert UnitResult.from_dict(result.to_dict()) == result
    done = planned_extraction(plan, FeatureStore(plan.store))
    np.testing.assert_array_equal(features_of(done), expected_features(plan))


def test_a_unit_that_is_done_reads_nothing(plan, folder):
    worker = UnitWorker(plan.file)
    worker.extract(1, 2)
    shutil.rmtree(folder)
    for again in (worker, UnitWorker(plan.file)):
        result = again.extract(1, 2)
        assert (result.forward_passes, result.cache_hits, result.failures) == (0, 5, {})
    with pytest.raises(SourceNotFoundError):
        worker.extract(2, 2)


def test_a_root_that_is_not_there_is_no_failure_of_images(plan, folder, tmp_path):
    nowhere = PlanFile(path=plan.file.path, root=str(tmp_path / "nowhere"))
    for file, name in ((nowhere, "nowhere"), (plan.file, "photos")):
        if name == "photos":
            folder.rename(tmp_path / "unmounted")
        with pytest.raises(SourceNotFoundError, match=f"{name}: no such file or folder.* --root"):
            UnitWorker(file).extract(1, 2)
        assert not Records(plan, plan.store / "memo").units()
    assert plan_status(plan, FeatureStore(plan.store)).missing == 11
    moved = PlanFile(path=plan.file.path, root=str(tmp_path / "unmounted"))
    assert UnitWorker(moved).extract(1, 1).forward_passes == 11


@pytest.mark.parametrize("careful", [False, True])
def test_an_empty_mount_point_is_no_failure_of_images(plan, folder, tmp_path, careful):
    folder.rename(tmp_path / "unmounted")
    folder.mkdir()
    worker = UnitWorker(plan.file)
    records = Records(plan, worker.store.memo_folder)
    if careful:
        record = records.read(1, 2)
        record.deaths = DEATHS
        records.write(record)
    with pytest.raises(
        SourceNotFoundError, match=r"none of the 5 images of unit 1/2 is there \(first: 'green/000.png'"
    ):
        worker.extract(1, 2)
    status = plan_status(plan, worker.store)
    assert (status.done, status.failed, status.missing) == (0, 0, 11)
    folder.rmdir()
    (tmp_path / "unmounted").rename(folder)
    assert worker.extract(1, 1).forward_passes == 11


def test_a_mount_that_is_lost_on_the_way(plan, folder, tmp_path, monkeypatch):
    from embedkit.extraction import runner

    identify, read = runner.identify, []

    def unmounting(row, ref):
        read.append(row)
        if len(read) == 5:
            folder.rename(tmp_path / "unmounted")
        return identify(row, ref)

    monkeypatch.setattr(runner, "_threads", lambda: 1)
    monkeypatch.setattr(runner, "identify", unmounting)
    worker = UnitWorker(plan.file)
    with pytest.raises(SourceNotFoundError, match="none of the 11 images of unit 1/1 is there"):
        worker.extract(1, 1)
    status = plan_status(plan, worker.store)
    assert (status.done, status.failed, status.missing) == (4, 0, 7)  # what was computed is there
    (tmp_path / "unmounted").rename(folder)
    result = worker.extract(1, 1)
    assert (result.forward_passes, result.cache_hits) == (7, 4)


def test_images_that_are_gone_for_good_hold_nothing_up(plan, folder, tmp_path):
    worker = UnitWorker(plan.file)
    for name in ("000.png", "001.png"):
        (folder / "green" / name).unlink()
    for _ in range(2):
        assert worker.extract(1, 2).failures == {0: "no such file", 1: "no such file"}
    folder.rename(tmp_path / "unmounted")  # what is known of them stays when the unit is run without its images
    with pytest.raises(SourceNotFoundError):
        worker.extract(1, 2)
    folder.mkdir()
    with pytest.raises(SourceNotFoundError):
        worker.extract(1, 2)
    status = plan_status(plan, worker.store).units[0]
    assert (status.done, status.failed, status.unread) == (3, 2, 2)


def test_images_that_the_plan_did_not_see_are_not_missed(tmp_path):
    manifest = make_manifest(tmp_path / "photos", {"red": 4, "green": 4})
    shutil.rmtree(tmp_path / "photos" / "green")
    worker = UnitWorker(make(tmp_path, manifest).file)
    assert [len(worker.extract(number, 2).failures) for number in (1, 2)] == [0, 4]
    assert plan_status(worker.plan, worker.store).complete


@pytest.mark.parametrize("name", ["photos.zip", "photos.npy"])
def test_an_archive_or_array_that_is_not_there(tmp_path, folder, name):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    np.save(tmp_path / "photos.npy", np.stack([np.asarray(make_photo(seed)) for seed in range(3)]))
    plan = make(tmp_path, tmp_path / name)
    (tmp_path / name).rename(tmp_path / "elsewhere")
    with pytest.raises(SourceNotFoundError, match=f"{name}: no such file"):
        UnitWorker(plan.file).extract(1, 1)
    assert not Records(plan, plan.store / "memo").units()
    (tmp_path / "elsewhere").rename(tmp_path / name)
    assert UnitWorker(plan.file).extract(1, 1).failures == {}


def test_units_of_different_divisions_know_of_each_other(plan):
    worker = UnitWorker(plan.file)
    assert worker.extract(1, 2).forward_passes == 5
    assert worker.extract(2, 4).forward_passes == 0
    result = worker.extract(1, 1)
    assert (result.forward_passes, result.cache_hits) == (6, 5)
    assert plan_status(plan, FeatureStore(plan.store)).complete


def test_what_could_not_be_read_is_tried_again_and_bytes_that_are_no_image_are_not(plan, folder):
    hidden = folder / "green" / "001.png"
    content = hidden.read_bytes()
    hidden.unlink()
    (folder / "red" / "003.png").write_bytes(b"no image")
    first = UnitWorker(plan.file).extract(1, 1)
    assert first.failures == {1: "no such file", 9: first.failures[9]}
    assert planned_extraction(plan, FeatureStore(plan.store)).failures == first.failures
    hidden.write_bytes(content)
    second = UnitWorker(plan.file).extract(1, 1)
    assert (second.failures, second.forward_passes) == ({9: first.failures[9]}, 1)
    done = planned_extraction(plan, FeatureStore(plan.store))
    assert (done.failures, len(done.rows)) == (second.failures, 10)


def test_the_same_bytes_in_two_units_are_two_rows_and_one_pass(tmp_path, folder):
    shutil.copy(folder / "green" / "000.png", folder / "red" / "copy.png")
    plan = make(tmp_path, folder)
    worker = UnitWorker(plan.file)
    results = [worker.extract(number, 2) for number in (1, 2)]
    assert [(one.rows, one.forward_passes, one.cache_hits, one.copies) for one in results] == [
        (6, 6, 0, 0),
        (6, 5, 1, 0),
    ]
    again = UnitWorker(make(tmp_path / "again", folder).file).extract(1, 1)
    assert (again.rows, again.forward_passes, again.cache_hits, again.copies) == (12, 11, 0, 1)
    done = planned_extraction(plan, worker.store)
    assert len(done.rows) == 12
    np.testing.assert_array_equal(done.digests[0], done.digests[plan.source.keys.index("red/copy.png")])


def test_damaged_records_cost_no_pass(plan):
    UnitWorker(plan.file).extract(1, 1)
    [record] = (plan.store / "memo" / "plans").rglob("unit-1-of-1.json")
    record.write_bytes(record.read_bytes().replace(b'"done":11', b'"done":10'))
    assert plan_status(plan, FeatureStore(plan.store)).missing == 11
    result = UnitWorker(plan.file).extract(1, 1)
    assert (result.forward_passes, result.cache_hits) == (0, 11)
    assert plan_status(plan, FeatureStore(plan.store)).complete


def test_a_row_that_the_store_has_lost_is_missing_whatever_the_record_says(plan):
    UnitWorker(plan.file).extract(1, 1)
    for part in (plan.store / "features").rglob("part-*"):
        part.unlink()
    assert plan_status(plan, FeatureStore(plan.store)).missing == 11
    assert UnitWorker(plan.file).extract(1, 1).forward_passes == 11


def test_status_names_who_is_at_work_as_long_as_they_live(plan):
    store = FeatureStore(plan.store)
    records = Records(plan, store.memo_folder)
    record = records.read(2, 3)
    record.worker, record.deaths, record.done = "node7:123", 1, 2
    records.write(record)
    leases = records.leases()
    leases.claim([record.lease])
    UnitWorker(plan.file).extract(1, 3)
    status = plan_status(plan, store)
    assert [(unit.done, unit.worker, unit.settled) for unit in status.units] == [
        (3, None, None),
        (0, "node7:123", 2),
        (0, None, None),
    ]
    assert (status.done, status.missing, status.complete) == (3, 8, False)
    said = status.to_dict()["units"][1]
    assert said["complete"] is False
    assert (
        said.items()
        >= {
            "unit": "2/3",
            "rows": 4,
            "done": 0,
            "failed": 0,
            "unread": 0,
            "worker": "node7:123",
            "settled": 2,
        }.items()
    )
    leases.close()  # as after a kill: nobody vouches for what it said
    after = plan_status(plan, store).units[1]
    assert (after.done, after.worker, after.settled) == (0, None, None)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_status_is_the_sum_of_its_units(plan, folder, count):
    (folder / "green" / "001.png").unlink()
    (folder / "red" / "003.png").write_bytes(b"no image")
    worker = UnitWorker(plan.file)
    for number in range(1, count + 1):
        worker.extract(number, count)
        status = plan_status(plan, worker.store)
        for name in ("done", "failed", "unread"):
            assert getattr(status, name) == sum(getattr(unit, name) for unit in status.units)
        assert status.images == status.done + status.failed + status.missing
    assert (status.done, status.failed, status.unread, status.complete) == (9, 2, 1, True)


def test_an_interrupted_unit_is_no_death(plan, monkeypatch):
    worker = UnitWorker(plan.file)

    def interrupted(tick):
        raise KeyboardInterrupt

    for _ in range(DEATHS + 1):
        with pytest.raises(KeyboardInterrupt):
            worker.extract(1, 1, interrupted)
        assert Records(plan, worker.store.memo_folder).read(1, 1).deaths == 0


def test_a_unit_beside_a_living_worker_counts_no_death(plan):
    records = Records(plan, FeatureStore(plan.store).memo_folder)
    record = records.read(1, 1)
    record.deaths = DEATHS
    records.write(record)
    leases = records.leases()
    leases.claim([record.lease])
    seen = []
    UnitWorker(plan.file).extract(1, 1, lambda tick: seen.append(records.read(1, 1).deaths))
    leases.close()
    assert set(seen) == {DEATHS}


def test_after_some_deaths_what_kills_is_found(tmp_path, folder, monkeypatch):
    poison(folder / "green" / "002.png")
    poison(folder / "red" / "004.png")
    (folder / "red" / "000.png").unlink()
    (folder / "red" / "000.png").symlink_to("gone.png")
    plan = make(tmp_path, folder)
    monkeypatch.setenv("PYTHONPATH", deadly_path(tmp_path / "site"))
    worker = UnitWorker(plan.file)
    records = Records(plan, worker.store.memo_folder)
    record = records.read(1, 1)
    record.deaths = DEATHS
    records.write(record)
    ticks = []
    result = worker.extract(1, 1, ticks.append)
    reason = "it kills the process that reads it: alone in a process, 2 times, the process ended with exit code 9"
    assert {row: text[: len(reason)] for row, text in result.failures.items()} == {
        2: reason,
        6: "no such file",
        10: reason,
    }
    assert (result.forward_passes, ticks[-1].done, records.read(1, 1).deaths) == (8, 11, 0)
    # They are not tried again, while what could not be read is.
    monkeypatch.setattr("embedkit.extraction.units.Child", None)
    assert worker.extract(1, 1).failures == result.failures
    done = planned_extraction(plan, worker.store)
    assert (sorted(done.failures), len(done.rows)) == ([2, 6, 10], 8)
    assert (worker.extract(1, 1).cache_hits, result.cache_hits, result.copies) == (8, 0, 0)
    assert done.digests[2].any()
    # The reason stays with the plan: the digest is not condemned in the store.
    assert not worker.store.features(plan.resolution.spec).undecodable(done.digests[[2]])


def test_who_computes_other_features_fails(tmp_path, folder):
    import timm
    from safetensors.torch import save_file

    for name in ("first", "second"):
        save_file(timm.create_model(MODEL, pretrained=False).state_dict(), tmp_path / f"{name}.safetensors")
    first = FeatureRequest(MODEL, weights=str(tmp_path / "first.safetensors"), precision="fp32", engine="torch")
    plan = make(tmp_path, folder, first)
    other = PlanFile(path=plan.file.path, weights=str(tmp_path / "second.safetensors"))
    with pytest.raises(SpecMismatchError, match=r"cannot honour .*P.json: backbone.weights is .*, expected"):
        UnitWorker(other).extract(1, 1)
    assert plan_status(plan, FeatureStore(plan.store)).done == 0
    (tmp_path / "first.safetensors").rename(tmp_path / "moved.safetensors")
    moved = PlanFile(path=plan.file.path, weights=str(tmp_path / "moved.safetensors"))
    assert UnitWorker(moved).extract(1, 1).forward_passes == 11
