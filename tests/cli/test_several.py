"""extract with several layers and models."""

from __future__ import annotations

import json

import pytest
import timm
import torch

from embedkit import FeatureTable
from tests.photos import MODEL, make_manifest


@pytest.fixture
def manifest(tmp_path):
    return make_manifest(tmp_path / "photos", {"red": 5, "green": 5}, test=2)


def test_layers_and_models_go_into_a_folder(cli, manifest, tmp_path):
    ran = cli("extract", manifest, "--model", MODEL, "--weights", "random", "--layer", 0, "--layer", 1, "-o", "out/")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{MODEL}-layer-{n}.h5" for n in (0, 1)]
    options = ("--weights", "random", "--layer", 0, "--layer", 1, "--json")
    ran = cli("extract", manifest, "--model", MODEL, *options, "-o", "out/", without=("torch", "timm"))
    results = json.loads(ran.out)["results"]
    assert [(result["forward_passes"], result["cache_hits"]) for result in results] == [(0, 10), (0, 10)]
    files = sorted((tmp_path / "out").iterdir())
    ran = cli("compare", *files, "--no-floors", "--json", without=("torch", "timm"))
    assert ran.code == 0, ran.err
    [board] = json.loads(ran.out)["leaderboards"]
    assert {row["model"] for row in board["rows"]} == {f"{MODEL} layer 0", f"{MODEL} layer 1"}


def test_layers_in_one_file_are_blocks_side_by_side(cli, manifest, tmp_path):
    ran = cli(
        "extract", manifest, "--model", MODEL, "--weights", "random", "--layer", 0, "--layer", -1, "-o", "both.h5"
    )
    assert ran.code == 0, ran.err
    table = FeatureTable.open(tmp_path / "both.h5")
    assert table.spec.backbone.layer == (0, 4)
    assert len(table.spec.backbone.blocks) == 2
    assert table.shape == (10, sum(table.spec.backbone.blocks))
    ran = cli("probe", "both.h5", "--estimator", "ridge", "--no-floors", "--json", without=("torch", "timm"))
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["results"][0]["model"] == f"{MODEL} layer 0,4"


def test_a_plan_and_a_model_take_layers_as_blocks(cli, manifest, tmp_path):
    options = ("--model", MODEL, "--weights", "random", "--layer", 0, "--layer", -1)
    ran = cli("extract", manifest, *options, "--plan", "p.json")
    assert ran.code == 0, ran.err
    assert cli("extract", "--plan", "p.json", "--unit", "1/1").code == 0
    ran = cli("extract", "--plan", "p.json", "-o", "planned.h5")
    assert ran.code == 0, ran.err
    table = FeatureTable.open(tmp_path / "planned.h5")
    assert table.spec.backbone.layer == (0, 4)
    ran = cli("fit", manifest, *options, "-o", "fitted.skops")
    assert ran.code == 0, ran.err
    ran = cli("predict", "fitted.skops", manifest, "--json")
    assert ran.code == 0, ran.err
    predictions = json.loads(ran.out)["predictions"]
    assert [one["path"] for one in predictions] == list(table.keys)


def test_each_model_has_weights_of_its_own(cli, manifest, tmp_path):
    for seed in (1, 2):
        torch.manual_seed(seed)
        torch.save(timm.create_model(MODEL).state_dict(), tmp_path / f"{seed}.pth")
    ran = cli("extract", manifest, "--model", f"{MODEL}=1.pth", "--model", f"{MODEL}=2.pth", "--json")
    assert ran.code == 0, ran.err
    fingerprints = {result["fingerprint"] for result in json.loads(ran.out)["results"]}
    ran = cli("extract", manifest, "--model", f"{MODEL}=2.pth", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["forward_passes"] == 0
    assert len(fingerprints) == 2
    assert json.loads(ran.out)["fingerprint"] in fingerprints
    ran = cli("extract", manifest, "--model", f"{MODEL}=2.pth", "--weights", "1.pth")
    assert ran.code == 2
    assert "names its weights, and --weights 1.pth others" in ran.err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("extract", "--model", "pixels32", "-o", "one.h5"), "names one file"),
        (("extract", "--model", "pixels32", "--plan", "p.json"), "--plan is for one kind of features"),
    ],
)
def test_commands_that_take_one_kind_of_features_say_so(cli, manifest, command, message):
    name, *rest = command
    ran = cli(name, manifest, "--model", MODEL, "--weights", "random", "--layer", 0, "--layer", 1, *rest)
    assert ran.code in (1, 2)
    assert message in ran.err
