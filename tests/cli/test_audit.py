"""audit, as a person types it, on a folder with faults that are known."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from PIL import Image

from embedkit import load_result
from tests.photos import make_folder, make_manifest

KINDS = {"duplicate", "contradiction", "blank", "imbalance", "truncated"}


@pytest.fixture
def photos(tmp_path):
    folder = make_folder(tmp_path / "photos", {"red": 20, "green": 20, "blue": 20})
    shutil.copy(folder / "red" / "003.png", folder / "red" / "copy.png")
    shutil.copy(folder / "green" / "004.png", folder / "blue" / "other.png")
    Image.new("RGB", (48, 40), (255, 255, 255)).save(folder / "red" / "blank.png")
    (folder / "rare").mkdir()
    shutil.copy(folder / "blue" / "001.png", folder / "rare" / "one.png")
    whole = (folder / "green" / "001.png").read_bytes()
    (folder / "green" / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder


def test_what_is_found_and_where_it_is_written(cli, photos, tmp_path):
    ran = cli("audit", "photos", "--model", "pixels32", "--json", "-o", "found.csv", "--report", "page.html")
    assert ran.code == 3, ran.err  # the image that was cut off
    said = json.loads(ran.out)
    assert all(set(one) == {"kind", "key", "other_key", "score", "evidence"} for one in said["findings"])
    found = {(one["kind"], one["key"]): one["other_key"] for one in said["findings"]}
    assert {kind for kind, _ in found} >= KINDS
    assert found["duplicate", "red/copy.png"] == "red/003.png"
    assert {key for kind, key in found if kind == "contradiction"} == {"green/004.png", "rare/one.png"}
    assert ("blank", "red/blank.png") in found
    assert found["imbalance", "rare"] == "rare/one.png"
    assert ("truncated", "green/cut.png") in found
    assert said["images"] == 65
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["key"]) for row in rows] == [(one["kind"], one["key"]) for one in said["findings"]]
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Duplicates" in page
    assert page.count("data:image/jpeg;base64,") >= 5
    again = cli("audit", "photos", "--model", "pixels32", "-o", "found.csv")
    assert (again.code, again.out) == (1, "")
    assert "--force" in again.err


def test_the_check_of_itself_and_a_result_that_is_kept(cli, tmp_path):
    make_manifest(tmp_path / "photos", {"red": 20, "green": 20}, test=5)
    assert cli("extract", "photos/split.csv", "--model", "pixels32", "-o", "photos.h5").code == 0
    ran = cli("audit", "photos.h5", "--self-check", "-o", "found.json", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    check = said["self_check"]
    assert {kind: set(one) for kind, one in check.items()} == dict.fromkeys(
        ("label", "near-duplicate"), {"planted", "found", "precision", "recall"}
    )
    near = check["near-duplicate"]
    assert near == {"planted": 3, "found": near["found"], "precision": 1.0, "recall": near["found"] / 3}
    assert near["found"] >= 2  # smooth noise of 48 x 40 pixels, at half its size, is near the threshold
    assert check["label"]["planted"] == 2
    kept = load_result(tmp_path / "found.json")
    assert kept.to_dict() == said
    text = cli("audit", "photos.h5", "--self-check")
    assert f"self-check, near-duplicate: {near['found']} of 3 planted found" in text.out


def test_images_that_are_gone_and_labels_that_are_no_classes(cli, tmp_path):
    make_manifest(tmp_path / "photos", {"red": 6, "green": 6})
    assert cli("extract", "photos/split.csv", "--model", "pixels32", "-o", "photos.h5").code == 0
    shutil.rmtree(tmp_path / "photos")
    ran = cli("audit", "photos.h5", "--label-column", "weight")
    assert ran.code == 0, ran.err
    assert "findings that need pixels are missing" in ran.err
    assert "findings about labels are missing" in ran.err


@pytest.mark.assets
def test_planted_copies_of_photographs_are_found(cli, assets, tmp_path):
    lines = (assets / "data" / "grocery" / "split.csv").read_text("utf-8").splitlines()
    root = assets / "data" / "grocery"
    rows = [f"{root}/{line}" for line in lines[1::6]]
    (tmp_path / "some.csv").write_text("\n".join([lines[0], *rows]) + "\n", "utf-8")
    ran = cli("audit", "some.csv", "--model", "pixels32", "--self-check", "--json")
    assert ran.code == 0, ran.err
    check = json.loads(ran.out)["self_check"]["near-duplicate"]
    assert check["recall"] >= 0.95
    assert check["precision"] >= 0.8
