"""probe --fuse, as a person types it."""

from __future__ import annotations

import json

import pytest

from embedkit import load_result
from tests.photos import make_manifest

PSEUDO = ("--model", "pixels32", "--model", "colour-histogram")


@pytest.fixture
def photos(tmp_path):
    make_manifest(tmp_path / "photos", {"red": 12, "green": 12}, test=4)
    return tmp_path


def test_models_of_one_source_and_feature_files_say_the_same(cli, photos):
    ran = cli("probe", "photos/split.csv", *PSEUDO, "--fuse", "vote,concat", "--json", "-o", "fused.json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert [one["way"] for one in said["gains"]] == ["vote", "concat"]
    assert {one["model"] for one in said["singles"]} == {"pixels32", "colour-histogram"}
    assert load_result(photos / "fused.json").gains[0].p == said["gains"][0]["p"]
    for model in ("pixels32", "colour-histogram"):
        assert cli("extract", "photos/split.csv", "--model", model, "-o", f"{model}.h5").code == 0
    files = cli("probe", "pixels32.h5", "colour-histogram.h5", "--fuse", "vote,concat", "--json")
    assert json.loads(files.out)["gains"] == said["gains"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((*PSEUDO, "--fuse", "mix"), 1, "fusion 'mix' is not known; use concat, vote, stack"),
        ((*PSEUDO, "--fuse", "vote", "--shots", "1"), 2, "--fuse has protocol and estimators of its own"),
        (("--model", "pixels32", "--fuse", "vote"), 1, "1 backbone is given, and a fusion is of at least two"),
    ],
)
def test_bad_input(cli, photos, options, code, said):
    ran = cli("probe", "photos/split.csv", *options)
    assert ran.code == code, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_unlabelled_rows_are_used_and_bad_input_is_refused(cli, photos):
    manifest = photos / "photos/split.csv"
    header, *rows = manifest.read_text().splitlines()
    place = header.split(",").index("label")
    hidden = [row.split(",") for row in rows]
    for number, row in enumerate(hidden):
        row[place] = "" if number % 3 == 0 and "train" in row else row[place]
    (photos / "photos/few.csv").write_text("\n".join([header, *(",".join(row) for row in hidden)]) + "\n")
    ran = cli("probe", "photos/few.csv", *PSEUDO, "--unlabelled", "--json", "-o", "few.json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert [one["way"] for one in said["gains"]] == ["agreed", "averaged", "self-training", "label-spreading"]
    assert said["n_unlabelled"] == sum(not row[place] for row in hidden)
    assert load_result(photos / "few.json").gains[0].p == said["gains"][0]["p"]
    ran = cli("probe", "photos/split.csv", *PSEUDO, "--unlabelled", "--fuse", "vote")
    assert ran.code == 2
    assert "it takes one" in ran.err
