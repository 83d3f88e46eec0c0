"""label on drawn photos: the rounds that a person goes, the CSV and the page to fill in."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil

import pytest
from click.testing import CliRunner

from embedkit import label, load_result, write_page
from embedkit.errors import LabelsError, OutputExistsError, UsageError
from embedkit.render import as_text
from embedkit_cli.main import cli as command_line
from tests.photos import make_folder, make_manifest

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos whose folder says nothing; the first letter of a name says the colour."""
    folder = tmp_path_factory.mktemp("label")
    make_folder(folder / "sorted", dict.fromkeys(COLOURS, 15))
    (folder / "photos").mkdir()
    for colour in COLOURS:
        for file in (folder / "sorted" / colour).iterdir():
            shutil.copy(file, folder / "photos" / f"{colour}-{file.name}")
    shutil.copy(folder / "photos" / "red-000.png", folder / "photos" / "copy-of-red.png")
    return folder


def fill(file, *, without=()):
    rows = list(csv.DictReader(file.read_text().splitlines()))
    answered = [
        (row["path"], "" if row["path"] in without else re.search("red|green|blue", row["path"]).group())
        for row in rows
    ]
    file.write_text("path,label\n" + "".join(f"{path},{answer}\n" for path, answer in answered))
    return [path for path, _ in answered]


def choose(photos, **arguments):
    return label(photos / "photos", "colour-histogram", store=photos / "store", force=True, **arguments)


def test_rounds(photos):
    first = choose(photos, budget=9, output=photos / "1.csv")
    assert (first.strategy, first.labelled, first.unlabelled, first.accuracy) == ("typical", 0, 46, None)
    asked = fill(photos / "1.csv", without=())
    assert asked == [one.key for one in first.chosen]
    assert len({path.replace("copy-of-red.png", "red-000.png") for path in asked}) == 9
    second = choose(photos, budget=16, answers=[photos / "1.csv"], output=photos / "2.csv")
    assert (second.strategy, second.labelled) == ("uncertain", 9)
    assert not {one.key for one in second.chosen} & set(asked)
    skipped = second.chosen[0].key
    fill(photos / "2.csv", without=(skipped,))
    third = choose(photos, budget=5, answers=[photos / "1.csv", photos / "2.csv"])
    assert third.labelled == 24
    assert set(third.classes) <= set(COLOURS)
    assert 0 < third.accuracy <= 1
    text = as_text(third)
    assert "of the labelled images are named right out of fold, and 5 more labels add" in text
    third.save(photos / "r.json", force=True)
    assert load_result(photos / "r.json").to_dict() == third.to_dict()
    with pytest.raises(OutputExistsError, match="2.csv exists"):
        label(photos / "photos", "colour-histogram", store=photos / "store", output=photos / "2.csv")


def test_a_copy_is_asked_for_once_and_never_after_its_twin(photos):
    everything = choose(photos, budget=100)
    assert len(everything.chosen) == 45
    (photos / "twin.csv").write_text("path,label\nred-000.png,red\n")
    rest = choose(photos, budget=100, answers=[photos / "twin.csv"])
    assert len(rest.chosen) == 44
    assert "copy-of-red.png" not in {one.key for one in rest.chosen}


def test_the_page_has_a_picture_and_a_field_for_each(photos):
    found = choose(photos, budget=6)
    page = write_page(found, photos / "page.html", force=True, store=photos / "store").read_text("utf-8")
    keys = [html.unescape(key) for key in re.findall(r'data-key="([^"]*)"', page)]
    assert keys == [one.key for one in found.chosen]
    assert page.count("<symbol ") == 6
    assert 'id="save-answers"' in page


def test_test_rows_and_given_labels_are_no_candidates(tmp_path):
    manifest = make_manifest(tmp_path / "photos", {"red": 6, "green": 6}, test=2)
    lines = manifest.read_text().splitlines()
    opened = [lines[0], *(line if place % 2 else line.replace(",red,", ",,") for place, line in enumerate(lines[1:]))]
    manifest.write_text("\n".join(opened) + "\n")
    found = label(manifest, "pixels32", store=tmp_path / "store")
    assert sorted(one.key for one in found.chosen) == ["red/000.png", "red/002.png"]
    assert found.labelled == 6


def test_what_is_refused(photos, tmp_path):
    with pytest.raises(LabelsError, match="has a label or is of the test split"):
        label(photos / "sorted", "pixels32", store=photos / "store")
    for arguments, said in (
        ({"budget": 0}, "budget=0, expected at least 1"),
        ({"output": "labels.txt"}, "let it end in .csv"),
        ({"answers": "1.csv"}, "a list of files"),
    ):
        with pytest.raises(UsageError, match=said):
            label(photos / "photos", "pixels32", store=photos / "store", **arguments)
    with pytest.raises(LabelsError, match="there is no file of answers"):
        choose(photos, answers=[tmp_path / "gone.csv"])
    manifest = make_manifest(tmp_path / "values", {"red": 4})
    with pytest.raises(LabelsError, match="of type 'value'"):
        label(manifest, "pixels32", label_column="weight", store=photos / "store")


def test_the_command_line_asks_for_the_same(photos):
    words = ["label", str(photos / "photos"), "--layout", "flat", "--model", "colour-histogram", "--budget", "4"]
    ran = CliRunner().invoke(command_line, [*words, "--store", str(photos / "store"), "--json"])
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    assert [set(one) for one in said["chosen"]] == [{"key", "reason"}] * 4
