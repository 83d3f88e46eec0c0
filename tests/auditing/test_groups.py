"""Weak groups, rare classes and shortcuts: planted ones are found, chance is not."""

from __future__ import annotations

import numpy as np

from embedkit.auditing import OutOfFold
from embedkit.auditing.groups import imbalance, weak_groups
from embedkit.auditing.shortcuts import properties, shortcuts
from embedkit.images import looks_of
from tests.auditing.test_copies import encoded, make_picture

N = 240
KEYS = [f"folder/{row:03d}.jpg" for row in range(N)]
Y = np.arange(N) % 3
CLASSES = ["a", "b", "c"]


def judged(right: np.ndarray) -> OutOfFold:
    predicted = np.where(right, Y, (Y + 1) % 3)
    probabilities = np.full((N, 3), 0.1)
    probabilities[np.arange(N), predicted] = 0.8
    return OutOfFold(probabilities=probabilities, y=Y, checked=np.ones(N, bool))


def test_a_group_that_is_named_worse():
    rng = np.random.default_rng(0)
    shop = np.array(["north", "south", "west"], dtype=object)[rng.integers(0, 3, N)]
    right = rng.random(N) < np.where(shop == "west", 0.4, 0.95)
    found = weak_groups(KEYS, CLASSES, judged(right), {"shop": shop})
    assert [one.key for one in found] == ["shop=west"]
    wrong = dict(zip(KEYS, ~right & (shop == "west"), strict=True))
    assert wrong[found[0].other_key]
    assert f"of {(shop == 'west').sum()} are named right" in found[0].evidence


def test_no_group_where_all_are_alike():
    rng = np.random.default_rng(1)
    named = 0
    for _ in range(20):
        groups = rng.integers(0, 12, N).astype(str).astype(object)
        named += len(weak_groups(KEYS, CLASSES, judged(rng.random(N) < 0.8), {"draw": groups}))
    assert named <= 2


def test_rare_classes():
    labels = ["a"] * 40 + ["b"] * 30 + ["c"] * 3
    found = imbalance([str(row) for row in range(73)], labels)
    assert [(one.key, one.other_key) for one in found] == [("c", "70")]
    assert "3 images; the usual class has 30, the largest 40" in found[0].evidence


def test_a_property_that_gives_the_class_away():
    rng = np.random.default_rng(0)
    leak = Y + 0.2 * rng.normal(size=N)
    found = shortcuts(KEYS, CLASSES, Y, {"brightness": leak[:, None], "size": rng.normal(size=(N, 2))})
    assert [one.key for one in found] == ["brightness"]
    assert found[0].score > 0.8
    assert found[0].other_key in KEYS


def test_chance_is_no_shortcut():
    rng = np.random.default_rng(2)
    for _ in range(10):
        assert shortcuts(KEYS, CLASSES, Y, {"noise": rng.normal(size=(N, 3)), "same": np.ones((N, 1))}) == []


def test_properties_of_files():
    images = [encoded(make_picture(seed).resize((50 + seed, 40))) for seed in range(20)]
    found = properties([f"a/IMG_{seed}.png" for seed in range(20)], looks_of(images))
    assert found["number in the name"].ravel().tolist() == list(range(20))
    assert found["size"].tolist() == [[50 + seed, 40] for seed in range(20)]
    assert "file type" not in found  # all are the same
    assert all(np.isfinite(values).all() for values in found.values())


def test_many_classes_of_few_images_are_nothing_to_warn_about():
    y = np.arange(40) // 2
    assert shortcuts(KEYS[:40], [str(number) for number in range(20)], y, {"size": np.ones((40, 1)) * y[:, None]}) == []
