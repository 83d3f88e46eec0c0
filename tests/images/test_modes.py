from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from embedkit.errors import UndecodableImageError
from embedkit.images import Limits, decode, to_rgb
from embedkit.specs import DecodeSpec

SPEC = DecodeSpec(scale=0)


def over_white(colour, alpha):
    return np.rint((np.asarray(colour, float) * alpha + 255.0 * (255 - alpha)) / 255)


@pytest.mark.parametrize("alpha", [0, 1, 100, 128, 254, 255])
@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (200, 30, 0)), ("LA", (90,)), ("PA", (200, 30, 0))])
def test_transparency_over_white(mode, colour, alpha):
    image = Image.new("LA" if mode == "LA" else "RGBA", (3, 2), (*colour, alpha))
    if mode == "PA":
        image = Image.new("P", (3, 2))
        image.putpalette(colour)
        image.putalpha(alpha)
        assert image.mode == "PA"
    expected = over_white(np.broadcast_to(colour, 3), alpha)
    pixels = to_rgb(image, SPEC)
    assert pixels.shape == (2, 3, 3)
    assert np.abs(pixels - expected).max() <= (1 if alpha not in (0, 255) else 0)


def test_a_transparent_pixel_does_not_show_the_colour_under_it(encode):
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    for kind in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        assert (decode(encode(image, kind, **options), SPEC) == 255).all()


def test_opaque_alpha_changes_nothing(photo, encode):
    opaque = photo.copy()
    opaque.putalpha(255)
    np.testing.assert_array_equal(decode(encode(opaque, "PNG"), SPEC), np.asarray(photo))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_entry(encode, kind):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    pixels = decode(encode(image, kind, transparency=0), SPEC)
    assert pixels.tolist() == [[[255, 255, 255], [0, 255, 0]]]


def test_half_transparent_palette(encode):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 200, 0])
    image.putpixel((1, 0), 1)
    pixels = decode(encode(image, "PNG", transparency=b"\x80\xff"), SPEC)
    assert np.abs(pixels[0, 0] - over_white((200, 0, 0), 128)).max() <= 1
    assert pixels[0, 1].tolist() == [0, 200, 0]


@pytest.mark.parametrize(
    ("mode", "colour", "other", "transparency"),
    [("RGB", (10, 20, 30), (11, 20, 30), (10, 20, 30)), ("L", 77, 78, 77), ("I;16", 5000, 5001, 5000), ("1", 0, 1, 0)],
)
def test_transparent_colour_of_a_png(encode, mode, colour, other, transparency):
    image = Image.new(mode, (2, 1), colour)
    image.putpixel((1, 0), other)
    pixels = decode(encode(image, "PNG", transparency=transparency), SPEC)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    if mode != "1":
        assert pixels[0, 1].max() < 100


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("PPM", {})]
)
def test_sixteen_bit_grey_is_scaled(encode, kind, options):
    samples = np.array([[0, 128, 129, 257, 10000, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    pixels = decode(encode(Image.fromarray(samples), kind, **options), SPEC)
    expected = np.rint(samples / 257)[:, :, None].repeat(3, axis=2)
    np.testing.assert_array_equal(pixels, expected)


def test_big_endian_sixteen_bit_tiff():
    import struct

    samples = np.array([[0, 300, 40000, 65535]], dtype=">u2")
    tags = [
        (256, 4, 4),
        (257, 4, 1),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, 1),
        (279, 4, 8),
    ]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    data = b"MM\x00*" + struct.pack(">I", 16) + samples.tobytes() + struct.pack(">H", len(tags)) + entries + bytes(4)
    assert Image.open(io.BytesIO(data)).mode == "I;16B"
    assert decode(data, SPEC)[0, :, 0].tolist() == [0, 1, 156, 255]


def test_sixteen_bit_colour_png_is_scaled_within_a_level():
    import struct
    import zlib

    samples = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.abs(decode(data, SPEC) - samples / 257).max() <= 1


@pytest.mark.parametrize(
    ("mode", "reason"), [("F", "grey values are floats"), ("I", "grey values are 32-bit integers")]
)
def test_samples_without_a_range_are_refused(encode, mode, reason):
    image = Image.new(mode, (3, 2), 7)
    for call in (lambda: decode(encode(image, "TIFF"), SPEC), lambda: to_rgb(image, SPEC)):
        with pytest.raises(UndecodableImageError, match=reason):
            call()


def test_colours_that_cannot_be_converted(monkeypatch, photo):
    def convert(self, mode):
        raise ValueError("conversion not supported")

    image = photo.convert("LAB")
    monkeypatch.setattr(Image.Image, "convert", convert)
    with pytest.raises(UndecodableImageError, match="^colour mode LAB cannot be turned into RGB$"):
        to_rgb(image, SPEC)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "CMYK", "YCbCr", "HSV", "P", "RGBX"])
