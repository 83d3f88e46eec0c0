from __future__ import annotations

import io
import logging
import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from embedkit.errors import UndecodableImageError, UnreadableImageError
from embedkit.images import decode, notices, read_bytes
from embedkit.specs import DecodeSpec

SPEC = DecodeSpec(scale=0)
FORMATS = {1: "B", 3: "H", 4: "I"}


def tiff(width, height, samples, *, bits=8, photometric=1, sample_format=1, more=()) -> bytes:
    """A grey TIFF of one strip whose first directory has further tags (tag, type, value)."""
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (277, 3, 1)]
    tags += [
        (278, 3, height),
        (279, 4, len(samples)),
        (339, 3, sample_format),
        (273, 4, 10 + 12 * (10 + len(more)) + 4),
    ]
    entries = b""
    for tag, kind, value in sorted([*tags, *more]):
        entries += struct.pack("<HHI", tag, kind, 1) + struct.pack("<" + FORMATS[kind], value).ljust(4, b"\0")
    return b"II*\0" + struct.pack("<IH", 8, len(tags) + len(more)) + entries + bytes(4) + samples


def directory(width, height) -> bytes:
    return struct.pack("<HHHIIHHIII", 2, 256, 4, 1, width, 257, 4, 1, height, 0)


def test_raw_files_of_cameras_do_not_pass_as_their_thumbnails():
    grey = bytes(range(192))
    assert decode(tiff(16, 12, grey), SPEC).shape == (12, 16, 3)
    plain = tiff(16, 12, grey, more=[(330, 4, 0)])
    for name, data, words in (
        ("DNG", tiff(16, 12, grey, more=[(50706, 1, 1)]), "a camera raw file"),
        ("reduced", tiff(16, 12, grey, more=[(254, 4, 1)]), "smaller version of another page"),
        ("larger below", tiff(16, 12, grey, more=[(330, 4, len(plain))]) + directory(4000, 3000), "smaller version"),
    ):
        with pytest.raises(UndecodableImageError, match=words):
            decode(data, SPEC)
        assert name
    pyramid = tiff(16, 12, grey, more=[(330, 4, len(plain))]) + directory(8, 6)
    assert decode(pyramid, SPEC)[0, 5, 0] == 5
    assert decode(plain, SPEC).shape == (12, 16, 3)  # a directory that is none


@pytest.mark.parametrize("photometric", [0, 1])
def test_sixteen_and_twelve_bits_of_grey(photometric):
    samples = np.array([[0, 1000], [30000, 65535]], np.uint16)
    expected = np.rint(samples / 257)
    if photometric == 0:
        expected = 255 - expected
    pixels = decode(tiff(2, 2, samples.tobytes(), bits=16, photometric=photometric), SPEC)
    np.testing.assert_array_equal(pixels[:, :, 0], expected)
    if photometric:
        packed = bytes.fromhex("000fff800001")
        pixels = decode(tiff(2, 2, packed, bits=12), SPEC)
        np.testing.assert_array_equal(pixels[:, :, 0], np.rint(np.array([[0, 4095], [2048, 1]]) * 255 / 4095))


def test_signed_samples_are_refused_by_name():
    with pytest.raises(UndecodableImageError, match="signed 16-bit integers"):
        decode(tiff(2, 2, bytes(8), bits=16, sample_format=2), SPEC)


@pytest.fixture
def said(caplog, monkeypatch):
    monkeypatch.setattr(notices, "_said", set())
    caplog.set_level(logging.WARNING, "embedkit")
    return caplog


def test_twelve_bits_in_sixteen_are_said_once(said):
    dark = tiff(2, 2, np.array([[0, 9], [300, 4095]], np.uint16).tobytes(), bits=16)
    for _ in range(3):
        decode(dark, SPEC)
    assert len(said.records) == 1
    assert "no value above 4095" in said.text


def test_further_pages_are_said_once(said):
    buffer = io.BytesIO()
    pages = [Image.new("L", (3, 2), value) for value in (10, 20)]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    for _ in range(2):
        assert decode(buffer.getvalue(), SPEC)[0, 0, 0] == 10
    assert [record.message for record in said.records] == [
        "a TIFF holds several pages: of such files only the first page is read"
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_a_text_chunk_of_a_png(photo, encode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = exif.tobytes()
    info = PngImagePlugin.PngInfo()
    digits = block.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    info.add_text("Raw profile type exif", f"\nexif\n{len(block):8d}\n{lines}\n", zip=True)
    expected = decode(encode(photo, "PNG", exif=exif), SPEC)
    np.testing.assert_array_equal(decode(encode(photo, "PNG", pnginfo=info), SPEC), expected)
    assert expected.shape[:2] == ((64, 48) if orientation >= 5 else (48, 64))


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS", "Photoshop"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"\x00\x00\x00\x18ftypheic", "AVIF, HEIC or video"),
    ],
)
def test_formats_that_are_not_read_have_their_names(head, name):
    with pytest.raises(UndecodableImageError, match=f"not an image that embedkit reads: {name}; convert"):
        decode(head + bytes(40), SPEC)


def test_a_name_in_another_form_of_unicode_is_found_out(tmp_path):
    (tmp_path / "cafe\u0301.jpg").write_bytes(b"x")
    with pytest.raises(
        UnreadableImageError, match=r"no such file: its name is there in another form of Unicode \(NFD\)"
    ):
        read_bytes(str(tmp_path / "caf\u00e9.jpg"))
    with pytest.raises(UnreadableImageError, match=r"^no such file$"):
        read_bytes(str(tmp_path / "\u00e9.jpg"))
