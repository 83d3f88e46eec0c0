"""fit --conformal and predict with sets and unknowns, on drawn photos and the floor that needs no network."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from embedkit import fit, load_model, load_result, predict, save_model
from embedkit.errors import LabelsError, UsageError
from embedkit.render import as_text
from embedkit_cli.main import cli as command_line
from tests.photos import make_manifest, make_photo


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncertain")
    make_manifest(folder / "photos", {"red": 20, "green": 20, "blue": 20}, test=5)
    with (folder / "strange.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        for number in range(4):
            make_photo(900 + number, tint=number).convert("L").point(lambda _: 3).save(folder / f"{number}.png")
            writer.writerow((f"{number}.png", "night"))
            writer.writerow((f"photos/red/00{number}.png", "red"))
    return folder


@pytest.fixture(scope="module")
def model(there):
    fitted = fit(
        there / "photos" / "split.csv",
        "colour-histogram",
        conformal=True,
        output=there / "m.skops",
        store=there / "store",
    )
    assert any("without the rows that calibrate" in note for note in fitted.result.notes)
    assert fitted.steps == ["ImageEmbedder", "UnknownDetector"]
    return there / "m.skops"


def test_sets_and_unknowns_are_in_the_record_the_text_and_the_table(there, model):
    said = predict(model, there / "photos" / "split.csv", sets=0.8, store=there / "store", output=there / "p.csv")
    assert {one.unknown for one in said.predictions} <= {True, False}
    labels = [one.path.split("/")[0] for one in said.predictions]
    held = np.mean([label in one.set for label, one in zip(labels, said.predictions, strict=True)])
    assert said.covered == held
    assert said.coverage == 0.8
    assert said.covered_interval[0] <= held <= said.covered_interval[1]
    assert said.unknown_error == 0.05
    text = as_text(said)
    assert "sets to hold the right class in 80.0 %" in text
    assert "of images like those fitted on, 5.0 % would be" in text
    rows = list(csv.DictReader((there / "p.csv").read_text().splitlines()))
    assert set(rows[0]) == {"path", "predicted", "probability", "unknown", "set"}
    said.save(there / "p.json")
    assert load_result(there / "p.json").to_dict() == said.to_dict()
    inner = load_model(model).pipeline[-1].estimator_
    assert json.loads(json.dumps(said.to_dict()))["predictions"][0]["set"] == said.predictions[0].set
    assert len(inner.scores_) == 9


def test_strangers_are_counted_apart(there, model):
    said = predict(model, there / "strange.csv", unknown=0.2, store=there / "store")
    by_path = {one.path: one.unknown for one in said.predictions}
    assert all(by_path[f"{number}.png"] for number in range(4))
    [note] = [note for note in said.notes if "label the model does not know" in note]
    assert note.startswith("4 of 4 images whose label the model does not know are marked as unknown, and ")
    assert note.endswith("of 4 of those whose label it knows")
    assert all(one.set is None for one in said.predictions)


def test_where_sets_hold_too_little_it_is_said(there, model):
    with (there / "mislabelled.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        writer.writerows((f"photos/red/{number:03d}.png", "blue" if number % 2 else "green") for number in range(20))
    said = predict(model, there / "mislabelled.csv", sets=0.7, store=there / "store")
    assert said.covered < 0.5
    assert "less than asked for, so these images are not like those" in as_text(said)


def test_fewer_rows_than_features_are_fitted_anew_too(there):
    for model, arguments in (("colour-histogram", {"conformal": True}), ("pixels32", {"calibrate": True})):
        fit(
            there / "photos" / "split.csv",
            model,
            estimator="ridge",
            output=there / "wide.skops",
            store=there / "store",
            force=True,
            **arguments,
        )
    assert predict(there / "wide.skops", there / "strange.csv", store=there / "store").unknown_error is None


def test_what_is_refused(there, model, tmp_path):
    plain = load_model(model)
    plain.pipeline.steps[-1] = ("inner", plain.pipeline[-1].estimator_.estimator.estimator_)
    save_model(plain.pipeline, tmp_path / "plain.skops")
    for arguments, said in (
        ({"sets": 0.9}, "gives no sets of classes; fit one that does: embedkit fit --conformal"),
        ({"unknown": 0.1}, "cannot tell what is unknown"),
        ({"sets": 90.0}, "sets=90, expected a share between 0 and 1"),
    ):
        with pytest.raises(UsageError, match=said):
            predict(tmp_path / "plain.skops", there / "strange.csv", store=there / "store", **arguments)
    values = there / "photos" / "split.csv"
    with pytest.raises(LabelsError, match="sets and unknowns are of one class an image"):
        fit(values, "pixels32", label_column="weight", conformal=True, output=tmp_path / "m.skops", store=there / "s")
    with pytest.raises(UsageError, match="not both"):
        fit(values, "pixels32", calibrate=True, conformal=True, output=tmp_path / "m.skops", store=there / "s")


def test_the_command_line_asks_for_the_same(there, model):
    words = ["predict", str(model), str(there / "strange.csv"), "--sets", "0.8", "--store", str(there / "store")]
    ran = CliRunner().invoke(command_line, [*words, "--unknown", "0.2", "--json"])
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    assert (said["coverage"], said["unknown_error"]) == (0.8, 0.2)
    assert {"unknown", "set"} <= set(said["predictions"][0])