def test_images_in_memory_convert_as_pillow_does(photo, mode):
    image = photo.convert(mode)
    np.testing.assert_array_equal(to_rgb(image, SPEC), np.asarray(image.convert("RGB")))


def test_an_image_in_memory_equals_its_file(photo, encode):
    exif = Image.Exif()
    exif[0x0112] = 8
    for data in (encode(photo, "PNG", exif=exif), encode(photo, "JPEG", exif=exif), encode(photo, "TIFF", exif=exif)):
        lazy = Image.open(io.BytesIO(data))
        loaded = Image.open(io.BytesIO(data))
        loaded.load()
        np.testing.assert_array_equal(to_rgb(lazy, SPEC), decode(data, SPEC))
        np.testing.assert_array_equal(to_rgb(loaded, SPEC), decode(data, SPEC))


def test_a_damaged_lazy_image_gives_its_reason(photo, encode):
    data = encode(photo, "JPEG")
    with pytest.raises(UndecodableImageError, match="^truncated JPEG$"):
        to_rgb(Image.open(io.BytesIO(data[:-200])), SPEC)


@given(arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_rgb_arrays_are_themselves(array):
    np.testing.assert_array_equal(to_rgb(array, SPEC), array)
    np.testing.assert_array_equal(to_rgb(array / 255.0, SPEC), array)
    np.testing.assert_array_equal(to_rgb((array / 255.0).astype(np.float32), SPEC), array)
    np.testing.assert_array_equal(to_rgb(array.astype(np.uint16) * 257, SPEC), array)


def test_other_arrays():
    grey = np.array([[0, 255]], dtype=np.uint8)
    expected = [[[0, 0, 0], [255, 255, 255]]]
    for array in (
        grey,
        grey[:, :, None],
        grey.astype(bool),
        grey / 255,
        grey.astype(np.uint16) * 257,
        np.asfortranarray(grey),
    ):
        pixels = to_rgb(array, SPEC)
        assert pixels.tolist() == expected
        assert pixels.flags.c_contiguous
        assert pixels.dtype == np.uint8
    rgba = np.array([[[200, 0, 0, 0], [0, 200, 0, 255]]], dtype=np.uint8)
    assert to_rgb(rgba, SPEC).tolist() == [[[255, 255, 255], [0, 200, 0]]]
    assert to_rgb(rgba / 255, SPEC).tolist() == [[[255, 255, 255], [0, 200, 0]]]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full((2, 2), 1.5), r"floats from 1.5 to 1.5, expected \[0, 1\]"),
        (np.full((2, 2), -0.1), r"floats from -0.1 to -0.1, expected \[0, 1\]"),
        (np.array([[0.5, np.nan]]), r"floats from nan to nan, expected \[0, 1\]"),
        (np.zeros((2, 2), dtype=np.int64), r"array of int64, expected bool, uint8, uint16 or floats in \[0, 1\]"),
        (np.zeros((2, 2, 2), dtype=np.uint8), r"array of shape \(2, 2, 2\), expected \(h, w\)"),
        (np.zeros((3, 20, 30), dtype=np.uint8), r"array of shape \(3, 20, 30\)"),
        (np.zeros(7, dtype=np.uint8), r"array of shape \(7,\)"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "no pixels: 4 x 0"),
        (np.zeros((1, 999, 3), dtype=np.uint8), "too long and thin: 999 x 1"),
    ],
)
def test_refused_arrays(array, reason):
    with pytest.raises(UndecodableImageError, match=reason):
        to_rgb(array, SPEC)


def test_limits_of_images_in_memory(photo):
    for image in (photo, np.asarray(photo)):
        with pytest.raises(UndecodableImageError, match="too many pixels: 64 x 48"):
            to_rgb(image, SPEC, Limits(max_pixels=100))


def test_floats_above_one_by_rounding_are_one():
    assert to_rgb(np.full((2, 2), 1 + 5e-7), DecodeSpec()).min() == 255
