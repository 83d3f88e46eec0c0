"""Near-duplicates: altered copies of drawn pictures are found, and other pictures are not."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from embedkit.auditing import check_copies, near_pairs
from embedkit.auditing.copies import copies, exact_pairs
from embedkit.auditing.near import _shrinking
from embedkit.images import ALTERATIONS, altered, looks_of

N = 40


def make_picture(seed: int) -> Image.Image:
    """Return an image with edges and texture."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
    return small.resize((160, 120), Image.Resampling.BICUBIC)


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [encoded(make_picture(seed)) for seed in range(N)]


@pytest.mark.parametrize("how", ALTERATIONS)
def test_altered_copies_are_found_and_nothing_else(pictures, how):
    made = [altered(data, how) for data in pictures[:10]]
    grey = looks_of([*pictures, *made]).grey
    features = np.random.default_rng(0).normal(size=(N + 10, 4)).astype(np.float32)  # say nothing
    pairs = near_pairs(features, grey)
    assert {(one, two) for one, two, _ in pairs} == {(row, N + row) for row in range(10)}
    check = check_copies([(row, N + row) for row in range(10)], pairs)
    assert (check.planted, check.found, check.precision, check.recall) == (10, 10, 1.0, 1.0)


def test_sizes_of_alterations(pictures):
    size = {how: Image.open(io.BytesIO(altered(pictures[0], how))).size for how in ALTERATIONS}
    assert size == {"re-encoded": (160, 120), "half size": (80, 60), "cropped": (152, 114)}


def test_exact_copies_are_named_once(pictures):
    digests = np.zeros((4, 32), np.uint8)
    digests[:, 0] = [1, 2, 1, 1]
    exact = exact_pairs(digests)
    assert exact == [(0, 2, 1.0), (0, 3, 1.0)]
    grey = looks_of([pictures[0], pictures[1], pictures[0], pictures[0]]).grey
    assert near_pairs(np.eye(4, dtype=np.float32), grey, exact) == []
    found = copies(["a", "b", "c", "d"], ["x", "y", "x", "z"], ["train", "", "test", "train"], exact, [(0, 1, 0.95)])
    assert [(one.kind, one.key, one.other_key) for one in found] == [
        ("duplicate", "c", "a"),
        ("duplicate", "d", "a"),
        ("near-duplicate", "b", "a"),
        ("contradiction", "d", "a"),
        ("contradiction", "b", "a"),
    ]
    assert "in test and in train" in found[0].evidence
    assert "both in train" in found[1].evidence


def test_blank_pictures_are_no_copies_of_each_other():
    blank = [encoded(Image.new("RGB", (50, 50), (value, value, value))) for value in (10, 200, 250)]
    assert near_pairs(np.ones((3, 2), np.float32), looks_of(blank).grey) == []


@pytest.mark.parametrize("crop", [0.0, 0.05, 0.1])
def test_views_average_what_is_below_them(crop):
    grey = np.random.default_rng(0).random((48, 48))
    fine = np.kron(grey, np.ones((10, 10)))  # in tenths of a pixel all edges are whole
    edges = np.round(480 * (crop / 2 + (1 - crop) * np.arange(25) / 24)).astype(int)
    expected = [
        [fine[top:bottom, left:right].mean() for left, right in itertools.pairwise(edges)]
        for top, bottom in itertools.pairwise(edges)
    ]
    weights = _shrinking(48, crop)
    np.testing.assert_allclose(weights @ grey @ weights.T, expected, atol=1e-6)
