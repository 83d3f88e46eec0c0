from __future__ import annotations

import io
import random
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from embedkit.errors import UndecodableImageError, UnreadableImageError, UsageError
from embedkit.images import Limits, decode, jpeg, open_source, read_bytes, to_rgb
from embedkit.specs import DecodeSpec

FULL = DecodeSpec(scale=0)
PILLOW = DecodeSpec(decoder="pillow", scale=0)
BOTH = pytest.mark.parametrize("spec", [FULL, PILLOW], ids=["simplejpeg", "pillow"])


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0")) + png_chunk(b"IEND", b"")


@pytest.mark.assets
@pytest.mark.parametrize("name", ["grocery", "pacs", "imagenet_sample"])
def test_real_files_decode_as_pillow_does(assets, reference, name):
    source = open_source(assets / "data" / name / "split.csv")
    assert len(source) >= 200
    wrong = 0
    for row, ref in enumerate(source.images):
        data = read_bytes(ref)
        expected = reference(data)
        wrong += not np.array_equal(decode(data, FULL), expected)
        if row % 20 == 0:
            wrong += not np.array_equal(decode(data, PILLOW), expected)
    assert wrong == 0


@BOTH
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"subsampling": 0}),
        ("RGB", "JPEG", {"subsampling": 1}),
        ("RGB", "JPEG", {"progressive": True}),
        ("RGB", "JPEG", {"keep_rgb": True}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "MPO", {}),
        ("RGB", "PNG", {}),
        ("L", "PNG", {}),
        ("1", "PNG", {}),
        ("P", "PNG", {}),
        ("RGB", "WEBP", {}),
        ("P", "GIF", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("CMYK", "TIFF", {}),
        ("1", "TIFF", {"compression": "group4"}),
        ("RGB", "BMP", {}),
        ("P", "BMP", {}),
        ("RGB", "PPM", {}),
        ("L", "PPM", {}),
        ("1", "PPM", {}),
    ],
)
def test_every_format_decodes_as_pillow_does(photo, encode, reference, spec, mode, kind, options):
    image = photo.quantize(16) if mode == "P" else photo.convert(mode)
    data = encode(image, kind, **options)
    pixels = decode(data, spec)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, reference(data))


@BOTH
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 5), (8, 8), (9, 17)])
def test_tiny_jpegs_decode_at_full_size(photo, encode, reference, spec, size):
    data = encode(photo.resize(size), "JPEG")
    np.testing.assert_array_equal(decode(data, spec), reference(data))


