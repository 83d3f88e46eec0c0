"""What tested images share with training images is counted, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from embedkit import FeatureTable, extract
from embedkit.evaluation.duplicates import Leaks, find_duplicates, leaks
from embedkit.evaluation.splits import Split
from embedkit.probes import quick
from tests.photos import make_photo
from tests.probes.samples import blobs, table_of
from tests.tables.table_samples import make_digests


def split_of(train, test) -> Split:
    return Split(
        fit=np.asarray(train), select=np.empty(0, np.intp), test=np.asarray(test), selected_on="", reported_on=""
    )


def pictures(n: int, random_state: int = 0) -> np.ndarray:
    """Draw rows of `pixels32`, whose pictures have nothing in common."""
    return np.random.default_rng(random_state).standard_normal((n, 3 * 32 * 32)).astype(np.float32)


def test_copies_and_near_duplicates_are_told_apart():
    random = np.random.default_rng(1)
    X = pictures(90)
    digests = make_digests(90)
    X[60] = X[0]
    digests[60] = digests[0]  # a copy
    X[61] = X[1] + 0.05 * random.standard_normal(X.shape[1])  # nearly the same picture
    X[62] = X[2] + 2.00 * random.standard_normal(X.shape[1])  # another one
    split = ["train"] * 60 + ["test"] * 30
    table = table_of(X, ["a", "b", "c"] * 30, digests=digests, split=split, architecture="pixels32")
    result = quick(table, "knn", model="m").result
    assert result.leaks == {"tested": 30, "copies": 1, "compared": 29, "near_duplicates": 1, "shared_groups": 0}
    assert result.notes[0].startswith("1 of 30 tested images is byte for byte among the training images")
    assert result.notes[1] == (
        "1 of 30 tested images looks like a training image re-encoded, resized or cropped, by pixels: the number may "
        "flatter"
    )
    assert result.n_test == 30  # nothing is removed


def test_features_of_a_network_tell_no_near_duplicates_and_that_is_said():
    """What is near in features depends on the network, all the more where its weights are random."""
    X, y = blobs(rows=30, width=32)
    X[30:] = X[30]
    digests = make_digests(90)
    digests[89] = digests[0]
    table = table_of(X, y, digests=digests, split=(["train"] * 20 + ["test"] * 10) * 3)
    result = quick(table, "knn", model="m").result
    assert result.leaks == {"tested": 30, "copies": 1, "compared": 0, "near_duplicates": 0, "shared_groups": 0}
    assert any("near-duplicates were not looked for" in note for note in result.notes)


def test_many_tested_images_are_sampled_and_it_is_said(monkeypatch):
    monkeypatch.setattr("embedkit.evaluation.duplicates._BUDGET", 0)
    monkeypatch.setattr("embedkit.evaluation.duplicates._LEAST_SAMPLE", 10)
    X = pictures(60)
    X[1::2] = X[::2]
    table = table_of(X, ["a", "b", "c"] * 20, architecture="pixels32")
    table.metadata.split = np.array(["train", "test"] * 30, dtype=object)
    splits = [split_of(np.arange(0, 60, 2), np.arange(1, 60, 2))]
    found = leaks(table, splits, find_duplicates(table))
    assert (found.tested, found.compared, found.near_duplicates) == (30, 10, 10)
    assert found.notes()[0].startswith("10 of 10 tested images compared look like")
    assert leaks(table, splits, find_duplicates(table)) == found
    assert leaks(table, splits, find_duplicates(table, thorough=True)).near_duplicates == 30


def test_nothing_found_says_nothing():
    assert Leaks(tested=9, copies=0, compared=9, near_duplicates=0, shared_groups=0, source="pixels").notes() == []


def test_re_encoded_and_resized_pictures_are_found_by_their_pixels(tmp_path):
    folder = tmp_path / "photos"
    rows = [("path", "label", "split")]
    folder.mkdir()

    def add(image: Image.Image, name: str, label: str, split: str, **options) -> None:
        image.save(folder / name, **options)
        rows.append((name, label, split))

    for seed in range(40):
        add(make_photo(seed, tint=seed % 2, size=(96, 80)), f"{seed}.png", "ab"[seed % 2], "train")
    for seed in range(8):
        photo = make_photo(seed, tint=seed % 2, size=(96, 80))
        if seed % 2:
            add(photo.resize((64, 56)), f"small{seed}.png", "ab"[seed % 2], "test")
        else:
            add(photo, f"again{seed}.jpg", "ab"[seed % 2], "test", quality=75)
    for seed in range(100, 116):
        add(make_photo(seed, tint=seed % 2, size=(96, 80)), f"{seed}.png", "ab"[seed % 2], "test")
    (folder / "split.csv").write_text("\n".join(",".join(row) for row in rows))
    extract(folder / "split.csv", "pixels32", store=tmp_path / "store", output=tmp_path / "pixels.h5")
    result = quick(FeatureTable.open(tmp_path / "pixels.h5"), "knn", model="pixels32").result
    assert result.leaks["copies"] == 0
    assert result.leaks["near_duplicates"] == 8
    assert result.leaks["tested"] == 24


@pytest.mark.assets
def test_different_drawings_and_photographs_are_not_flagged(assets, tmp_path):
    """The sketches of PACS, black lines on white, are all near each other in pixels."""
    extract(assets / "data" / "pacs" / "split.csv", "pixels32", store=tmp_path / "store", output=tmp_path / "pacs.h5")
    found = quick(FeatureTable.open(tmp_path / "pacs.h5"), "ridge", model="pixels32").result.leaks
    assert found["near_duplicates"] <= 0.01 * found["tested"]
