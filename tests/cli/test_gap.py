"""gap, as a person types it: images and tables, domains in a column, and what cannot be."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from embedkit import load_result
from tests.photos import make_folder
from tests.tables.table_samples import make_table

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
    ran = cli("gap", "inverted", "photos.h5")
    assert ran.out.startswith("Negative transfer: ")
    assert "target-only" in ran.out
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
    assert {one["method"] for one in said["pooled"]} == {"source-only", "target-only", "joint", "coral", "guessing"}
    ran = cli("gap", "all.csv", "--model", "pixels32", "--domain-column", "domain", "--no-floors")
    assert ran.code == 0, ran.err
    assert "left out" in ran.out


def labelled(path, labels, *, width=4, **head):
    make_table(len(labels), width, labels=labels, **head).write(path)


TWO = ["a"] * 6 + ["b"] * 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("one.h5", "two.h5"), "one.h5 has 1 class with two images or more (of a)"),
        (("two.h5", "other.h5"), "have no classes in common"),
        (("two.h5", "single.h5"), "single.h5 has 0 classes with two images or more"),
        (("flat.h5", "flat2.h5"), "all features are constant"),
        (("two.h5", "wide.h5"), "features of two kinds"),
        (("two.h5", "none.h5"), "no labelled images"),
        (("two.h5",), "--domain-column"),
        (("two.h5", "other.h5", "--domain-column", "site"), "leave the second one"),
        (("two.h5", "--domain-column", "site"), "has no column 'site'"),
        (("two.h5", "other.h5", "--adapter", "corral"), "adapter 'corral' is not known"),
        (("two.h5", "gone.h5"), "gone.h5"),
    ],
)
def test_what_cannot_be_is_one_line(cli, tmp_path, arguments, said):
    labelled(tmp_path / "one.h5", ["a"] * 12)
    labelled(tmp_path / "two.h5", TWO)
    labelled(tmp_path / "other.h5", ["c"] * 6 + ["d"] * 6, seed=1)
    labelled(tmp_path / "single.h5", ["a", "b"], seed=2)
    labelled(tmp_path / "wide.h5", TWO, width=5)
    make_table(12, seed=4).write(tmp_path / "none.h5")
    for name, seed in (("flat.h5", 5), ("flat2.h5", 6)):
        table = make_table(12, labels=TWO, seed=seed)
        type(table)(table.metadata, np.ones((12, 4), np.float32)).write(tmp_path / name)
    ran = cli("gap", *arguments)
    assert ran.code == 1, ran.err
    assert said in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err
