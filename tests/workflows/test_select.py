"""select and layers: what is looked at, what is chosen, and what test images have to do with it (nothing)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from embedkit import FeatureRequest, extract, layers, load_result, select
from embedkit.errors import LabelsError, ProbeError, UsageError
from embedkit.render import as_text
from tests.photos import make_folder, make_manifest, make_photo
from tests.selection import inverted

PSEUDO = ("colour-histogram", "pixels32")


def place_photo(seed: int, place: int) -> Image.Image:
    """Return noise with a bright quarter: colours say nothing of where it is."""
    pixels = np.random.default_rng(seed).integers(0, 120, (32, 32, 3), dtype=np.uint8)
    row, column = divmod(place, 2)
    pixels[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] += 60
    return Image.fromarray(pixels)


def rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    manifest = make_manifest(folder, dict.fromkeys(("a", "b", "c", "d"), 40), test=10)
    for seed, file in enumerate(sorted(folder.rglob("*.png"))):
        place_photo(seed, "abcd".index(file.parent.name)).save(file)
    return manifest


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def selection(manifest, store):
    return select(manifest, PSEUDO, store=store, advice=True)


def test_the_weak_pass_fewer_images(selection):
    assert selection.chosen == "pixels32"
    strong, weak = selection.candidates
    assert strong.rows == 120
    assert strong.forward_passes == 160
    assert weak.rows == weak.forward_passes == 96
    assert weak.dropped == 1
    assert [one.rows for one in weak.rounds] == [96]
    assert selection.cost_share == pytest.approx((160 + 96) / (2 * 160))
    assert selection.result.n_test == 40
    assert selection.result.value > 0.9


@pytest.mark.parametrize("probe", ["knn", "logistic"])
def test_other_probes_judge(manifest, store, probe):
    found = select(manifest, PSEUDO, probe=probe, store=store)
    assert found.chosen == "pixels32"
    assert found.probe == probe
    assert found.result.estimator == ("knn" if probe == "knn" else "logistic")
    assert f"accuracy: of {probe} probes" in as_text(found)
    with pytest.raises(UsageError, match="probe is 'svm', expected ridge, knn, logistic"):
        select(manifest, PSEUDO, probe="svm", store=store)


def test_own_classes_are_scored_and_a_quarter_is_not_exceeded(store, tmp_path):
    """Seven networks of one kind: what tells them apart is chance, so that only the share ends it."""
    many = make_manifest(tmp_path / "many", {"red": 450, "blue": 450}, test=10)
    rows = rows_of(many)
    for place, row in enumerate(rows):
        row["label"] = "ab"[place % 2]
    with many.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    torch.manual_seed(0)
    models = []
    for number in range(7):
        file = tmp_path / f"test_vit.{number}.safetensors"
        save_file(timm.create_model("test_vit", num_classes=5).state_dict(), file)
        models.append(
            FeatureRequest("test_vit", file, preprocess={"input_size": (32, 32)}, model_args={"img_size": 32})
        )
    found = select(many, models, tolerance=0.001, store=store)
    assert 0.23 < found.cost_share <= 0.25
    assert "cost more than was to be spent" in found.stopped
    assert {"leep", "nce"} <= set(found.scores)
    assert len(found.scores["leep"].values) == 7
    assert all(-0.8 < value <= 0 for value in found.scores["leep"].values.values())


def test_extract_goes_on_where_it_was_left(selection, manifest, store):
    assert extract(manifest, "pixels32", store=store).forward_passes == 0
    assert extract(manifest, "colour-histogram", store=store).forward_passes == 160 - 96


def test_test_labels_and_copies_in_the_test_split_choose_nothing(selection, manifest, store, tmp_path):
    rows = rows_of(manifest)
    for place, row in enumerate(row for row in rows if row["split"] == "test"):
        row["label"] = "abcd"[place % 4]
        row["path"] = rows[place]["path"] if place < 30 else row["path"]  # planted leaks
    seen: set[str] = set()
    kept = [row for row in rows if not (row["path"] in seen or seen.add(row["path"]))]
    other = manifest.parent / "leaky.csv"
    with other.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    again = select(other, PSEUDO, store=store)
    assert again.chosen == selection.chosen
    assert [(one.name, one.value) for one in again.candidates] == [
        (one.name, one.value) for one in selection.candidates
    ]
    assert again.result.value != selection.result.value


def test_copies_among_the_training_images_do_not_make_a_model_win(store, tmp_path):
    """Labels that mean nothing, each image three times: whoever knows copies again would be always right."""
    lines = [("path", "label", "split")]
    for number in range(40):
        name = f"{number}.png"
        make_photo(number, tint=number // 2).save(tmp_path / name)
        for copy in range(3):
            twin = tmp_path / f"{number}-{copy}.png"
            twin.write_bytes((tmp_path / name).read_bytes())
            lines.append((twin.name, "ab"[number % 2], "test" if number >= 32 else "train"))
    with (tmp_path / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    found = select(tmp_path / "split.csv", PSEUDO, store=store)
    assert all(one.rounds[0].value < 0.8 for one in found.candidates)


def test_it_repeats_itself_and_says_everything(selection, manifest, store, tmp_path):
    again = select(manifest, PSEUDO, store=store)
    assert [one.rounds for one in again.candidates] == [one.rounds for one in selection.candidates]
    assert all(one.forward_passes == 0 for one in again.candidates)
    assert again.cost_share == selection.cost_share
    loaded = load_result(selection.save(tmp_path / "selection.json"))
    assert loaded.chosen == selection.chosen
    assert loaded.scores == selection.scores
    text = as_text(selection)
    for word in (selection.chosen, "round 1:", "weighted tau", "PARC", "Next: embedkit extract"):
        assert word in text
    assert {"log_me", "n_leep", "knn_accuracy"} <= set(selection.scores)
    assert selection.advice
    assert all(any(mark.isdigit() for mark in one.because) for one in selection.advice)


def test_without_splits_a_fifth_is_held_back(store, tmp_path):
    folder = make_folder(tmp_path / "photos", {"red": 10, "green": 10, "blue": 10})
    found = select(folder, PSEUDO, store=store)
    assert found.result.n_test == 6
    assert "held back" in found.notes[0]
    assert max(one.rows for one in found.candidates) == 24


def test_a_feature_file_stands_for_its_images(manifest, store, tmp_path, selection):
    extract(manifest, "pixels32", output=tmp_path / "pixels.h5", store=store)
    found = select(tmp_path / "pixels.h5", PSEUDO, store=store)
    assert found.chosen == selection.chosen


def test_layers_of_one_network_share_passes(store, tmp_path):
    few = make_manifest(tmp_path / "few", {"red": 12, "blue": 12}, test=2)
    found = layers(few, FeatureRequest("test_vit", weights="random"), pools=("avg", "cls"), store=store)
    depth = (len(found.layers) - 1) // 2
    assert [one.layer for one in found.layers] == [*np.repeat(np.arange(depth), 2), None]
    assert found.layers[-1].p_value is None
    assert len(found.cka) == len(found.layers)
    assert np.diag(found.cka) == pytest.approx(1.0)
    better = next(one for one in found.layers if one.name == found.recommended)
    assert better.p_value is None or better.p_value <= 0.05
    assert found.concatenated is not None
    assert found.recommended in found.concatenated.names
    if better.layer is not None:
        assert f"--layer {better.layer} --pool {better.pool}" in found.command
    text = as_text(found)
    assert "debiased linear CKA" in text
    assert "recommended: " in text


@pytest.mark.assets
def test_a_network_fed_inverted_photographs_loses(assets, store, tmp_path):
    rows = rows_of(assets / "data/grocery/split.csv")
    chosen: dict[tuple[str, str], int] = {}
    kept: list[dict[str, str]] = []
    labels = sorted({row["label"] for row in rows})[::7]
    for row in rows:
        place = row["label"], row["split"]
        if row["label"] in labels and row["split"] != "val" and chosen.get(place, 0) < 4:
            chosen[place] = chosen.get(place, 0) + 1
            kept.append({**row, "path": str(assets / "data/grocery" / row["path"])})
    with (tmp_path / "few.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    weights = assets / "weights/vit_tiny_patch16_224.safetensors"
    right = FeatureRequest("vit_tiny_patch16_224", weights)
    wrong = FeatureRequest(inverted.vit, model_args={"weights": str(weights)})
    found = select(tmp_path / "few.csv", [wrong, right], store=store, thorough=True)
    values = {one.model: one.rounds[0].value for one in found.candidates}
    assert found.chosen == "vit_tiny_patch16_224"
    assert values[right.model] > values[wrong.model] + 0.05


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"models": ["pixels32"]}, UsageError, "the only candidate"),
        ({"models": ["pixels32", "pixels32"]}, UsageError, "twice"),
        ({"models": PSEUDO, "tolerance": 0}, UsageError, "above 0"),
        ({"models": PSEUDO, "budget": -1}, UsageError, "seconds above 0"),
        ({"models": PSEUDO, "budget": 1e-3}, UsageError, "too small for one round"),
        ({"models": PSEUDO, "label_column": "weight"}, LabelsError, "labels are values"),
    ],
)
def test_what_cannot_be_honoured_is_said_in_one_line(manifest, tmp_path, options, error, message):
    with pytest.raises(error, match=message) as raised:
        select(manifest, **{**options, "store": tmp_path / "empty"})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("counts", "message"), [({"red": 8}, "1 class"), ({"red": 3, "blue": 3}, "no class has two training images")]
)
def test_labels_that_allow_no_choice(store, tmp_path, counts, message):
    manifest = make_manifest(tmp_path / "data", counts, test=2)
    with pytest.raises(ProbeError, match=message) as raised:
        select(manifest, PSEUDO, store=store)
    assert "\n" not in str(raised.value)


def test_constant_features_are_chosen_from_without_a_word_of_numpys(store, tmp_path):
    make_manifest(tmp_path, {"red": 8, "blue": 8}, test=2)
    for file in tmp_path.rglob("*.png"):
        make_photo(0).save(file)
    manifest = tmp_path / "split.csv"
    with pytest.raises(UsageError, match="same for each of 12 images"):
        select(manifest, PSEUDO, store=store)
