from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedkit.backbones.batching import BatchRunner
from embedkit.errors import BackboneError


class Means:
    """An engine that has room for so many images and notes how many it was given."""

    module: Any = None

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.sizes: list[int] = []

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(pixels) > self.room:
            raise MemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.sizes.append(len(pixels))
        return pixels.mean((2, 3), dtype=np.float32)


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)


@given(st.integers(1, 70), st.integers(1, 20), st.booleans(), st.integers(1, 20))
def test_every_row_is_its_own_images(count: int, size: int, fixed: bool, room: int) -> None:
    engine = Means(room)
    batch = pixels(count)
    runner = BatchRunner(engine, size, fixed=fixed)
    np.testing.assert_array_equal(runner(batch), batch.mean((2, 3), dtype=np.float32))
    assert max(engine.sizes) <= room
    assert runner.batch_size <= size


def test_a_fixed_batch_is_always_full() -> None:
    engine = Means()
    BatchRunner(engine, 8, fixed=True)(pixels(19))
    assert engine.sizes == [8, 8, 8]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (3, [4]), (5, [8]), (12, [12]), (11, [12]), (30, [12, 12, 8])])
def test_a_short_batch_is_filled_up_to_a_power_of_two(count: int, sizes: list[int]) -> None:
    engine = Means()
    BatchRunner(engine, 12, fixed=False)(pixels(count))
    assert engine.sizes == sizes


def test_a_batch_keeps_its_memory_layout_when_it_is_filled() -> None:
    seen: list[NDArray[np.uint8]] = []

    class Keeping(Means):
        def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            seen.append(pixels)
            return super().__call__(pixels)

    channels_last = np.zeros((3, 4, 4, 3), np.uint8).transpose(0, 3, 1, 2)
    BatchRunner(Keeping(), 4, fixed=True)(channels_last)
    assert seen[0].shape == (4, 3, 4, 4)
    assert seen[0].transpose(0, 2, 3, 1).flags.c_contiguous


def test_running_out_of_memory_halves_the_batch_for_good(caplog: pytest.LogCaptureFixture) -> None:
    engine = Means(room=5)
    runner = BatchRunner(engine, 32, fixed=True)
    batch = pixels(10)
    np.testing.assert_array_equal(runner(batch), batch.mean((2, 3), dtype=np.float32))
    assert runner.batch_size == 4
    assert engine.sizes == [4, 4, 4]
    assert "the batch size is now 4" in caplog.text


def test_no_room_for_one_image() -> None:
    with pytest.raises(BackboneError, match="out of memory with a single image .*another device"):
        BatchRunner(Means(room=0), 4, fixed=False)(pixels(2))


@pytest.mark.parametrize(("images", "wanted"), [(None, 100), (1, 32), (40, 40), (100, 100), (1000, 100)])
def test_a_large_fixed_batch_is_filled_up_to_no_more_than_the_images_of_the_run(
    images: int | None, wanted: int
) -> None:
    engine = Means()
    BatchRunner(engine, 100, fixed=True)(pixels(1), images)
    assert engine.sizes == [wanted]


def test_what_there_is_room_for_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    runner = BatchRunner(Means(room=5), 4096, fixed=True)
    for _ in range(2):
        runner(pixels(3), 3)
    assert runner.batch_size == 4
    assert [record.getMessage() for record in caplog.records] == ["out of memory: the batch size is now 4"]


def test_threads_that_run_out_of_memory_together_halve_the_batch_once() -> None:
    together = threading.Barrier(4)

    class Crowded(Means):
        def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            if len(pixels) > 16:
                together.wait(60)
            return super().__call__(pixels)

    runner = BatchRunner(Crowded(room=16), 32, fixed=True)
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(runner, [pixels(32)] * 4))
    assert runner.batch_size == 16
