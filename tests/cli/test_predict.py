"""predict, as a person types it, with models that begin with more than one embedder."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from embedkit import ImageEmbedder, save_model
from embedkit.estimators import fuse
from embedkit_cli.main import cli as commands
from tests.photos import MODEL, make_photo

N = 12
Y = np.array(["red", "green", "blue"])[np.arange(N) % 3]


@pytest.fixture
def table(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(N):
        make_photo(number, tint=number).save(tmp_path / "photos" / f"{number:02d}.png")
    return pd.DataFrame({"photo": [f"{number:02d}.png" for number in range(N)], "shop": ["north", "south"] * (N // 2)})


def embed(model, tmp_path):
    options = {"weights": "random", "precision": "fp32", "engine": "torch", "root": str(tmp_path / "photos")}
    return ImageEmbedder(model, store=str(tmp_path / "fit"), **options)


def test_two_backbones_on_a_folder(cli, table, tmp_path):
    union = fuse({"network": embed(MODEL, tmp_path), "colours": embed("colour-histogram", tmp_path)})
    fitted = make_pipeline(union, LogisticRegression(max_iter=1000)).fit(table["photo"], Y)
    save_model(fitted, tmp_path / "model.skops")
    ran = cli("predict", "model.skops", "photos", "--json")
    assert ran.code == 0, ran.err
    predictions = json.loads(ran.out)
    assert [row["path"] for row in predictions["predictions"]] == table["photo"].tolist()
    assert [row["predicted"] for row in predictions["predictions"]] == fitted.predict(table["photo"]).tolist()
    again = cli("predict", "model.skops", "photos", "--json", without=("torch", "timm"))
    assert again.code == 0, again.err
    repeated = json.loads(again.out)
    del predictions["origin"]["created"], repeated["origin"]["created"]
    assert repeated == predictions


def test_photos_beside_a_table(cli, table, tmp_path):
    columns = ColumnTransformer([("photo", embed("pixels32", tmp_path), "photo"), ("shop", OneHotEncoder(), ["shop"])])
    fitted = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(table, Y)
    save_model(fitted, tmp_path / "model.skops")
    ran = cli("predict", "model.skops", "photos")
    assert ran.code == 1
    assert ran.out == ""
    [line] = ran.err.splitlines()
    assert (
        "photos is no table; the model takes a .csv, .tsv or .parquet file with the columns photo (images), shop"
        in line
    )
    broken = pd.concat([table, pd.DataFrame({"photo": ["gone.png"], "shop": ["north"]})])
    broken.to_csv(tmp_path / "photos" / "new.csv", index=False)
    ran = cli("predict", "model.skops", "photos/new.csv", "-o", "predicted.csv")
    assert ran.code == 3
    assert "gone.png" in ran.err
    predicted = pd.read_csv(tmp_path / "predicted.csv")
    assert predicted["path"].tolist() == table["photo"].tolist()
    assert predicted["predicted"].tolist() == fitted.predict(table).tolist()


@pytest.mark.parametrize(
    ("values", "given"),
    [
        ([], None),
        (["moved.pth"], "moved.pth"),
        (["a=1.pth", "b=2=3.pth"], {"a": "1.pth", "b": "2=3.pth"}),
        (["a=1.pth"], {"a": "1.pth"}),
        (["there=it is.pth"], "there=it is.pth"),
    ],
)
def test_weights_are_one_file_or_files_by_name(monkeypatch, tmp_path, values, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there=it is.pth").touch()
    asked = {}

    def predict(*arguments, **options):
        asked.update(options)
        raise SystemExit(0)

    monkeypatch.setattr("embedkit.predict", predict, raising=False)
    options = [part for value in values for part in ("--weights", value)]
    assert CliRunner().invoke(commands, ["predict", "model.skops", "photos", *options]).exit_code == 0
    assert asked["weights"] == given


def test_of_several_weights_each_has_a_name():
    ran = CliRunner().invoke(commands, ["predict", "m.skops", "photos", "--weights", "a=1.pth", "--weights", "2.pth"])
    assert ran.exit_code == 2
    assert "each is NAME=FILE" in ran.output


def test_labelled_photos_are_counted_and_the_likeliest_classes_listed(cli, table, tmp_path):
    paths = [str(tmp_path / "photos" / name) for name in table["photo"]]
    pd.DataFrame({"path": paths, "label": Y}).to_csv(tmp_path / "labelled.csv", index=False)
    ran = cli("fit", "labelled.csv", "--model", "pixels32", "-o", "model.skops", "--folds", "2")
    assert ran.code == 0, ran.err
    assert "it flatters" in ran.out
    ran = cli("predict", "model.skops", "labelled.csv", "--top", "2", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    right = np.array([row["predicted"] for row in found["predictions"]]) == Y
    assert found["accuracy"] == right.mean()
    assert np.trace(found["confusion"]["counts"]) == right.sum()
    assert {len(row["top"]) for row in found["predictions"]} == {2}
    shown = cli("predict", "model.skops", "labelled.csv")
    assert f"accuracy {100 * right.mean():.1f} %" in shown.out
    assert "true \\ predicted" in shown.out
    assert "does not know which images it was fitted on" in shown.err
