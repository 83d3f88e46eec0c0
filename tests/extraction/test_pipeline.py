"""What waits between reading and decoding, and how much of it."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit.errors import UnreadableImageError
from embedkit.extraction import pipeline
from embedkit.files import Budget
from embedkit.images import ArchiveMember
from embedkit.preprocess import Preprocessor
from embedkit.specs import DecodeSpec, PreprocessSpec
from tests.photos import make_photo

RECIPE = pipeline.Recipe(
    DecodeSpec(),
    PreprocessSpec(
        input_size=(32, 32),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        interpolation="bicubic",
        crop_pct=1.0,
        crop_mode="center",
    ),
)


def prepare(found):
    """Return an image's pixels, or why there are none."""
    pixels = np.zeros((3, 32, 32), np.uint8)
    [error] = pipeline.prepare(found, [(RECIPE, pixels)])
    return pixels if error is None else error


@pytest.fixture
def photo(tmp_path):
    make_photo(1).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_bytes_that_find_no_room_are_read_again(photo, monkeypatch):
    data = photo.read_bytes()
    monkeypatch.setattr(pipeline, "_CARRIED", Budget(2 * len(data)))
    member = ArchiveMember(str(photo), "photo.png", 0, len(data), len(data))
    found = [pipeline.identify(row, ref) for row, ref in enumerate([str(photo), member, str(photo), member])]
    assert [one.image for one in found] == [data, data, str(photo), member]
    pixels = [prepare(one) for one in found]
    assert pixels[0].any()
    assert all(np.array_equal(one, pixels[0]) for one in pixels)
    del found
    gc.collect()
    assert pipeline.identify(0, str(photo)).image == data  # there is room again


def test_a_file_that_changes_before_it_is_read_again(photo, monkeypatch):
    monkeypatch.setattr(pipeline, "_CARRIED", Budget(0))
    found = pipeline.identify(0, str(photo))
    make_photo(2).save(photo)
    error = prepare(found)
    assert isinstance(error, UnreadableImageError)
    assert str(error) == "it changed while it was read"


def test_pixels_are_held_while_they_are_resized(photo, monkeypatch):
    budget = Budget(1)  # each is larger, and waits to be alone
    monkeypatch.setattr(pipeline, "INFLATING", budget)
    monkeypatch.setattr("embedkit.images.decoding.INFLATING", budget)
    held: list[int] = []
    resize = Preprocessor.__call__

    def seen(self, *arguments):
        held.append(budget._held)
        return resize(self, *arguments)

    monkeypatch.setattr(Preprocessor, "__call__", seen)
    height, width = np.asarray(make_photo(1)).shape[:2]
    prepare(pipeline.identify(0, photo.read_bytes()))
    assert held == [11 * height * width]
    assert budget._held == 0


@given(images=st.integers(1, 10_000), threads=st.integers(1, 64))
def test_a_task_is_small_enough_to_keep_all_threads_busy(images, threads):
    size = pipeline.task_size(images, threads, 128)
    assert 1 <= size <= 16
    # One under way and one waiting for each thread, within the images that may be ahead; and several turns in all.
    assert size == 1 or (2 * threads * size <= 128 and 8 * threads * size <= images)


@given(st.lists(st.integers()), st.integers(1, 9))
def test_blocks_are_the_items_in_order(items, size):
    blocks = list(pipeline.in_blocks(items, size))
    assert [item for block in blocks for item in block] == items
    assert all(len(block) == size for block in blocks[:-1])
