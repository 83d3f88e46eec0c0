"""finetune, as a person types it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from embedkit import FeatureTable, load_result
from tests.photos import make_folder, make_manifest

MODEL = ("--model", "test_vit", "--weights", "random")
SMALL = ("--views", "1", "--depths", "1,2", "--rates", "1e-3", "--epochs", "2", "--trial-epochs", "1")


@pytest.fixture
def photos(tmp_path):
    make_manifest(tmp_path / "photos", {"red": 10, "green": 10, "blue": 10}, test=3)
    return tmp_path


def test_the_ladder_and_the_weights_that_it_leaves(cli, photos):
    command = ("finetune", "photos/split.csv", *MODEL, *SMALL, "--store", "store")
    ran = cli(*command, "-o", "ladder.json", "--weights-output", "tuned.safetensors", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert [one["rung"] for one in said["rungs"]] == ["frozen", "head", "cached"]
    names = {"rung", "value", "interval", "p", "seconds", "peak_bytes", "trained_parameters"}
    assert all(names <= set(one) for one in said["rungs"])
    assert [one["p"] is None for one in said["rungs"]] == [True, False, False]
    assert said["prefix_passes"] == 30 + 21  # each image, and one view of each that trains
    assert said["recommended"] in ("frozen", "head", "cached")
    probed = cli(
        "probe", "photos/split.csv", *MODEL, "--estimator", "logistic", "--no-floors", "--store", "store", "--json"
    )
    assert json.loads(probed.out)["results"][0]["value"] == said["rungs"][0]["value"]

    report = load_result(photos / "ladder.json")
    for one in report.rungs:
        assert float((one.rows.y_true == one.rows.y_pred).mean()) == one.value
    again = cli(*command)
    assert "0 passes of images and views in this run" in again.out
    assert "recommended: " in again.out
    if said["output"] is None:
        assert "tuned.safetensors is not written: no block was tuned" in ran.err
    else:
        assert (photos / "tuned.safetensors").is_file()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((*MODEL, "--depths", "2,x"), 2, "'2,x' is not a list of numbers"),
        ((*MODEL, "--views", "-1"), 1, "views is -1, expected a whole number of at least 0"),
        ((*MODEL, "--until", "head", "--weights-output", "w.safetensors"), 1, "a file of weights is of tuned blocks"),
        ((*MODEL, "--label-column", "weight"), 1, "tuning takes one class an image"),
    ],
)
def test_bad_input(cli, photos, options, code, said):
    ran = cli("finetune", "photos/split.csv", *options, "--store", "store")
    assert ran.code == code, ran.err
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "test_resnet", "--weights", "random"), "is a ResNet, and only blocks of"),
        (("--model", "test_efficientnet", "--weights", "random", "--until", "bias"), "leave it out by --skip lora"),
        (("--model", "test_efficientnet", "--weights", "random", "--until", "lora"), "name another rung by --until"),
        ((*MODEL, "--until", "head", "--skip", "head"), "head is the highest rung and is left out, too"),
        ((*MODEL, "--depths", "9"), "expected fewer than the"),
        ((*MODEL, "--skip", "frozen"), "'frozen' cannot be left out"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_any_pass(cli, photos, options, said):
    ran = cli("finetune", "photos/split.csv", *options, "--store", "store")
    assert ran.code == 1, ran.err
    assert said in ran.err
    assert not list(photos.glob("store/features/*"))


def test_a_feature_file_has_its_model_and_any_network_its_head(cli, tmp_path):
    make_folder(tmp_path / "photos", {"red": 8, "green": 8})
    ran = cli(
        "extract", "photos", "--model", "test_resnet", "--weights", "random", "-o", "photos.h5", "--store", "store"
    )
    assert ran.code == 0, ran.err
    ran = cli("finetune", "photos.h5", "--until", "head", "--epochs", "2", "--store", "store", "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    assert [one["rung"] for one in said["rungs"]] == ["frozen", "head"]
    assert "one fold of five is tested" in ran.err
    both = cli("finetune", "photos.h5", "--model", "test_resnet", "--store", "store")
    assert both.code == 1
    assert "is a feature file and has its model already" in both.err


def test_tuned_weights_are_weights_for_extract(cli, tmp_path):
    from embedkit import FeatureRequest
    from embedkit.adaptation import write_weights
    from embedkit.adaptation.networks import tunable_network
    from embedkit.adaptation.tail import Tail

    make_folder(tmp_path / "photos", {"red": 3})
    tail = Tail(tunable_network(FeatureRequest("test_vit", "random"), 5), 2)
    tail.load({name: one + 0.01 for name, one in tail.state().items()})
    write_weights(tail, tmp_path / "tuned.safetensors")
    for weights, output in (("random", "frozen.h5"), ("tuned.safetensors", "tuned.h5")):
        exact = ("--precision", "fp32", "--engine", "torch")
        ran = cli("extract", "photos", "--model", "test_vit", "--weights", weights, *exact, "-o", output)
        assert ran.code == 0, ran.err
    maps = ("--layer", "3", "--pool", "map", "--precision", "fp32", "--engine", "torch")
    ran = cli("extract", "photos", "--model", "test_vit", "--weights", "random", *maps, "-o", "maps.h5")
    assert ran.code == 0, ran.err
    import torch

    with torch.inference_mode():
        expected = tail.features(torch.from_numpy(FeatureTable.open(tmp_path / "maps.h5").X)).numpy()
    tuned, frozen = (FeatureTable.open(tmp_path / name).X for name in ("tuned.h5", "frozen.h5"))
    np.testing.assert_allclose(tuned, expected, atol=1e-4)
    assert not np.allclose(tuned, frozen, atol=1e-2)
