"""gap, as a person types it: images beside a table, domains in a column, and what cannot be."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image, ImageOps

from embedkit import load_result
from embedkit.render import as_text
from tests.photos import make_folder

CLASSES = {"red": 12, "green": 12, "blue": 12}


@pytest.fixture
def photos(tmp_path):
    return make_folder(tmp_path / "photos", CLASSES)


@pytest.fixture
def inverted(tmp_path, photos):
    for file in sorted(photos.rglob("*.png")):
        copy = tmp_path / "inverted" / file.relative_to(photos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as image:
            ImageOps.invert(image.convert("RGB")).save(copy)
    return tmp_path / "inverted"


def test_a_backbone_that_sees_inverted_images_is_negative_transfer(cli, photos, inverted, tmp_path):
    assert cli("extract", "photos", "--model", "pixels32", "-o", "photos.h5").code == 0
    # The model of images is that of the file beside them.
    ran = cli("gap", "inverted", "photos.h5", "-o", "gap.json", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert said["verdict"] == "negative", said["evidence"]
    assert said["distances"]["proxy-a"] > 1.5
    assert said["p_values"]["proxy-a"] < 0.01
    assert {one["method"]: one["value"] for one in said["reached"]}["target-only"] == 1.0
    kept = load_result(tmp_path / "gap.json")
    assert kept.evidence == said["evidence"]
    text = as_text(kept)
    assert text.startswith("Negative transfer: ")
    assert "target-only" in text
    again = cli("gap", "inverted", "photos.h5", "-o", "gap.json")
    assert (again.code, "--force" in again.err) == (1, True)


def test_domains_of_a_column(cli, photos, inverted, tmp_path):
    with (tmp_path / "all.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "domain"])
        for name in ("photos", "inverted"):
            for path in sorted((tmp_path / name).rglob("*.png")):
                writer.writerow([path.relative_to(tmp_path), path.parent.name, name])
    ran = cli("gap", "all.csv", "--model", "pixels32", "--domain-column", "domain", "--json", "--adapter", "coral")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert said["domains"] == {"photos": 36, "inverted": 36}
    assert [(pair["source"], pair["target"]) for pair in said["pairs"]] == [
        ("photos", "inverted"),
        ("inverted", "photos"),
    ]
    # Raised from nothing to guessing, coral is no help.
    assert said["recommended"] is None
    assert {one["method"] for one in said["pooled"]} == {
        "source-only",
        "target-only",
        "joint",
        "feature-copying",
        "coral",
        "guessing",
    }


def test_what_cannot_be_is_one_line(cli):
    ran = cli("gap", "gone.h5", "other.h5", without=("torch", "timm"))
    assert (ran.code, ran.out, "Traceback" in ran.err) == (1, "", False)
    assert "gone.h5" in ran.err.splitlines()[-1]
