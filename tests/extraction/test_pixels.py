"""Pixels for training, kept or decoded as asked for: the same, each row in its view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embedkit.errors import UndecodableImageError
from embedkit.extraction import PixelRows
from embedkit.images import decode, open_source, read_bytes
from embedkit.preprocess import Preprocessor
from embedkit.specs import DecodeSpec
from tests.extraction.test_pipeline import RECIPE
from tests.photos import make_folder

VIEWS = [RECIPE.preprocess, replace(RECIPE.preprocess, crop_pct=0.5), RECIPE.preprocess]


def test_kept_or_not_each_row_comes_in_its_view(tmp_path):
    source = open_source(make_folder(tmp_path / "photos", {"red": 3, "green": 2}))
    kept, read = (PixelRows(source, DecodeSpec(), VIEWS, kept_bytes=size) for size in (1 << 30, 0))
    rows, views = np.array([4, 0, 0, 2, 4]), np.array([0, 1, 2, 0, 1])
    got = read.read(rows, views)
    assert got.shape == (5, 32, 32, 3)
    np.testing.assert_array_equal(kept.read(rows, views), got, strict=True)
    for pixels, row, view in zip(got, rows, views, strict=True):
        rgb = decode(read_bytes(source.images[row]), DecodeSpec())
        np.testing.assert_array_equal(Preprocessor(VIEWS[view])(rgb).transpose(1, 2, 0), pixels)
    assert (got[0] != got[4]).any()


def test_an_image_that_is_none_is_named(tmp_path):
    folder = make_folder(tmp_path / "photos", {"red": 3})
    (folder / "red" / "001.png").write_bytes(b"no image")
    with pytest.raises(UndecodableImageError, match=r"red/001\.png: not an image"):
        PixelRows(open_source(folder), DecodeSpec(), VIEWS)
