from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from embedkit.images.exif import apply_orientation, exif_orientation, jpeg_orientation


def block(order: str, kind: int, value: int, count: int = 1, tag: int = 0x0112) -> bytes:
    head = b"II*\x00" if order == "<" else b"MM\x00*"
    field = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
    return head + struct.pack(order + "IHHHI", 8, 1, tag, kind, count) + field + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_in_either_byte_order(order, kind, value):
    assert exif_orientation(block(order, kind, value)) == value
    assert exif_orientation(b"Exif\x00\x00" + block(order, kind, value)) == value


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_values_out_of_range_count_as_none(value):
    assert exif_orientation(block("<", 3, value)) == 1


def test_other_types_counts_and_tags_count_as_none():
    assert exif_orientation(block("<", 2, 6)) == 1
    assert exif_orientation(block("<", 3, 6, count=2)) == 1
    assert exif_orientation(block("<", 3, 6, tag=0x0111)) == 1


@given(st.binary(max_size=80), st.integers(0, 40))
def test_no_block_raises(data, cut):
    assert 1 <= exif_orientation(data) <= 8
    assert 1 <= exif_orientation(block("<", 3, 6)[:cut] + data) <= 8
    assert 1 <= jpeg_orientation(b"\xff\xd8" + data) <= 8
    assert 1 <= jpeg_orientation(b"\xff\xd8\xff\xe1\x00\x40Exif\x00\x00" + block(">", 3, 6)[:cut] + data) <= 8


def test_only_segments_before_the_scan_count():
    body = b"Exif\x00\x00" + block("<", 3, 6)
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    assert jpeg_orientation(b"\xff\xd8" + segment) == 6
    assert jpeg_orientation(b"\xff\xd8\xff\xe0\x00\x04ab" + b"\xff\xff" + segment) == 6
    assert jpeg_orientation(b"\xff\xd8" + b"junk" + segment) == 6
    assert jpeg_orientation(b"\xff\xd8\xff\xda\x00\x02" + segment) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_turn_as_pillow_turns_them(orientation):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    turned = apply_orientation(pixels, orientation)
    np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))
    assert turned.flags.c_contiguous
