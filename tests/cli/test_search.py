"""search, as a person types it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from embedkit import FeatureTable, load_result
from tests.photos import MODEL, make_manifest, make_photo

EXACT = ("--weights", "random", "--precision", "fp32", "--engine", "torch")


@pytest.fixture
def extracted(cli, tmp_path):
    make_manifest(tmp_path / "photos", {"red": 5, "green": 5})
    ran = cli("extract", "photos/split.csv", "--model", MODEL, *EXACT, "-o", "photos.h5")
    assert ran.code == 0, ran.err
    return tmp_path


def test_new_images_keys_and_what_cannot_be_read(cli, extracted):
    make_photo(99, tint=1).save(extracted / "new.png")
    shutil.copy(extracted / "photos" / "red" / "002.png", extracted / "copy.png")
    (extracted / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    queries = ("new.png", "copy.png", "red/001.png", "broken.jpg", "gone.jpg")
    ran = cli("search", "photos.h5", *queries, "-k", "3", "--report", "page.html", "-o", "found.json", "--json")
    assert ran.code == 3, ran.err
    said = json.loads(ran.out)
    assert [one["query"] for one in said["results"]] == ["new.png", "copy.png", "red/001.png"]
    assert {one["key"] for one in said["skipped"]} == {"broken.jpg", "gone.jpg"}
    assert all(set(hit) == {"key", "label", "cosine"} for one in said["results"] for hit in one["hits"])
    reasons = {one["key"]: one["reason"] for one in said["skipped"]}
    assert reasons["gone.jpg"] == "neither a key of the target, such as red/000.png, nor an image: no such file"
    assert "key" not in reasons["broken.jpg"]
    new, copy, key = (one["hits"] for one in said["results"])
    assert [len(hits) for hits in (new, copy, key)] == [3, 3, 3]
    assert (copy[0]["key"], copy[0]["label"]) == ("red/002.png", "red")
    assert copy[0]["cosine"] == pytest.approx(1, abs=1e-6)
    table = FeatureTable.open(extracted / "photos.h5")
    unit = np.float64(table.X) / np.linalg.norm(np.float64(table.X), axis=1, keepdims=True)
    row = table.keys.index("red/001.png")
    order = [other for other in np.argsort(-(unit @ unit[row])) if other != row][:3]
    assert [hit["key"] for hit in key] == [table.keys[other] for other in order]
    assert "red/001.png" in (extracted / "page.html").read_text("utf-8")
    assert load_result(extracted / "found.json").to_dict() == said


def test_no_forward_pass_where_the_store_has_the_answer(cli, extracted):
    shutil.copy(extracted / "photos" / "red" / "002.png", extracted / "copy.png")
    ran = cli("search", "photos.h5", "copy.png", "green/000.png", without=("torch", "timm"))
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0].split() == ["cosine", "nearest", "to", "copy.png", "label"]
    assert ran.out.splitlines()[1].split() == ["1.0000", "red/002.png", "red"]


def test_a_source_of_images_and_a_query_that_can_be_meant_in_two_ways(cli, tmp_path):
    make_manifest(tmp_path / "photos", {"red": 5, "green": 5})
    (tmp_path / "red").mkdir()
    make_photo(50, tint=2).save(tmp_path / "red" / "000.png")
    ran = cli("search", "photos", "red/000.png", "./red/000.png", "--model", "pixels32", "-k", "1", "--json")
    assert ran.code == 0, ran.err
    key, file = json.loads(ran.out)["results"]
    assert key["hits"][0]["key"] != "red/000.png"
    assert file["query"] == "./red/000.png"
    assert "red/000.png is a key of the target and was taken as that" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("photos.h5", "new.png", "-k", "0"), "expected at least 1"),
        (("photos.h5", "red/001.png", "--model", "pixels32"), "is a feature file and has its model already"),
    ],
)
def test_what_is_refused(cli, extracted, arguments, said):
    ran = cli("search", *arguments)
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
