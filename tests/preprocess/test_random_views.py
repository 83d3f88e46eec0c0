"""Random views: drawn by an image's digest, and coloured as Pillow would."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from embedkit.errors import UsageError
from embedkit.preprocess import Preprocessor
from embedkit.preprocess.views import AREA, RATIO, View, draw_view
from embedkit.specs import PreprocessSpec
from tests.photos import make_photo

PLAIN = PreprocessSpec(
    input_size=(32, 32), interpolation="bicubic", crop_pct=0.9, crop_mode="center", mean=(0.5,) * 3, std=(0.5,) * 3
)
PHOTO = np.asarray(make_photo(1, size=(90, 70)))


def of(view: int, digest: bytes = b"a", seed: int = 0) -> np.ndarray:
    return Preprocessor(dataclasses.replace(PLAIN, view=view, view_seed=seed))(PHOTO, digest)


def test_a_view_depends_on_the_digest_its_number_and_the_seed_alone() -> None:
    first = of(1)
    assert first.shape == (3, 32, 32)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, of(1))
    for other in (of(2), of(1, b"b"), of(1, seed=1), Preprocessor(PLAIN)(PHOTO)):
        assert (first != other).mean() > 0.5


def test_what_is_drawn_stays_what_it_is() -> None:
    """Cached maps depend on it: a change of the arithmetic needs a field of its own in the spec."""
    view = draw_view(bytes(32), 1, 0)
    assert view.box(100, 150) == (15, 33, 82, 106)
    assert not view.flipped
    assert (view.brightness, view.contrast, view.saturation) == pytest.approx((1.059087, 0.859991, 1.116619), abs=1e-6)


@given(st.binary(min_size=1, max_size=32), st.integers(1, 9), st.integers(1, 400), st.integers(1, 400))
def test_the_part_lies_in_the_image(digest: bytes, number: int, height: int, width: int) -> None:
    top, left, h, w = draw_view(digest, number, 0).box(height, width)
    assert top >= 0
    assert left >= 0
    assert top + h <= height
    assert left + w <= width
    assert min(h, w) >= 1


def test_parts_have_the_area_and_the_ratio_that_are_said() -> None:
    boxes = [draw_view(bytes([k // 256, k % 256]), 1, 0).box(1000, 1000) for k in range(400)]
    area = np.array([h * w / 1e6 for _, _, h, w in boxes])
    ratio = np.array([w / h for _, _, h, w in boxes])
    assert AREA[0] - 0.01 < area.min() < 0.45
    assert 0.9 < area.max() <= 1
    assert RATIO[0] - 0.01 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < RATIO[1] + 0.01
    assert abs(np.mean([draw_view(bytes([k]), 1, 0).flipped for k in range(256)]) - 0.5) < 0.15


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_colours_change_as_in_pillow(name: str, factor: float) -> None:
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, name: factor}
    got = View(parts=(), place=(0, 0), flipped=False, **neutral).coloured(PHOTO)
    enhance = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }
    expected = np.asarray(enhance[name](Image.fromarray(PHOTO)).enhance(factor))
    assert np.abs(got.astype(int) - expected).max() <= 2


def test_a_view_without_a_digest_is_refused() -> None:
    with pytest.raises(UsageError, match="drawn by an image's digest, and none was given"):
        Preprocessor(dataclasses.replace(PLAIN, view=1))(PHOTO)


def test_todays_specs_say_nothing_of_views() -> None:
    from embedkit.specs import BackboneSpec, DecodeSpec, FeatureSpec

    backbone = BackboneSpec(architecture="a", weights="none", width=1)
    plain = FeatureSpec(backbone=backbone, preprocess=PLAIN, decode=DecodeSpec())
    viewed = dataclasses.replace(plain, preprocess=dataclasses.replace(PLAIN, view=2, view_seed=3))
    assert "view" not in plain.canonical
    assert FeatureSpec.from_dict(viewed.to_dict()) == viewed
    assert len({plain.fingerprint, viewed.fingerprint, dataclasses.replace(plain, dtype="float16").fingerprint}) == 3
    assert viewed.model_identity != plain.model_identity
