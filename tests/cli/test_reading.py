"""What is said of what was read: one line, --dry-run, --update, the options that decide, several sources."""

from __future__ import annotations

import json
import os
from itertools import product

import pytest

from tests.photos import make_photo

MODEL = ("--model", "pixels32")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for seed, (split, name) in enumerate(product(("train", "test"), ("red", "green"))):
        (folder / split / name).mkdir(parents=True)
        for number in range(6):
            photo = make_photo(10 * seed + number, tint=seed % 2)
            photo.save(folder / split / name / f"{number:03d}.png")
    (folder / "train" / "red" / "notes.txt").write_text("x")
    (folder / "test" / "red" / "raw.dng").write_bytes(b"II*\0")
    return folder


LINE = (
    "labels: 2 classes (green 12, red 12); splits: train 12, test 12; passed over: 2 files (no image: .dng 1, .txt 1)"
)


def test_a_dry_run_says_it_all_and_writes_nothing(cli, photos, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    ran = cli("extract", photos, *MODEL, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["rows"], found["forward_passes"]) == (24, 24)
    assert found["labels"] == {"green": 12, "red": 12}
    assert found["splits"] == {"train": 12, "test": 12}
    assert found["passed_over"] == {"no image: .dng": 1, "no image: .txt": 1}
    assert found["seconds_expected"] > 0
    assert found["bytes_expected"] > 24 * 3072 * 4
    assert found["memory_expected"] > 1e6
    assert sorted(tmp_path.rglob("*")) == before
    assert cli("extract", photos, *MODEL).out.splitlines()[-1] == LINE
    ran = cli("extract", photos, *MODEL, "--dry-run")
    assert "forward passes  0\n" in ran.out
    assert ran.out.splitlines()[-1] == LINE


def test_every_command_prints_the_line(cli, photos):
    ran = cli("extract", photos, *MODEL, "-o", "p.h5", "--json")
    assert json.loads(ran.out)["read"] == [LINE]
    assert LINE in cli("info", "p.h5").out
    assert cli("probe", "p.h5", "--no-floors").out.splitlines()[-1] == LINE
    ran = cli("fit", "p.h5", "-o", "m.skops", without=("torch", "timm"))
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == LINE


def test_update_brings_an_output_up_to_date(cli, photos, tmp_path):
    assert cli("extract", photos, *MODEL, "-o", "p.h5").code == 0
    (photos / "test" / "red" / "000.png").unlink()
    os.replace(photos / "train" / "red" / "001.png", photos / "train" / "green" / "000.png")
    ran = cli("extract", photos, *MODEL, "-o", "p.h5")
    assert ran.code == 1
    assert "--update (update=True)" in ran.err
    ran = cli("extract", photos, *MODEL, "-o", "p.h5", "--update", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["changes"] == {"added": 0, "removed": 2, "changed": 1}
    ran = cli("extract", photos, *MODEL, "--dtype", "float16", "-o", "p.h5", "--update")
    assert ran.code == 1
    assert "holds other features" in ran.err


def test_layouts_and_several_sources(cli, photos):
    ran = cli("extract", photos, *MODEL, "--layout", "class", "--json")
    assert json.loads(ran.out)["labels"] == {"test": 12, "train": 12}
    ran = cli("extract", photos / "train", photos / "test", *MODEL, "-o", "p.h5", "--json")
    found = json.loads(ran.out)
    assert (found["labels"], found["splits"]) == ({"green": 12, "red": 12}, {"train": 12, "test": 12})
    assert "the names of the sources are read as splits" in ran.err
    assert found["source_notes"]
    ran = cli("probe", photos / "train", photos / "test", *MODEL, "--no-floors", "--json")
    assert json.loads(ran.out)["results"][0]["n_train"] == 12


def test_what_is_missing_is_noticed_before_torch(cli, photos):
    for arguments, words in (
        (("extract", "absent", "--model", "resnet18"), "absent: no such file or folder"),
        (("extract", photos, "--model", "resnet18", "--weights", "no.pth"), "weights no.pth: no such file"),
        (("fit", "absent.h5", "-o", "m.skops"), "no feature file at absent.h5"),
        (("predict", "absent.skops", photos), "no model file absent.skops"),
    ):
        ran = cli(*arguments, without=("torch", "timm"))
        assert ran.code == 1
        assert words in ran.err


def test_a_home_that_cannot_be_written_to_says_what_to_name(cli, photos, tmp_path):
    (tmp_path / "home").write_text("a file")
    ran = cli("extract", photos, *MODEL, "--store", tmp_path / "home" / "store")
    assert ran.code == 1
    assert "--store" in ran.err
    assert "EMBEDKIT_STORE" in ran.err
