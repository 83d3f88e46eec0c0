from __future__ import annotations

import hashlib
import io
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from embedkit.errors import UndecodableImageError
from embedkit.images import digest_bytes, digest_pixels


@given(st.binary())
def test_files_are_their_sha256(data):
    assert digest_bytes(data) == hashlib.sha256(data).digest()


shapes = st.one_of(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3, 4])),
)
images = st.sampled_from([np.uint8, np.uint16, np.bool_, np.float32, np.float64]).flatmap(
    lambda dtype: arrays(
        dtype,
        shapes,
        elements={"allow_nan": False, "min_value": 0, "max_value": 1} if dtype in (np.float32, np.float64) else None,
    )
)


@given(images, images)
def test_arrays_are_equal_exactly_when_their_digests_are(left, right):
    same = left.shape == right.shape and left.dtype == right.dtype and left.tobytes() == right.tobytes()
    assert (digest_pixels(left) == digest_pixels(right)) == same


@given(images)
def test_the_digest_depends_on_the_values_only(image):
    digest = digest_pixels(image)
    assert len(digest) == 32
    assert digest == digest_pixels(image.copy())
    assert digest == digest_pixels(np.asfortranarray(image))
    assert digest == digest_pixels(np.repeat(image, 2, axis=0)[::2])
    assert digest == digest_pixels(image.astype(image.dtype.newbyteorder(">")))


@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))), st.data())
def test_one_changed_sample_changes_the_digest(array, data):
    changed = array.copy()
    index = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    changed[index] ^= 1 << data.draw(st.integers(0, 7))
    assert digest_pixels(changed) != digest_pixels(array)


@pytest.mark.parametrize("shape", [(2, 8), (4, 4), (16, 1), (16,), (2, 2, 4), (1, 4, 4), (4, 4, 1)])
def test_equal_bytes_of_another_shape_are_another_image(shape):
    flat = np.arange(16, dtype=np.uint8)
    assert digest_pixels(flat.reshape(shape)) != digest_pixels(flat.reshape(8, 2))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_arrays_and_images_of_the_same_pixels_are_the_same(photo, mode):
    image = photo.convert(mode)
    assert digest_pixels(image) == digest_pixels(np.asarray(image))


def test_equal_bytes_in_another_mode_are_another_image():
    data = bytes(range(48))
    digests = {digest_pixels(Image.frombytes(mode, (4, 4), data)) for mode in ("RGB", "YCbCr", "HSV", "LAB")}
    digests |= {digest_pixels(Image.frombytes(mode, (4, 3), data)) for mode in ("RGBA", "CMYK", "RGBX", "RGBa")}
    digests |= {digest_pixels(Image.frombytes(mode, (4, 3), data)) for mode in ("I", "F")}
    assert len(digests) == 10


def test_palette_transparency_and_orientation_count(photo):
    image = photo.quantize(8)
    digests = {digest_pixels(image)}
    other = image.copy()
    other.putpalette([255 - value for value in image.getpalette()])
    digests.add(digest_pixels(other))
    for transparency in (0, 1, b"\x00", b"\x01"):
        other = image.copy()
        other.info["transparency"] = transparency
        digests.add(digest_pixels(other))
    for orientation in (1, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        other = image.copy()
        other.info["exif"] = exif.tobytes()
        digests.add(digest_pixels(other))
    assert len(digests) == 8  # orientation 1 is none


def test_metadata_does_not_count(photo, encode):
    loaded = Image.open(io.BytesIO(encode(photo, "PNG", dpi=(72, 72))))
    assert digest_pixels(loaded) == digest_pixels(photo)
    photo.info["comment"] = b"nice"
    assert digest_pixels(loaded) == digest_pixels(photo)


def test_the_digest_survives_pickling(photo):
    for image in (photo, photo.quantize(8), photo.convert("1")):
        assert digest_pixels(pickle.loads(pickle.dumps(image))) == digest_pixels(image)


def test_the_digest_is_what_the_specification_says():
    header = b'{"dtype":"|u1","mode":"L","orientation":1,"palette":null,"shape":[1,2],"transparency":null}'
    expected = hashlib.sha256(
        b"embedkit pixels 1\x00" + len(header).to_bytes(8, "little") + header + b"\x05\x06"
    ).digest()
    assert digest_pixels(np.array([[5, 6]], dtype=np.uint8)) == expected


def test_damaged_images_and_objects(photo, encode):
    with pytest.raises(UndecodableImageError, match="^damaged JPEG$"):
        digest_pixels(Image.open(io.BytesIO(encode(photo, "JPEG")[:-200])))
    with pytest.raises(UndecodableImageError, match="array of object"):
        digest_pixels(np.array([[None]]))
