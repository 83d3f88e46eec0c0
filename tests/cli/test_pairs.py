"""``--pairs`` lists the images that show one picture, and the finding is that of the pixels whatever is probed."""

from __future__ import annotations

import csv
import json

import pytest

from tests.photos import make_photo


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    rows = [("path", "label", "split")]
    for seed in range(24):
        make_photo(seed, tint=seed % 2, size=(96, 80)).save(folder / f"{seed}.png")
        rows.append((f"{seed}.png", "ab"[seed % 2], "train" if seed < 16 else "test"))
    make_photo(0, tint=0, size=(96, 80)).save(folder / "again.jpg", quality=75)
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    make_photo(20, tint=0, size=(96, 80)).resize((60, 50)).save(folder / "small.png")
    rows += [("again.jpg", "a", "test"), ("copy.png", "b", "test"), ("small.png", "a", "test")]
    (folder / "photos.csv").write_text("\n".join(",".join(row) for row in rows))
    return folder


@pytest.mark.parametrize("command", ["probe", "compare"])
def test_pairs_are_listed_and_counted_by_pixels(photos, tmp_path, cli, command):
    result = cli(
        command, photos / "photos.csv", "--model", "colour-histogram", "--model", "pixels32", "--json",
        "--store", tmp_path / "store", "--pairs", tmp_path / "pairs.csv",
    )  # fmt: skip
    assert result.code == 0, result.err
    with (tmp_path / "pairs.csv").open(newline="") as file:
        found = [(one["key"], one["other_key"], one["split"], one["other_split"], one["kind"], one["found_by"])
                 for one in csv.DictReader(file)]  # fmt: skip
    assert sorted(found) == sorted(
        [
            ("1.png", "copy.png", "train", "test", "exact", "bytes"),
            ("0.png", "again.jpg", "train", "test", "near", "pixels"),
            ("20.png", "small.png", "test", "test", "near", "pixels"),
        ]
    )
    record = json.loads(result.out)
    notes = [note for one in record["results"] for note in one["notes"]]
    assert sum("looks like a training image" in note and "by pixels" in note for note in notes) == len(
        record["results"]
    )
    assert all(one["leaks"]["near_duplicates"] == 1 and one["leaks"]["copies"] == 1 for one in record["results"])
    assert "1 pairs of equal images and 2 of nearly equal ones" in result.err
