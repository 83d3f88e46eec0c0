"""Both ways of preprocessing against timm's own evaluation transform, over modes, filters and awkward sizes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import PIL
import pytest
import timm
import timm.data
from numpy.typing import NDArray
from PIL import Image

from embedkit.preprocess import Preprocessor
from embedkit.preprocess.geometry import resized_size
from embedkit.preprocess.resize import EXACT_INTERPOLATIONS, FAST_INTERPOLATIONS, rows_first
from embedkit.specs import PreprocessSpec

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = [(375, 500), (500, 375), (224, 224), (97, 101), (33, 20), (480, 31), (1, 1), (1, 40), (40, 1), (2, 3), (300, 7)]
INPUTS = [((64, 64), 0.875), ((64, 64), 1.0), ((64, 64), 1.15), ((48, 80), 0.9), ((37, 37), 0.95)]
MODES = ["center", "squash", "border"]


def photo(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth colours with a hard edge and some grain: what resizing must get right."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[:height, :width]
    base = np.stack([127 + 120 * np.sin(x / 17 + k) * np.cos(y / 23 - k) for k in range(3)], axis=2)
    base[(x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(height, width) / 3) ** 2] = (250, 20, 90)
    return np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8)


def by_timm(spec: PreprocessSpec, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    transform: Any = timm.data.create_transform(
        input_size=(3, *spec.input_size),
        is_training=False,
        interpolation=spec.interpolation,
        mean=spec.mean,
        std=spec.std,
        crop_pct=spec.crop_pct,
        crop_mode=spec.crop_mode,
        normalize=False,
    )
    return transform(Image.fromarray(pixels)).numpy()


def spec_of(resize: Any, interpolation: str, mode: str, size: tuple[int, int], crop_pct: float) -> PreprocessSpec:
    return PreprocessSpec(
        input_size=size,
        interpolation=interpolation,
        crop_pct=crop_pct,
        crop_mode=mode,
        mean=MEAN,
        std=STD,
        resize=resize,
    )


def timm_raises(spec: PreprocessSpec, height: int, width: int) -> bool:
    """Border mode rounds the shorter side of a very long image to nothing, on which Pillow raises."""
    longest = max(height / (spec.input_size[0] // spec.crop_pct), width / (spec.input_size[1] // spec.crop_pct))
    return spec.crop_mode == "border" and round(min(height, width) / longest) == 0


def timm_forgets(spec: PreprocessSpec) -> bool:
    """Before 1.0.31 timm resized bilinearly for inputs that are not square, whatever it was told."""
    old = tuple(int(part) for part in timm.__version__.split(".")[:3]) < (1, 0, 31)
    return old and spec.crop_mode == "center" and len(set(spec.input_size)) > 1 and spec.interpolation != "bilinear"


def other_order(spec: PreprocessSpec, height: int, width: int) -> bool:
    """Before 13.0 Pillow always began with the columns, where the fast way does as 13.0 does."""
    return int(PIL.__version__.split(".")[0]) < 13 and rows_first(height, width, resized_size(spec, height, width))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("interpolation", list(EXACT_INTERPOLATIONS))
def test_exact_is_timms_transform_to_the_last_bit(mode: str, interpolation: str) -> None:
    compared = 0
    for (size, crop_pct), (height, width) in itertools.product(INPUTS, SIZES):
        spec = spec_of("exact", interpolation, mode, size, crop_pct)
        if timm_raises(spec, height, width) or timm_forgets(spec):
            continue
        pixels = photo(height, width)
        np.testing.assert_array_equal(Preprocessor(spec)(pixels), by_timm(spec, pixels), str((spec, height, width)))
        compared += 1
    assert compared >= 40


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("interpolation", FAST_INTERPOLATIONS)
def test_fast_stays_within_two_grey_levels_of_timms_transform(mode: str, interpolation: str) -> None:
    for (size, crop_pct), (height, width) in itertools.product(INPUTS, SIZES):
        spec = spec_of("fast", interpolation, mode, size, crop_pct)
        if timm_raises(spec, height, width) or timm_forgets(spec) or other_order(spec, height, width):
            continue
        pixels = photo(height, width)
        difference = np.abs(Preprocessor(spec)(pixels).astype(int) - by_timm(spec, pixels))
        assert difference.max() <= 2, (spec, height, width)
        assert difference.mean() <= 0.05, (spec, height, width)


def configurations() -> set[tuple[str, str, float, tuple[int, int]]]:
    """Every (mode, filter, crop_pct, shape of the input) among timm's own configurations."""
    found: set[tuple[str, str, float, tuple[int, int]]] = set()
    models: Any = timm
    for name in models.list_models(pretrained=True):
        config = models.get_pretrained_cfg(name)
        height, width = config.input_size[1:]
        shape = (48, 48) if height == width else (48, 48 * width // height)
        found.add((config.crop_mode, config.interpolation, config.crop_pct, shape))
    return found


def test_every_configuration_of_timm_is_followed_by_both() -> None:
    pixels = photo(120, 90)
    for mode, interpolation, crop_pct, size in sorted(configurations()):
        spec = spec_of("exact", interpolation, mode, size, crop_pct)
        if timm_forgets(spec):
            continue
        expected = by_timm(spec, pixels)
        np.testing.assert_array_equal(Preprocessor(spec)(pixels), expected, str(spec))
        fast = Preprocessor(spec_of("fast", interpolation, mode, size, crop_pct))(pixels)
        assert np.abs(fast.astype(int) - expected).max() <= 2, spec


def test_a_quarter_of_a_pixel_would_be_noticed() -> None:
    """The control: the tolerances of the fast way are too tight for a resize that is slightly off."""
    spec = spec_of("fast", "bicubic", "center", (64, 64), 0.875)
    pixels = photo(375, 500)
    shifted = np.roll(pixels, 1, axis=1)  # one of 500 columns: 0.2 pixels after the resize
    difference = np.abs(Preprocessor(spec)(shifted).astype(int) - by_timm(spec, pixels))
    assert difference.max() > 2
    assert difference.mean() > 0.05
