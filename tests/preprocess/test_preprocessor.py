from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.preprocess import Preprocessor, preprocessor
from embedkit.specs import PreprocessSpec


def spec_of(**changes: Any) -> PreprocessSpec:
    fields: dict[str, Any] = {
        "input_size": (64, 64),
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "crop_mode": "center",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }
    return PreprocessSpec(**{**fields, **changes})


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("resize", ["fast", "exact"])
def test_the_outcome_is_the_networks_input_laid_out_channels_last(resize: str) -> None:
    pixels = Preprocessor(spec_of(resize=resize, input_size=(48, 64)))(noise(90, 70))
    assert pixels.shape == (3, 48, 64)
    assert pixels.dtype == np.uint8
    assert pixels.transpose(1, 2, 0).flags.c_contiguous
    assert np.stack([pixels, pixels]).transpose(0, 2, 3, 1).flags.c_contiguous, "a batch keeps the layout"


@pytest.mark.parametrize("changes", [{}, {"crop_mode": "border"}, {"crop_pct": 1.4}, {"view": 1}])
@pytest.mark.parametrize("resize", ["fast", "exact"])
def test_it_is_written_to_its_place_in_a_batch_of_any_layout(resize: str, changes: dict[str, Any]) -> None:
    preprocess = Preprocessor(spec_of(resize=resize, **changes))
    expected = preprocess(noise(90, 50), bytes(32))
    last, first = np.zeros((3, 64, 64, 3), np.uint8).transpose(0, 3, 1, 2), np.zeros((3, 3, 64, 64), np.uint8)
    for batch in (last, first):
        written = preprocess(noise(90, 50), bytes(32), batch[1])
        assert np.shares_memory(written, batch)
        np.testing.assert_array_equal(batch[1], expected)
        assert not batch[[0, 2]].any()


def test_the_outcome_shares_no_memory_with_the_input() -> None:
    original = noise(64, 64)
    kept = original.copy()
    preprocess = Preprocessor(spec_of(crop_pct=1.0))
    preprocess(original)[:] = 7
    np.testing.assert_array_equal(original, kept)


@pytest.mark.parametrize("resize", ["fast", "exact"])
def test_pixels_that_may_not_be_written_to_and_pixels_with_strides_are_taken(resize: str) -> None:
    preprocess = Preprocessor(spec_of(resize=resize))
    pixels = noise(100, 120)
    expected = preprocess(pixels)
    pixels.flags.writeable = False
    np.testing.assert_array_equal(preprocess(pixels), expected)
    np.testing.assert_array_equal(preprocess(np.ascontiguousarray(pixels[::-1])[::-1]), expected)


@pytest.mark.parametrize("resize", ["fast", "exact"])
def test_threads_get_what_one_thread_gets(resize: str) -> None:
    preprocess = Preprocessor(spec_of(resize=resize))
    images = [noise(100 + 7 * k, 140 - 5 * k, k) for k in range(16)]
    expected = [preprocess(image) for image in images]
    with ThreadPoolExecutor(4) as executor:
        for _ in range(3):
            for got, wanted in zip(executor.map(preprocess, images), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("resize", ["fast", "exact"])
def test_other_threads_run_while_an_image_is_resized(resize: str) -> None:
    """Counts how often another thread comes to run: a resize that kept the GIL would let it run hardly ever."""
    preprocess = Preprocessor(spec_of(resize=resize, input_size=(1400, 1400)))
    image = noise(2600, 2600)
    preprocess(image)
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.wait(0.0005):
            ticks[0] += 1

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks[0]
    for _ in range(3):
        preprocess(image)
    during = ticks[0] - before
    stop.set()
    thread.join()
    assert during >= 20


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["center", "squash", "border"]), st.booleans())
def test_resized_says_what_the_resize_asks_for(height: int, width: int, mode: str, square: bool) -> None:
    spec = spec_of(crop_mode=mode, input_size=(32, 32) if square else (24, 40))
    asked: list[tuple[int, int]] = []
    preprocess = Preprocessor(spec)

    def resize(pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: str) -> NDArray[np.uint8]:
        asked.append(size)
        return np.zeros((*size, 3), np.uint8)

    preprocess._resize = resize
    preprocess(np.zeros((height, width, 3), np.uint8))
    assert asked == [preprocess.resized(height, width)]
    assert min(asked[0]) >= 1


def test_a_row_of_pixels_does_not_fill_the_memory() -> None:
    row = noise(1, 20_000)
    preprocess = Preprocessor(spec_of(input_size=(224, 224)))
    height, width = preprocess.resized(1, 20_000)
    assert height * width * 3 > 3e9
    assert preprocess(row).shape == (3, 224, 224)


@pytest.mark.parametrize("size", [(3, 400), (400, 3), (100, 300), (300, 100)])
def test_making_only_the_part_that_is_kept_changes_little(size: tuple[int, int], monkeypatch: Any) -> None:
    preprocess = Preprocessor(spec_of(resize="exact"))
    whole = preprocess(noise(*size)).astype(int)
    monkeypatch.setattr(preprocessor, "LARGEST_RESIZED", 0)
    assert np.abs(preprocess(noise(*size)) - whole).mean() <= 1


def test_border_mode_frames_the_image_in_the_mean_colour() -> None:
    spec = spec_of(crop_mode="border", crop_pct=1.0, mean=(1.0, 0.5, 0.0))
    pixels = Preprocessor(spec)(np.full((32, 64, 3), 9, np.uint8))
    assert pixels[:, 0, 0].tolist() == [255, 128, 0]
    assert pixels[:, 32, 32].tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interpolation": "lanczos"}, "resize='exact' has it"),
        ({"interpolation": "random"}, "expected one of"),
        ({"interpolation": "random", "resize": "exact"}, "expected one of nearest"),
        ({"crop_mode": "centre"}, "center, squash, border"),
        ({"crop_pct": 0.0}, "above 0"),
        ({"crop_pct": float("nan")}, "above 0"),
        ({"input_size": (0, 8)}, "positive"),
    ],
)
def test_a_spec_that_timm_could_not_follow_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Preprocessor(spec_of(**changes))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_image_is_refused(pixels: Any) -> None:
    with pytest.raises(UsageError, match=r"expected uint8 \(h, w, 3\)"):
        Preprocessor(spec_of())(pixels)


def test_exact_preprocessing_imports_no_torch() -> None:
    code = """
import sys, numpy as np
from embedkit.preprocess import Preprocessor
from embedkit.specs import PreprocessSpec
spec = PreprocessSpec(input_size=(8, 8), interpolation="box", crop_pct=1.0, crop_mode="squash",
                      mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resize="exact")
assert Preprocessor(spec)(np.zeros((20, 30, 3), np.uint8)).shape == (3, 8, 8)
assert not {"torch", "timm", "torchvision", "sklearn", "h5py"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