@pytest.mark.parametrize("size", [(64, 48), (250, 333), (1023, 77), (9, 8), (8, 300), (640, 481)])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_scaled_decoding_keeps_its_promise_and_both_decoders_agree(photo, encode, size, k):
    data = encode(photo.resize(size), "JPEG", quality=90)
    for side in (1, 8, 20, 33, 300):
        asked = []

        def target(height, width, side=side, asked=asked):
            asked.append((height, width))
            return side, side

        pixels = decode(data, DecodeSpec(scale=k), target)
        assert asked == [size[::-1]]
        sizes = [(-(-size[1] // factor), -(-size[0] // factor)) for factor in (8, 4, 2, 1)]
        expected = next((s for s in sizes if min(s) >= k * side), sizes[-1])
        assert pixels.shape == (*expected, 3)
        np.testing.assert_array_equal(pixels, decode(data, DecodeSpec(decoder="pillow", scale=k), target))


@pytest.mark.parametrize("size", [(3, 3), (7, 5), (2, 7), (3, 9), (60, 1)])
def test_less_than_a_block_is_not_reduced(photo, encode, reference, size):
    data = encode(photo.resize(size), "JPEG")
    for decoder in ("simplejpeg", "pillow"):
        pixels = decode(data, DecodeSpec(decoder=decoder, scale=1), target=lambda h, w: (1, 1))
        np.testing.assert_array_equal(pixels, reference(data))


def test_scaled_decoding_only_when_asked_for(photo, encode):
    data = encode(photo, "JPEG")
    assert decode(data, DecodeSpec(scale=2)).shape == (48, 64, 3)
    assert decode(data, DecodeSpec(scale=0), target=lambda h, w: (1, 1)).shape == (48, 64, 3)
    assert decode(encode(photo, "PNG"), DecodeSpec(scale=2), target=lambda h, w: (1, 1)).shape == (48, 64, 3)


def test_scaled_pixels_are_close_to_reduced_ones(encode):
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((640, 480))
    pixels = decode(encode(smooth, "JPEG", quality=95), DecodeSpec(scale=1), target=lambda h, w: (60, 80))
    difference = pixels.astype(int) - np.asarray(smooth.reduce(8)).astype(int)
    assert np.abs(difference).mean() < 2


@BOTH
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(photo, encode, spec, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo, kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    np.testing.assert_array_equal(decode(data, spec), np.asarray(expected))


@BOTH
def test_the_target_is_asked_about_the_upright_image(photo, encode, spec):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photo.resize((640, 480)), "JPEG", exif=exif)
    asked = []

    def target(height, width):
        asked.append((height, width))
        return 150, 100

    pixels = decode(data, DecodeSpec(decoder=spec.decoder, scale=2), target)
    assert asked == [(640, 480)]
    assert pixels.shape == (320, 240, 3)


@BOTH
def test_broken_exif_counts_as_none(photo, encode, reference, spec):
    plain = encode(photo, "JPEG")
    expected = reference(plain)
    for block in (
        b"",
        b"II*\x00",
        b"II*\x00\xff\xff\xff\xff",
        b"nonsense" * 9,
        b"MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12",
    ):
        body = b"Exif\x00\x00" + block
        data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]
        np.testing.assert_array_equal(decode(data, spec), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_a_prefix_of_a_file_is_never_taken_for_another_image(photo, encode, kind):
    data = encode(photo.quantize(16) if kind == "GIF" else photo, kind)
    whole = decode(data, FULL)
    rng = random.Random(0)
    for length in {*rng.sample(range(1, len(data)), 60), len(data) - 1, len(data) - 2, len(data) // 2}:
        try:
            pixels = decode(data[:length], FULL)
        except UndecodableImageError:
            continue
        np.testing.assert_array_equal(pixels, whole)  # only the end mark was missing


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello world, I am a text file", "not an image: no JPEG, PNG, WebP, GIF, TIFF, BMP or PNM signature"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image: "),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image: "),
        (b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00", "not an image that embedkit reads: AVIF, HEIC or video"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "truncated JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF89a", "GIF"),
        (b"RIFF\x00\x00\x00\x00WEBP", "WEBP"),
        (b"II*\x00\x08\x00\x00\x00", "TIFF"),
        (b"BM", "BMP"),
        (b"P6\n", "PPM"),
        (png_header(30000, 30000), "too many pixels: 30000 x 30000 (limit 178,956,970 in all)"),
        (png_header(1, 5000), "too long and thin: 1 x 5000 (limit 200 to 1)"),
        (png_header(40, 50), "truncated PNG"),
    ],
)
@BOTH
def test_reasons_are_short_and_the_same_each_time(spec, data, reason):
    with pytest.raises(UndecodableImageError) as first:
        decode(data, spec)
    with pytest.raises(UndecodableImageError) as second:
        decode(data, spec)
    assert reason in str(first.value)
    assert str(first.value) == str(second.value)
    assert len(str(first.value)) < 140
    assert "0x" not in str(first.value)


@BOTH
def test_truncated_jpeg_says_so(photo, encode, spec):
    data = encode(photo, "JPEG")
    with pytest.raises(UndecodableImageError, match="^truncated JPEG$"):
        decode(data[: len(data) // 2], spec)


@BOTH
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_limits_hold_for_every_format(photo, encode, spec, kind):
    data = encode(photo.quantize(16) if kind == "GIF" else photo, kind)
    assert decode(data, spec, limits=Limits(max_pixels=64 * 48)).shape == (48, 64, 3)
    with pytest.raises(UndecodableImageError, match="too many pixels: 64 x 48"):
        decode(data, spec, limits=Limits(max_pixels=64 * 48 - 1))
    with pytest.raises(UndecodableImageError, match="too long and thin: 64 x 48"):
        decode(data, spec, limits=Limits(max_aspect=1.2))


def test_limits_hold_before_pixels_are_decoded(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(UndecodableImageError, match="too many pixels"):
        decode(png_header(30000, 30000), FULL)


def test_a_large_image_within_the_limits_raises_no_bomb_warning(monkeypatch, photo, encode, reference):
    data = encode(photo, "PNG")
    expected = reference(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 - 1)
    np.testing.assert_array_equal(decode(data, FULL), expected)


def test_too_many_scans(photo, encode):
    data = encode(photo, "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    bomb = data[:start] + 200 * data[start:-2] + data[-2:]
    for spec in (FULL, PILLOW):
        assert decode(data, spec).shape == (48, 64, 3)
        with pytest.raises(UndecodableImageError, match=r"^JPEG of 2\d\d scans \(limit 100\)$"):
            decode(bomb, spec)


def test_what_simplejpeg_refuses_is_judged_by_pillow(photo, encode, reference):
    data = encode(photo, "JPEG")
    scan = data.index(b"\xff\xda")
    noisy = data[:scan] + b"\x00junk" + data[scan:]  # "extraneous bytes": a warning to libjpeg, an error to simplejpeg
    np.testing.assert_array_equal(decode(noisy, FULL), reference(noisy))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_counts(encode, kind):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    red = decode(data, FULL).reshape(-1, 3).mean(axis=0)
    assert red[0] > 240
    assert red[1:].max() < 15


def test_memory_errors_are_no_verdict_on_the_image(monkeypatch, photo, encode):
    def load(self):
        raise MemoryError

    data = encode(photo, "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(UnreadableImageError, match="^not enough memory to decode this PNG$"):
        decode(data, FULL)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError, struct.error, KeyError, RecursionError, Warning, TypeError, IndexError]
)
def test_whatever_pillow_raises_becomes_a_reason(monkeypatch, photo, encode, error):
    def load(self):
        raise error("at 0x7f0000")

    data = encode(photo, "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(UndecodableImageError) as raised:
        decode(data, FULL)
    assert str(raised.value) == f"damaged PNG ({error.__name__})"


def test_truncated_images_are_never_made_up(monkeypatch, photo, encode):
    data = encode(photo, "PNG")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for call in (lambda: decode(data, FULL), lambda: to_rgb(photo, FULL)):
        with pytest.raises(UsageError, match="LOAD_TRUNCATED_IMAGES is set, expected False"):
            call()


def test_many_threads_under_warnings_as_errors(photo, encode, reference):
    """Pillow warns about this PNG; that must neither be heard nor silence the warnings of other threads."""
    plain = encode(photo, "PNG")
    animation = png_chunk(b"acTL", bytes(8))  # of no frames at all
    data = plain[:33] + animation + plain[33:]
    with pytest.warns(UserWarning, match="Invalid APNG"):
        expected = reference(data)
    heard = []

    def other_thread(stop):
        while not stop.wait(0.0005):
            try:
                warnings.warn("mine", UserWarning, stacklevel=1)
            except UserWarning:
                heard.append(True)
            else:
                heard.append(False)

    stop = threading.Event()
    other = threading.Thread(target=other_thread, args=(stop,))
    other.start()
    before = [entry for entry in warnings.filters if "DecodingThreads" not in repr(entry)]
    try:
        with ThreadPoolExecutor(8) as executor:
            for pixels in executor.map(lambda _: decode(data, FULL), range(400)):
                np.testing.assert_array_equal(pixels, expected)
    finally:
        stop.set()
        other.join()
    assert heard
    assert all(heard)
    assert [entry for entry in warnings.filters if "DecodingThreads" not in repr(entry)] == before


@given(
    st.lists(st.sampled_from([b"\xff", b"\xda", b"\xff\xda", b"\x00"]), max_size=40).map(b"".join), st.integers(1, 7)
)
def test_scans_are_counted_across_the_seams_of_what_is_compared_at_once(data, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg, "_COUNTED_BYTES", at_once)
        patch.setattr(jpeg, "_MAX_SCANS", -1)
        with pytest.raises(UndecodableImageError, match=f"of {data.count(bytes([0xFF, 0xDA]))} scans"):
            jpeg.check_scans(data)
