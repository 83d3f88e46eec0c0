"""The runner, on a real network: what is computed, how often, and what becomes of the rest."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.backbones import FeatureRequest, load_backbone
from embedkit.backbones.batching import BatchRunner
from embedkit.errors import StoreWriteError
from embedkit.extraction import run
from embedkit.images import open_source, rows_of
from embedkit.results import Stages
from embedkit.store import FeatureStore
from tests.photos import MODEL, make_folder, make_photo
from tests.stores import new_store

REQUEST = FeatureRequest(MODEL, weights="random", precision="fp32", engine="torch")


def _png(photo):
    file = io.BytesIO()
    photo.save(file, "png")
    return file.getvalue()


PNGS = [_png(make_photo(seed)) for seed in range(6)]


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "photos", {"red": 5, "green": 6})


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def passes():
    """Count the images that really go through a network, by a hook on the module that computes features.

    Loading tries the network on images of one colour; those are not counted.
    """
    from embedkit.backbones.features import FrozenFeatures

    seen: list[int] = []
    lock = threading.Lock()

    def hook(module, inputs, output):
        if isinstance(module, FrozenFeatures):
            with lock:
                seen.append(int((inputs[0].flatten(1).float().std(1) > 0).sum()))

    handle = torch.nn.modules.module.register_module_forward_hook(hook)
    yield seen
    handle.remove()


def test_passes_of_a_device_do_not_wait_behind_images_to_be_decoded(folder, store):
    """A device that sleeps, as a GPU computes: beside the cores, in threads that decode nothing."""
    backbone = load_backbone(REQUEST, batch_size=4)
    there: list[str] = []

    class Sleeps:
        module = None

        def __call__(self, pixels):
            there.append(threading.current_thread().name)
            time.sleep(0.01)
            return backbone.runner.engine(pixels)

    device = replace(backbone, runner=BatchRunner(Sleeps(), 4, fixed=True), device="asleep")
    done = run(open_source(folder), REQUEST, store, backbone=device)
    assert done.forward_passes == 11
    assert done.stages is not None
    assert done.stages.on_device
    assert len(there) == 3
    assert all(name.startswith("embedkit-device") for name in there)
    alone = FeatureStore(store.path.with_name("alone"))
    expected = run(open_source(folder), REQUEST, alone, backbone=backbone)
    np.testing.assert_array_equal(done.features.get(done.digests), expected.features.get(expected.digests))
    assert expected.stages is not None
    assert not expected.stages.on_device


def test_each_image_passes_once_then_never(folder, store, passes):
    first = run(open_source(folder), REQUEST, store, batch_size=4)
    assert (first.forward_passes, first.cache_hits, first.failures) == (11, 0, {})
    passes.clear()
    second = run(open_source(folder), REQUEST, store, batch_size=4)
    assert (second.forward_passes, second.cache_hits) == (0, 11)
    assert sum(passes) == 0
    np.testing.assert_array_equal(second.features.get(second.digests), first.features.get(first.digests))


def test_the_hook_counts_what_the_report_says(folder, tmp_path, passes):
    store = FeatureStore(tmp_path / "store")
    run(rows_of([make_photo(1)]), REQUEST, store, batch_size=1)  # resolves the request
    passes.clear()
    extraction = run(open_source(folder), REQUEST, store, batch_size=1)
    assert sum(passes) == extraction.forward_passes == 11


def test_features_belong_to_their_rows(folder, store):
    source = open_source(folder)
    together = run(source, REQUEST, store, batch_size=4)
    alone = new_store()
    for row, path in enumerate(source.images):
        one = run(rows_of([path]), REQUEST, alone, batch_size=4)
        np.testing.assert_allclose(
            one.features.get(one.digests), together.features.get(together.digests[[row]]), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_features_do_not_depend_on_batch_order_or_restart(folder, batch_size):
    source = open_source(folder)
    reference = run(source, REQUEST, new_store(), batch_size=16)
    expected = reference.features.get(reference.digests)
    shuffled = list(source.images)[::-1]
    store = new_store()
    run(rows_of(shuffled[:4]), REQUEST, store, batch_size=batch_size)
    got = run(rows_of(shuffled), REQUEST, store, batch_size=batch_size)
    assert got.cache_hits == 4
    np.testing.assert_allclose(got.features.get(got.digests)[::-1], expected, rtol=0, atol=1e-5)


def test_bit_equal_with_the_same_batch_shape(folder):
    source = open_source(folder)
    first, second = new_store(), new_store()
    reference = run(source, REQUEST, first, batch_size=8)
    other = run(rows_of(list(source.images)[::-1]), REQUEST, second, batch_size=8)
    np.testing.assert_array_equal(
        reference.features.get(reference.digests), other.features.get(reference.digests), strict=True
    )


def test_a_batch_larger_than_the_source_is_not_filled_with_images_that_do_not_exist(folder, monkeypatch):
    from embedkit.backbones.torch_engine import TorchEngine

    sizes: list[int] = []
    forward = TorchEngine.__call__
    monkeypatch.setattr(
        TorchEngine, "__call__", lambda self, pixels: (sizes.append(len(pixels)), forward(self, pixels))[1]
    )
    source, store = open_source(folder), new_store()
    huge = run(source, REQUEST, store, batch_size=100_000_000)
    assert (huge.forward_passes, sizes) == (11, [32])
    # The shape is the same whatever is in the store already, and so are the features.
    partly = new_store()
    run(rows_of(list(source.images)[:4]), REQUEST, partly, batch_size=32)
    again = run(source, REQUEST, partly, batch_size=32)
    assert (again.cache_hits, sizes[1:]) == (4, [32, 32])
    np.testing.assert_array_equal(again.features.get(again.digests), huge.features.get(huge.digests))


def test_equal_bytes_under_two_names_are_two_rows_and_one_pass(folder, store):
    shutil.copy(folder / "red" / "000.png", folder / "green" / "again.png")
    extraction = run(open_source(folder), REQUEST, store)
    assert (len(extraction.rows), extraction.forward_passes, extraction.copies) == (12, 11, 1)


def accounted(extraction):
    """Say whether each image is exactly one of a pass, a hit, a copy and a failure."""
    counted = extraction.forward_passes + extraction.cache_hits + extraction.copies
    return counted == len(extraction.rows) == len(extraction.digests) - len(extraction.failures)


@settings(deadline=None, max_examples=30)
@given(
    seeds=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    broken=st.lists(st.sampled_from([b"", b"no image", "gone.png"]), max_size=4),
    known=st.integers(0, 12),
    order=st.randoms(use_true_random=False),
)
def test_each_image_is_a_pass_a_hit_a_copy_or_a_failure(seeds, broken, known, order):
    store = new_store()
    request = FeatureRequest("pixels32")
    images = [PNGS[seed] for seed in seeds] + broken
    order.shuffle(images)
    if known:
        assert accounted(run(rows_of(images[:known]), request, store))
    extraction = run(rows_of(images), request, store)
    assert accounted(extraction)
    assert extraction.forward_passes == len(set(images) - set(images[:known]) - {b"", b"no image", "gone.png"})
    assert len(extraction.failures) == len(broken)
    assert run(rows_of(images), request, store).copies == 0


def test_failures_leave_their_neighbours_alone(folder, store):
    (folder / "red" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    (folder / "red" / "003.png").write_bytes(b"")
    (folder / "red" / "copy.png").write_bytes(b"")
    source = open_source(folder)
    extraction = run(source, REQUEST, store, batch_size=2)
    failed = {source.keys[row]: reason for row, reason in extraction.failures.items()}
    assert set(failed) == {"red/001.png", "red/003.png", "red/copy.png"}
    assert failed["red/003.png"] == failed["red/copy.png"] == "empty file"
    assert extraction.forward_passes == 9
    again = run(source, REQUEST, store)
    assert again.failures == extraction.failures
    assert again.forward_passes == 0


def test_a_file_that_vanished_is_tried_again(folder, tmp_path):
    store = FeatureStore(tmp_path / "store")
    source = open_source(folder)
    path = folder / "red" / "001.png"
    content = path.read_bytes()
    path.unlink()
    first = run(source, REQUEST, store)
    assert list(first.failures.values()) == ["no such file"]
    path.write_bytes(content)
    second = run(source, REQUEST, store)
    assert (second.failures, second.forward_passes) == ({}, 1)


def test_another_process_that_computes_the_same_is_waited_for(folder, tmp_path):
    store = FeatureStore(tmp_path / "store")
    source = open_source(folder)
    first = run(rows_of([source.images[0]]), REQUEST, store)
    with store.features(first.resolution.spec).writer() as other:
        reference = run(source, REQUEST, new_store())
        mine = reference.digests[5:]
        assert other.claim(mine).all()
        done: list = []
        thread = threading.Thread(target=lambda: done.append(run(source, REQUEST, store)))
        thread.start()
        thread.join(timeout=3)
        assert not done  # it waits for the rows that the other one has claimed
        other.add(mine, reference.features.get(mine))
        other.commit()
        thread.join(timeout=30)
    [extraction] = done
    assert (extraction.forward_passes, extraction.cache_hits, extraction.copies) == (4, 7, 0)
    assert len(extraction.rows) == 11


def test_copies_of_what_another_process_finds_undecodable_fail_with_it(folder, tmp_path):
    store = FeatureStore(tmp_path / "store")
    request = FeatureRequest("pixels32")
    first = run(rows_of([make_photo(99)]), request, store)
    source = rows_of([PNGS[0], PNGS[0], PNGS[1]])
    digests = run(source, request, new_store()).digests
    with store.features(first.resolution.spec).writer() as other:
        assert other.claim(digests[[0]]).all()
        waiting: list = []
        thread = threading.Thread(target=lambda: waiting.append(run(source, request, store)))
        thread.start()
        thread.join(timeout=1)
        assert not waiting
        other.add_undecodable(digests[0].tobytes(), "as an older version had it")
        other.commit()
        thread.join(timeout=30)
    [extraction] = waiting
    assert extraction.failures == dict.fromkeys((0, 1), "as an older version had it")
    assert accounted(extraction)


def test_two_runs_at_once_share_the_work(tmp_path):
    folder = make_folder(tmp_path / "photos", {"many": 200})
    store = FeatureStore(tmp_path / "store")
    run(rows_of([make_photo(12345)]), REQUEST, store)
    done: list = []
    threads = [
        threading.Thread(target=lambda: done.append(run(open_source(folder), REQUEST, store, batch_size=8)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert sum(extraction.forward_passes for extraction in done) == 200
    assert all(accounted(extraction) for extraction in done)
    assert [len(extraction.rows) for extraction in done] == [200, 200]


def test_a_full_disk_loses_nothing_committed(folder, tmp_path, monkeypatch):
    from embedkit.files.commit import Disk

    class Full(Disk):
        full = False

        def write(self, descriptor, data):
            if self.full:
                raise OSError(28, os.strerror(28))
            return super().write(descriptor, data)

    disk = Full()
    store = FeatureStore(tmp_path / "store", disk=disk)
    source = open_source(folder)
    run(rows_of(list(source.images)[:3]), REQUEST, store)
    disk.full = True
    with pytest.raises(StoreWriteError, match="No space left"):
        run(source, REQUEST, store)
    disk.full = False
    resumed = run(source, REQUEST, store)
    assert (resumed.cache_hits, resumed.forward_passes) == (3, 8)


def test_progress_reaches_the_end(folder):
    ticks = []
    (folder / "red" / "000.png").write_bytes(b"nothing")
    run(open_source(folder), REQUEST, new_store(), progress=ticks.append)
    assert [tick.total for tick in ticks] == [11] * len(ticks)
    assert (ticks[-1].done, ticks[-1].failed) == (11, 1)
    assert all(earlier.done <= later.done for earlier, later in zip(ticks, ticks[1:], strict=False))


def test_images_in_memory_go_by_their_pixels(store):
    photo = make_photo(3)
    extraction = run(rows_of([photo, np.asarray(photo), photo.convert("L")]), REQUEST, store)
    assert extraction.forward_passes == 2
    assert (extraction.digests[0] == extraction.digests[1]).all()


def test_features_that_are_not_finite_are_failures(folder, monkeypatch):
    from embedkit.backbones.torch_engine import TorchEngine

    forward = TorchEngine.__call__

    def broken(self, pixels):
        features = forward(self, pixels)
        features[1] = np.nan
        return features

    monkeypatch.setattr(TorchEngine, "__call__", broken)
    extraction = run(open_source(folder), REQUEST, new_store(), batch_size=6)
    assert set(extraction.failures.values()) == {
        "the network gives features that are not finite; try another precision"
    }
    assert len(extraction.failures) == 2
    assert accounted(extraction)


def test_a_warm_run_reads_no_image_unless_told_to(folder, tmp_path, monkeypatch):
    from embedkit.extraction import pipeline

    store = FeatureStore(tmp_path / "store")
    time.sleep(2.2)  # a file that is younger than the coarsest clock's tick is read again
    run(open_source(folder), REQUEST, store)
    edited = folder / "red" / "000.png"
    make_photo(77).save(edited)

    read: list[str] = []
    reading = pipeline.read_with_status
    monkeypatch.setattr(pipeline, "read_with_status", lambda ref: (read.append(os.path.basename(ref)), reading(ref))[1])
    warm = run(open_source(folder), REQUEST, store)
    assert read == ["000.png"]
    assert (warm.cache_hits, warm.forward_passes) == (10, 1)
    read.clear()
    rehashed = run(open_source(folder), REQUEST, store, rehash=True)
    assert (len(read), rehashed.cache_hits) == (11, 11)


def test_the_time_of_a_pass_is_told_by_stage(folder, store):
    extraction = run(open_source(folder), REQUEST, store)
    stages = extraction.stages
    assert stages is not None
    assert min(stages.read, stages.decode, stages.forward, stages.commit) > 0
    assert stages.read + stages.decode + stages.forward <= stages.wall * stages.threads
    assert stages.bottleneck.split("-bound: ")[0] in ("read", "decode", "forward", "commit")
    assert run(open_source(folder), REQUEST, store).stages is None


def test_the_bottleneck_is_the_stage_that_used_most_of_what_it_had():
    times = {"read": 0.1, "decode": 19.0, "forward": 1.0, "commit": 5.0, "wall": 10.0, "threads": 2, "readers": 2}
    assert Stages(**times, on_device=False).bottleneck == "decode-bound: 1.9 of 2 cores decoding"
    assert Stages(**{**times, "forward": 9.8}, on_device=True).bottleneck == "forward-bound: computing 98% of the time"
    assert Stages(**{**times, "commit": 9.9}, on_device=False).bottleneck == "commit-bound: committing 99% of the time"
    waiting = {**times, "read": 500.0, "readers": 64}  # readers that wait do not hold up what is not waiting for them
    assert Stages(**waiting, on_device=False).bottleneck == "decode-bound: 1.9 of 2 cores decoding"
    assert Stages(**{**waiting, "read": 620.0}, on_device=False).bottleneck == "read-bound: 62 of 64 readers busy"
