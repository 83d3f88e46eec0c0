"""Odd images among ordinary ones: each kind is found, and only there."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from embedkit.auditing.appearance import appearance, outliers, unreadable
from embedkit.images import looks_of
from embedkit.results import Skipped
from tests.auditing.test_copies import encoded, make_picture


def as_jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def filled(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).copy()
    pixels[90:] = 128
    return Image.fromarray(pixels)


ODD = {
    "blank": encoded(Image.new("RGB", (160, 120), (250, 250, 250))),
    "dark": encoded(make_picture(1).point(lambda value: value // 12)),
    "tiny": encoded(make_picture(2).resize((24, 20))),
    "aspect": encoded(make_picture(3).resize((600, 80))),
    "truncated": encoded(filled(make_picture(4))),
}


@pytest.mark.parametrize("kind", ODD)
def test_the_odd_one_is_found(kind):
    images = [encoded(make_picture(seed)) for seed in range(10, 22)] + [ODD[kind]]
    keys = [f"{number}.png" for number in range(len(images))]
    found = appearance(keys, looks_of(images))
    assert [(one.kind, one.key) for one in found] == [(kind, "12.png")]
    assert "nan" not in found[0].evidence


def test_a_mark_that_is_missing_at_the_end():
    whole = as_jpeg(make_picture(0))
    looks = looks_of([whole, whole[:-2] + b"\x00" * 3000, whole + b"\x00" * 100])
    assert looks.cut.tolist() == [False, True, False]
    assert [(one.kind, one.key) for one in appearance(["a", "b", "c"], looks)] == [("truncated", "b")]


def test_what_files_say_of_themselves():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker\0", "Model 3"
    array = np.full((20, 30, 3), 7, np.uint8)
    looks = looks_of([as_jpeg(make_picture(0), exif=exif), encoded(make_picture(0)), array, b"no image"])
    assert looks.camera == ["Maker Model 3", "", "", ""]
    assert looks.kind == ["JPEG", "PNG", "", ""]
    assert looks.width[:3].tolist() == [160, 160, 30]
    assert np.isnan(looks.width[3])
    assert np.isnan(looks.bytes).tolist() == [False, False, True, True]
    assert looks.brightness[2] == pytest.approx(7)
    pixels = np.asarray(make_picture(0), np.float64) @ [0.299, 0.587, 0.114]
    assert looks.brightness[1] == pytest.approx(pixels.mean(), abs=1)
    assert len(looks_of([])) == 0


def test_unreadable_ones_that_were_cut_off():
    failures = [Skipped("a.jpg", "truncated JPEG"), Skipped("b.jpg", "not an image")]
    assert [one.key for one in unreadable(failures)] == ["a.jpg"]


def test_outliers_are_far_from_all_others():
    rng = np.random.default_rng(0)
    X = (np.array([3.0, 1, 0, 0, 0, 0]) + rng.normal(size=(200, 6))).astype(np.float32)
    X[:100] += [0, 0, 9, 0, 0, 0]
    X[7] = [0, 0, 4, 0, -40, 40]
    keys = [str(row) for row in range(200)]
    found = outliers(keys, X)
    assert [one.key for one in found][:1] == ["7"]
    assert len(found) <= 4
    assert outliers(keys[:1], X[:1]) == []
    assert outliers(keys[:5], np.ones((5, 3), np.float32)) == []
