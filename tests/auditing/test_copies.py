"""Copies: planted pairs are counted, told from each other, and contradict where their labels do."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from embedkit.auditing import check_copies
from embedkit.auditing.copies import copies
from embedkit.evaluation import DuplicatePair
from embedkit.images import ALTERATIONS, altered


def make_picture(seed: int) -> Image.Image:
    """Return an image with edges and texture."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
    return small.resize((160, 120), Image.Resampling.BICUBIC)


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("as_array", [False, True])
def test_sizes_of_alterations(as_array):
    picture = make_picture(0)
    image = np.asarray(picture) if as_array else encoded(picture)
    made = {how: Image.open(io.BytesIO(altered(image, how))) for how in ALTERATIONS}
    assert {how: one.size for how, one in made.items()} == {
        "re-encoded": (160, 120),
        "half size": (80, 60),
        "cropped": (152, 114),
    }
    np.testing.assert_allclose(np.asarray(made["re-encoded"], np.float64), np.asarray(picture), atol=60)
    middle = np.asarray(picture)[3:117, 4:156]
    np.testing.assert_allclose(np.asarray(made["cropped"], np.float64), middle, atol=40)


def test_what_is_said_of_pairs():
    pairs = [DuplicatePair(0, 2, 1.0, "exact"), DuplicatePair(0, 3, 1.0, "exact"), DuplicatePair(0, 1, 0.96, "near")]
    found = copies(["a", "b", "c", "d"], ["x", "y", "x", "z"], ["train", "", "test", "train"], pairs, "pixels")
    assert [(one.kind, one.key, one.other_key) for one in found] == [
        ("duplicate", "c", "a"),
        ("duplicate", "d", "a"),
        ("near-duplicate", "b", "a"),
        ("contradiction", "d", "a"),
        ("contradiction", "b", "a"),
    ]
    assert "in test and in train" in found[0].evidence
    assert "both in train" in found[1].evidence
    assert found[2].evidence == "alike by 0.960 (pixels)"


def test_planted_pairs_are_counted():
    pairs = [DuplicatePair(0, 9, 1.0, "exact"), DuplicatePair(1, 5, 0.97, "near"), DuplicatePair(2, 3, 0.96, "near")]
    check = check_copies([(1, 5), (2, 6)], pairs)
    assert (check.planted, check.found, check.precision, check.recall) == (2, 1, 0.5, 0.5)
    assert check_copies([(1, 5)], []).recall == 0


def test_a_planted_copy_of_equal_bytes_is_found():
    pairs = [DuplicatePair(0, 9, 1.0, "exact"), DuplicatePair(1, 5, 1.0, "exact"), DuplicatePair(2, 6, 0.97, "near")]
    check = check_copies([(1, 5), (2, 6)], pairs)
    assert (check.found, check.precision, check.recall) == (2, 1.0, 1.0)
