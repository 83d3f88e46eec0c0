"""compare and the curves of probe, as a person types them."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.photos import MODEL, make_manifest

OPTIONS = ("--model", MODEL, "--model", "test_vit", "--weights", "random")


@pytest.fixture
def manifest(tmp_path):
    return make_manifest(tmp_path / "photos", {"red": 8, "green": 8, "blue": 8}, test=3)


def test_a_leaderboard_and_again_without_torch(cli, manifest):
    ran = cli("compare", manifest, *OPTIONS)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "photos: quick (logistic)"
    assert {"rank", "features", "accuracy", "images/s", "parameters", "bytes/image"} <= set(lines[2].split())
    assert sum("(floor)" in line for line in lines) == 2
    assert "reported on: test split (9 images)" in lines
    assert "(McNemar)" in ran.out
    again = cli("compare", manifest, *OPTIONS, without=("torch", "timm"))
    assert (again.code, again.out) == (0, ran.out)


def test_json_csv_and_markdown(cli, manifest, tmp_path):
    ran = cli("compare", manifest, *OPTIONS, "--no-floors", "--seeds", "2", "--json")
    assert ran.code == 0, ran.err
    [board] = json.loads(ran.out)["leaderboards"]
    assert (board["seeds"], len(board["rows"]), len(board["pairs"])) == (2, 2, 1)
    ran = cli("compare", manifest, *OPTIONS, "--no-floors", "--seeds", "2", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["model"] for row in rows] == [row["model"] for row in board["rows"]]
    assert cli("compare", manifest, *OPTIONS, "--no-floors", "--seeds", "2", "-o", "results.md").out == ""
    markdown = (tmp_path / "results.md").read_text()
    assert markdown.startswith("## photos: quick (logistic), mean over 2 seeds")
    ran = cli("compare", manifest, *OPTIONS, "--no-floors", "--seeds", "2", "-o", "both.md", "--json")
    assert json.loads(ran.out)["leaderboards"] == [board]
    assert (tmp_path / "both.md").read_text() == markdown
    ran = cli("compare", manifest, *OPTIONS, "--no-floors", "--seeds", "2", "-o", "a.md", "--format", "csv", "--json")
    assert json.loads(ran.out)["leaderboards"] == [board]
    assert list(csv.DictReader(io.StringIO((tmp_path / "a.md").read_text()))) == rows


def test_what_is_there_is_not_written_over(cli, manifest, tmp_path):
    (tmp_path / "a.json").write_text("mine")
    ran = cli("compare", manifest, *OPTIONS, "--no-floors", "-o", "a.json", without=("torch", "timm"))
    assert (ran.code, (tmp_path / "a.json").read_text()) == (1, "mine")
    assert "a.json exists; name another file, or use --force to replace it" in ran.err
    before = manifest.read_text()
    ran = cli("compare", manifest, *OPTIONS, "--no-floors", "-o", manifest, "--force", without=("torch", "timm"))
    assert (ran.code, manifest.read_text()) == (2, before)
    assert "is one of the targets" in ran.err
    ran = cli("compare", manifest, *OPTIONS, "--no-floors", "-o", "a.json", "--force")
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "a.json").read_text())["leaderboards"]


def test_feature_files_of_other_splits_are_shown_and_not_ranked(cli, manifest):
    assert cli("extract", manifest, "--model", MODEL, "--weights", "random", "-o", "a.h5").code == 0
    manifest.write_text(manifest.read_text().replace("red/000.png,red,train", "red/000.png,red,test"))
    assert cli("extract", manifest, "--model", "test_vit", "--weights", "random", "-o", "b.h5").code == 0
    ran = cli("compare", "a.h5", "b.h5", "--no-floors", without=("torch", "timm"))
    assert ran.code == 1
    assert "not ranked: " in ran.out
    assert "other test images" in ran.out
    assert "not comparable" in ran.err


def test_weights_of_each_model(cli, manifest, tmp_path):
    import timm
    import torch

    torch.save(timm.create_model(MODEL, num_classes=3).state_dict(), tmp_path / "one.pth")
    ran = cli("compare", manifest, "--model", f"{MODEL}={tmp_path / 'one.pth'}", "--json")
    assert ran.code == 0, ran.err
    [board] = json.loads(ran.out)["leaderboards"]
    assert {row["model"] for row in board["rows"]} == {MODEL, f"{MODEL} random weights", "pixels32", "colour-histogram"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere", *OPTIONS), 1, "nowhere"),
        (("photos/split.csv", *OPTIONS, "--protocol", "nonsense"), 1, "protocols are 'nonsense'"),
        (("photos/split.csv", *OPTIONS, "-o", "results.txt"), 2, "names no format"),
        (("photos/split.csv", *OPTIONS, "-o", "results.txt", "--json"), 2, "names no format"),
        (("photos/split.csv", *OPTIONS, "-o", "nowhere/results.md"), 2, "does not exist"),
        (("photos/split.csv", *OPTIONS, "--json", "--format", "csv"), 2, "two forms at once"),
        (("photos/split.csv", *OPTIONS, "--seeds", "0"), 2, "--seeds"),
        ((), 2, "Missing argument"),
    ],
)
def test_mistakes_are_named_in_one_line(cli, manifest, arguments, code, message):
    ran = cli("compare", *arguments)
    assert ran.code == code
    assert message in ran.err
    assert "Traceback" not in ran.err
    if "--json" in arguments:
        assert message in json.loads(ran.out)["error"]["message"]
    else:
        assert ran.out == ""


def test_curves(cli, manifest):
    assert cli("extract", manifest, "--model", MODEL, "--weights", "random", "-o", "a.h5").code == 0
    ran = cli("probe", "a.h5", "--shots", "1,2,4", "--seeds", "3", "--json", without=("torch", "timm"))
    assert ran.code == 0, ran.err
    curves = json.loads(ran.out)["curves"]
    assert {curve["model"] for curve in curves} == {MODEL, "pixels32", "colour-histogram"}
    for curve in curves:
        assert [point["size"] for point in curve["points"]] == [1, 2, 4]
        assert all(len(point["values"]) == 3 for point in curve["points"])
    ran = cli("probe", "a.h5", "--fractions", "0.5,1", "--no-floors")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("logistic on test_resnet: 50 % of the training photos give ")
    assert ran.out.splitlines()[2].split("  ")[0] == "features"
    assert "accuracy of logistic, mean over 5 draws with its 95 % interval" in ran.out
    for arguments, message in (
        (("--shots", "1,x"), "not a list of whole numbers"),
        (("--shots", "1", "--protocol", "clip"), "a curve takes one --estimator"),
        (("--seeds", "3"), "--seeds is for curves"),
    ):
        ran = cli("probe", "a.h5", *arguments)
        assert (ran.code, message in ran.err) == (2, True), ran.err
    ran = cli("probe", "a.h5", "--shots", "1", "--fractions", "1")
    assert (ran.code, "give one of the two" in ran.err) == (1, True)
