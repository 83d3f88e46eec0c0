"""Images at a lower resolution."""

from __future__ import annotations

import numpy as np
from PIL import Image

from embedkit.adaptation import coarsened
from embedkit.adaptation.coarsening import SIDES
from tests.photos import make_photo

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 48, 3), dtype=np.uint8)


def test_a_share_of_images_is_shown_coarser_and_none_is_changed_in_place() -> None:
    kept = PIXELS.copy()
    assert coarsened(PIXELS, 0, np.random.default_rng(1)) is PIXELS
    shown = coarsened(PIXELS, 0.5, np.random.default_rng(1))
    changed = (shown != PIXELS).any(axis=(1, 2, 3))
    assert 10 <= changed.sum() <= 30
    assert (shown.dtype, shown.shape) == (PIXELS.dtype, PIXELS.shape)
    np.testing.assert_array_equal(PIXELS, kept)
    np.testing.assert_array_equal(shown, coarsened(PIXELS, 0.5, np.random.default_rng(1)))
    assert (shown != coarsened(PIXELS, 0.5, np.random.default_rng(2))).any()


def test_what_is_left_of_an_image_is_what_a_smaller_one_holds() -> None:
    # Stripes two pixels wide are finer than any side that is drawn keeps, stripes of half an image are not.
    fine = np.tile(np.repeat(np.uint8([0, 255]), 2), 16)[:, None, None].repeat(64, 1).repeat(3, 2)
    broad = np.repeat(np.uint8([0, 255]), 32)[:, None, None].repeat(64, 1).repeat(3, 2)
    shown = coarsened(np.stack([fine, broad] * 10), 1, np.random.default_rng(3)).astype(float)
    assert shown[0::2].std() < 0.6 * fine.std()
    assert shown[1::2].std() > 0.9 * broad.std()
    assert abs(shown[1::2].mean() - broad.mean()) < 2


def test_the_smaller_image_is_as_pillow_makes_it() -> None:
    smooth = make_photo(1, size=(64, 64))
    drawn = np.random.default_rng(5)
    drawn.random(1)
    side = round(64 * float(np.exp(drawn.uniform(*np.log(SIDES)))))
    expected = smooth.resize((side, side), Image.Resampling.BOX).resize((64, 64), Image.Resampling.BICUBIC)
    [shown] = coarsened(np.asarray(smooth)[None], 1, np.random.default_rng(5))
    assert np.abs(shown.astype(float) - np.asarray(expected, float)).mean() < 3
