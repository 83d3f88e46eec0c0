"""select --advise: what is planted is advised, with its number; what brings nothing is said to."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from embedkit import FeatureRequest, select
from embedkit.errors import LabelsError
from embedkit.render import as_text
from embedkit.selection import LabelGain, gain_of_labels
from embedkit.workflows.advising import advise
from embedkit.workflows.evidence import Evidence
from tests.photos import make_manifest
from tests.report.samples import make_selection

PSEUDO = ("colour-histogram", "pixels32")
CLASSES = {"left-soft": (0, 20), "right-soft": (1, 20), "left-hard": (0, 90), "right-hard": (1, 90)}


def photo(seed: int, side: int, contrast: int) -> Image.Image:
    """Return noise that is brighter on one side, which no histogram sees, and soft or hard, which no pixel knows."""
    rng = np.random.default_rng(seed)
    pixels = 120 + contrast * rng.choice([-1, 1], (32, 32, 1)).repeat(3, axis=2)
    pixels[:, 16 * side : 16 * side + 16] += 30
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    found = make_manifest(folder, dict.fromkeys(CLASSES, 30), test=10)
    for seed, file in enumerate(sorted(folder.rglob("*.png"))):
        photo(seed, *CLASSES[file.parent.name]).save(file)
    return found


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def advised(found) -> dict:
    said = {one.about: one for one in found.advice}
    assert len(said) == len(found.advice)
    assert all(any(mark.isdigit() for mark in one.because) for one in found.advice)
    return said


def test_backbones_that_know_different_things_are_advised_together(manifest, store):
    advice = advised(select(manifest, PSEUDO, store=store, advice=True))["fusion"]
    assert advice.gain > 0.2
    assert advice.p_value < 0.01
    assert advice.advice.startswith("take ")
    assert advice.command.endswith("--fuse concat")


@pytest.fixture(scope="module")
def sides(manifest, tmp_path_factory):
    """Sides alone: pixels name all of them, and the histogram none."""
    rows = [row for row in rows_of(manifest) if row["label"].endswith("soft")]
    found = tmp_path_factory.mktemp("sides") / "sides.csv"
    with found.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "path": str(manifest.parent / row["path"])} for row in rows)
    return found


def test_what_brings_nothing_is_said_to(sides, store):
    said = advised(select(sides, PSEUDO, store=store, advice=True))
    assert said["fusion"].advice == "take no other backbone beside it: with colour-histogram there is no gain"
    assert said["labels"].advice.startswith("label no more images at random")
    assert said["labels"].gain == 0


@pytest.mark.parametrize("planted", ["the same", "negatives"])
def test_a_source_that_serves_and_one_that_does_not(sides, store, tmp_path, planted):
    make_manifest(tmp_path, {"left-soft": 30, "right-soft": 30}, test=10)
    for seed, file in enumerate(sorted(tmp_path.rglob("*.png"))):
        image = photo(1000 + seed, *CLASSES[file.parent.name])
        (ImageOps.invert(image) if planted == "negatives" else image).save(file)
    found = select(sides, PSEUDO, store=store, source=tmp_path / "split.csv")
    advice = advised(found)["domain"]
    if planted == "the same":
        assert "serves here as it is" in advice.advice
        assert "transfers well" in advice.because
    else:
        assert "keep to the target's own images" in advice.advice
        assert "left-soft and right-soft (60 of 60 images) are named as each other" in advice.because
        assert advice.gain == -1
    assert advice.command.startswith("embedkit gap ")


def test_a_source_of_other_classes_is_refused_before_anything_is_computed(manifest, tmp_path):
    other = make_manifest(tmp_path / "other", {"cat": 4, "left-soft": 4}, test=1)
    with pytest.raises(LabelsError, match="have 1 class in common") as raised:
        select(manifest, PSEUDO, store=tmp_path / "empty", source=other)
    assert "\n" not in str(raised.value)
    assert not any((tmp_path / "empty").rglob("*.h5"))


@pytest.mark.parametrize(
    ("regret", "all_used", "thorough", "said", "because"),
    [
        (0.002, False, False, "spend no more on choosing", "--thorough goes on"),
        (0.002, True, False, "spend no more on choosing", "only more labelled images would tell"),
        (0.014, True, False, "do not take the choice for settled", "only more labelled images would tell"),
        (0.014, False, True, "do not take the choice for settled", "a larger --budget goes on"),
    ],
)
def test_whether_to_go_on_choosing_is_said_by_what_is_left_to_gain(regret, all_used, thorough, said, because):
    found = dataclasses.replace(make_selection(), tied=["other_net"], expected_regret=regret)
    evidence = Evidence(all_used=all_used, thorough=thorough)
    advice = advised(dataclasses.replace(found, advice=advise(found, "photos", evidence)))
    assert advice["choosing"].advice.startswith(said)
    assert advice["choosing"].because.endswith(because)


def test_the_classifier_of_the_advice_is_the_one_whose_number_is_shown():
    found = make_selection()
    assert found.result.estimator == "logistic"
    assert advise(found, "photos", Evidence())[0].advice.endswith("with a linear classifier")
    found = dataclasses.replace(found, result=dataclasses.replace(found.result, estimator="knn"))
    assert "nearest images" in advise(found, "photos", Evidence())[0].advice


def test_a_budget_that_left_no_room_for_a_trial_is_not_called_none():
    found = make_selection()
    without = {one.about: one for one in advise(found, "photos", Evidence(trial_seconds=60.0))}
    within = {one.about: one for one in advise(found, "photos", Evidence(trial_seconds=60.0, budgeted=True))}
    assert "there was no --budget" in without["tuning"].because
    assert "the --budget left no room" in within["tuning"].because


def test_scores_are_explained_and_a_hit_among_three_is_not_counted():
    found = make_selection()
    few = as_text(found)
    assert "top-3 hit: whether" not in few
    assert "1 of 2" in few
    assert "fewer candidates: LEEP and NCE" in few
    values = {f"net {number}": float(number) for number in range(4)}
    verdict = dataclasses.replace(found.scores["parc"], values=values)
    many = as_text(dataclasses.replace(found, scores={"log_me": verdict}))
    assert "top-3 hit: whether" in many
    assert "LogME" in many
    assert " yes " in many
    assert " yes " not in few


def sample(n: int, apart: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 5
    X = rng.normal(size=(n, 40))
    X[np.arange(n), classes] += apart
    return X.astype(np.float32), classes.astype(np.intp)


def test_the_second_half_of_the_labels_brings_what_new_rows_show():
    """Gains of doubling, averaged over draws, against probes of rows that are really there."""

    def of(rows: int, seed: int) -> LabelGain:
        return gain_of_labels(*sample(rows, 1.5, seed), np.arange(rows), *sample(400, 1.5, 500 + seed))

    found = [of(160, seed) for seed in range(12)]
    twice = [of(320, seed).whole for seed in range(12)]
    gained = np.mean(twice) - np.mean([one.whole for one in found])
    assert gained > 0.02
    assert np.mean([one.expected for one in found]) == pytest.approx(gained, abs=0.02)
    assert np.mean([one.p_value < 0.05 for one in found]) > 0.8
    assert all(one.interval[0] < one.whole - one.half < one.interval[1] for one in found)


def test_labels_that_are_enough_bring_nothing():
    found = gain_of_labels(*sample(160, 30.0), np.arange(160), *sample(200, 30.0, 1))
    assert (found.half, found.whole, found.expected, found.p_value) == (1, 1, 0, 1)


def test_a_class_that_was_not_trained_is_named_wrong():
    X, classes = sample(100, 30.0)
    tested, truth = sample(100, 30.0, 1)
    found = gain_of_labels(X, classes, np.arange(100), tested, np.where(truth == 4, -1, truth))
    assert found.whole == pytest.approx(0.8)


@pytest.mark.assets
def test_tuning_is_tried_where_the_budget_has_room_and_else_said_to_be_unknown(assets, store, tmp_path):
    rows = rows_of(assets / "data/grocery/split.csv")
    labels = sorted({row["label"] for row in rows if "Milk" in row["label"]})[:5]  # alike enough for mistakes
    kept = []
    for label in labels:
        for split, number in (("train", 6), ("test", 2)):
            kept += [row for row in rows if (row["label"], row["split"]) == (label, split)][:number]
    with (tmp_path / "few.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "path": str(assets / "data/grocery" / row["path"])} for row in kept)
    model = FeatureRequest("vit_tiny_patch16_224", assets / "weights/vit_tiny_patch16_224.safetensors")
    options = {"layers": [-1], "store": store, "advice": True}
    without = advised(select(tmp_path / "few.csv", model, **options))
    assert without["tuning"].advice == "whether tuning the network pays is not known"
    assert "there was no --budget" in without["tuning"].because
    assert without["layer"].p_value is not None
    within = advised(select(tmp_path / "few.csv", model, budget=3600, **options))
    assert "5 epochs" in within["tuning"].because
    assert within["tuning"].p_value is not None
