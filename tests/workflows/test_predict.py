"""predict, of models that take images and of models that take a table."""

from __future__ import annotations

import dataclasses
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from safetensors.torch import save_file
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from embedkit import ImageEmbedder, predict
from embedkit.errors import SpecMismatchError, UsageError, WeightsNotFoundError
from embedkit.estimators import fuse
from embedkit.persistence import Model, save_model
from embedkit.workflows.model_inputs import inputs_of
from tests.photos import MODEL, make_photo

N = 18
NAMES = [f"{number:04d}" for number in range(N)]  # as numbers, they would lose their zeros
Y = np.array(["red", "green", "blue"])[np.arange(N) % 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict") / "photos"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        make_photo(number, tint=number).save(folder / f"{name}.png")
        make_photo(number, tint=number).save(folder / name, format="png")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory, folder):
    """A folder that holds each photo once."""
    images = tmp_path_factory.mktemp("images")
    for number, name in enumerate(NAMES):
        make_photo(number, tint=number).save(images / f"{name}.png")
    return images


@pytest.fixture(scope="module")
def paths(images):
    return [str(images / f"{name}.png") for name in NAMES]


@pytest.fixture(scope="module")
def frame():
    back = NAMES[3:] + NAMES[:3]
    return pd.DataFrame(
        {"shop": ["north", "south"] * (N // 2), "front": NAMES, "price": np.arange(N) / 2, "back": back}
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def embed(folder, store):
    def embed(model: str = "colour-histogram") -> ImageEmbedder:
        options = {"weights": "random", "precision": "fp32", "engine": "torch"}
        return ImageEmbedder(model, store=str(store), root=str(folder), **options)

    return embed


def logistic():
    return LogisticRegression(max_iter=1000)


def tabular():
    return [("shop", OneHotEncoder(), ["shop"]), ("price", StandardScaler(), ["price"])]


def saved(fitted, tmp_path):
    save_model(fitted, tmp_path / "model.skops")
    return tmp_path / "model.skops"


@pytest.mark.parametrize(
    "build",
    [
        lambda embed: make_pipeline(FeatureUnion([("a", embed()), ("b", embed("pixels32"))]), logistic()),
        lambda embed: make_pipeline(fuse({"a": embed(), "b": embed("pixels32")}, normalize=True), logistic()),
        lambda embed: make_pipeline(make_pipeline("passthrough", embed()), logistic()),
        lambda embed: GridSearchCV(make_pipeline(embed(), LogisticRegression(max_iter=1000)), {}, cv=2),
        lambda embed: StackingClassifier([("a", make_pipeline(embed(), logistic()))], logistic(), cv=2),
        lambda embed: CalibratedClassifierCV(make_pipeline(embed(), LinearSVC()), cv=2),
    ],
    ids=["union", "fuse", "nested", "search", "stack", "calibrated"],
)
def test_a_model_that_takes_images_takes_any_source_of_them(embed, images, paths, tmp_path, build):
    fitted = build(embed).fit(paths, Y)
    file = saved(fitted, tmp_path)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.rpartition("/")[2])
    for source in (images, tmp_path / "images.zip", [make_photo(number, tint=number) for number in range(N)]):
        predictions = predict(file, source, store=tmp_path / "store")
        assert [row.predicted for row in predictions.predictions] == fitted.predict(paths).tolist()
        assert [row.score for row in predictions.predictions] == pytest.approx(fitted.predict_proba(paths).max(axis=1))
        assert (predictions.score, predictions.notes, predictions.skipped) == ("probability", [], [])


def test_values(embed, images, paths, tmp_path):
    fitted = make_pipeline(FeatureUnion([("a", embed())]), Ridge()).fit(paths, np.arange(N))
    predictions = predict(saved(fitted, tmp_path), images, store=tmp_path / "store")
    assert [float(row.predicted) for row in predictions.predictions] == pytest.approx(fitted.predict(paths), rel=1e-4)
    assert {row.score for row in predictions.predictions} == {None}


@pytest.fixture(scope="module")
def table_model(embed, frame, tmp_path_factory):
    columns = ColumnTransformer([("photo", embed(), "front"), *tabular()])
    fitted = make_pipeline(columns, logistic()).fit(frame, Y)
    return fitted, saved(fitted, tmp_path_factory.mktemp("table"))


@pytest.mark.parametrize("kind", ["table.csv", "table.tsv", "table.parquet", "pandas", "polars"])
def test_a_model_of_photos_beside_a_table_takes_a_table(table_model, frame, folder, store, monkeypatch, kind):
    fitted, file = table_model
    reordered = frame[["back", "price", "front", "shop"]].iloc[::-1]
    source = {"pandas": reordered, "polars": pl.from_pandas(reordered)}.get(kind, folder / kind)
    monkeypatch.chdir(folder if kind in ("pandas", "polars") else folder.parent)
    if kind.endswith("parquet"):
        reordered.to_parquet(source)
    elif kind.startswith("table"):
        reordered.to_csv(source, sep="\t" if kind.endswith("tsv") else ",", index=False)
    predictions = predict(file, source, store=store)
    assert [row.path for row in predictions.predictions] == NAMES[::-1]
    assert [row.predicted for row in predictions.predictions] == fitted.predict(frame)[::-1].tolist()
    expected = fitted.predict_proba(frame).max(axis=1)[::-1]
    assert [row.score for row in predictions.predictions] == pytest.approx(expected)


def test_rows_whose_image_cannot_be_read_are_skipped(table_model, frame, folder, store):
    fitted, file = table_model
    (folder / "broken.jpg").write_bytes(b"no image")
    broken = frame.assign(front=["broken.jpg", "gone.jpg", None, *NAMES[3:-1], NAMES[3]])
    broken.to_csv(folder / "broken.csv", index=False)
    predictions = predict(file, folder / "broken.csv", store=store)
    assert [key for key, _ in predictions.skipped] == ["broken.jpg", "gone.jpg", "2"]
    assert predictions.skipped[2][1] == "no image is given"
    assert [row.path for row in predictions.predictions] == [*NAMES[3:-1], f"{NAMES[3]}#2"]
    kept = broken.iloc[3:]
    assert [row.predicted for row in predictions.predictions] == fitted.predict(kept).tolist()


def test_what_a_table_must_hold_is_said_in_one_line(table_model, frame, images, folder, tmp_path):
    _, file = table_model
    frame.drop(columns=["price"]).to_csv(folder / "short.csv", index=False)
    wanted = (
        r"the model takes a \.csv, \.tsv or \.parquet file with the columns front \(images\), shop, price, as it was "
    )
    for source, found in (
        (images, r"images\d+ is no table; "),
        (folder / "short.csv", r"short\.csv has no price; "),
        (["a.jpg"], "a list is no table; "),
    ):
        with pytest.raises(UsageError, match=found + wanted + r"fitted; or in Python: .*predict\(X\)") as error:
            predict(file, source, store=tmp_path / "store")
        assert "\n" not in str(error.value)


def test_what_the_model_itself_refuses_is_said_in_one_line(table_model, frame, folder, store):
    _, file = table_model
    frame.assign(shop="west").to_csv(folder / "west.csv", index=False)
    with pytest.raises(UsageError, match=r"does not take these rows: Found unknown categories \['west'\]") as error:
        predict(file, folder / "west.csv", store=store)
    assert "\n" not in str(error.value)


def test_columns_that_go_as_a_frame(embed, frame, folder, store, tmp_path):
    shop = ("shop", OneHotEncoder(sparse_output=False), ["shop"])
    columns = ColumnTransformer([("photo", make_pipeline(embed("pixels32"), PCA(4)), ["front"]), shop])
    fitted = make_pipeline(columns.set_output(transform="pandas"), logistic()).fit(frame, Y)
    frame.to_csv(folder / "frame.csv", index=False)
    predictions = predict(saved(fitted, tmp_path), folder / "frame.csv", store=store)
    assert [row.predicted for row in predictions.predictions] == fitted.predict(frame).tolist()


def test_a_table_of_photos_alone_may_be_a_folder(embed, frame, images, paths, folder, store, tmp_path):
    columns = ColumnTransformer([("colours", embed(), ["front"]), ("pixels", embed("pixels32"), "front")])
    fitted = make_pipeline(columns, logistic()).fit(frame, Y)
    file = saved(fitted, tmp_path)
    frame[["front"]].to_csv(folder / "front.csv", index=False)
    for source in (images, folder / "front.csv"):
        predictions = predict(file, source, store=store)
        assert [row.predicted for row in predictions.predictions] == fitted.predict(frame).tolist()


def test_photos_in_two_columns(embed, frame, folder, store, tmp_path):
    columns = ColumnTransformer([("one", embed(), "front"), ("two", embed(), "back"), *tabular()])
    fitted = make_pipeline(columns, logistic()).fit(frame, Y)
    short = frame.assign(back=["gone.jpg", *frame["back"][1:]])
    short.to_csv(folder / "two.csv", index=False)
    predictions = predict(saved(fitted, tmp_path), folder / "two.csv", store=store)
    assert [row.predicted for row in predictions.predictions] == fitted.predict(frame)[1:].tolist()
    [(key, reason)] = predictions.skipped
    assert key == NAMES[0]
    assert reason.startswith("back: ")


def test_what_a_model_takes_may_not_be_told(embed, frame, paths):
    behind = make_pipeline(StandardScaler(), embed("pixels32"))
    behind.steps[1][1].fit(paths)
    beside = ColumnTransformer([("photo", embed(), "front"), ("name", OneHotEncoder(), ["front"])]).fit(frame)
    raw = FeatureUnion([("photo", embed().fit(paths)), ("raw", "passthrough")])
    mixed = FeatureUnion([("a", embed().fit(paths)), ("b", ColumnTransformer([("p", embed(), "front")]).fit(frame))])
    nameless = ColumnTransformer([("photo", embed(), [1])]).fit(frame.to_numpy(dtype=object))
    for model, why in (
        (behind, "imageembedder is not the first to see its images"),
        (beside, "other steps than embedders read front too"),
        (raw, "other steps than embedders read X too"),
        (mixed, "some of its embedders take X and others a column of it"),
        (nameless, "was fitted on an array, whose columns have no names"),
    ):
        with pytest.raises(UsageError, match=why + r"; or in Python: embedkit\.load_model"):
            inputs_of(Model(pipeline=model))


def test_a_model_that_only_transforms_predicts_nothing(embed, images, paths, tmp_path):
    file = saved(make_pipeline(embed(), StandardScaler()).fit(paths), tmp_path)
    with pytest.raises(UsageError, match="ends without a classifier or regressor"):
        predict(file, images, store=tmp_path / "store")


def test_weights_of_several_backbones_are_named_and_checked(embed, images, paths, tmp_path):
    import timm

    for number in range(2):
        torch.manual_seed(number)
        save_file(timm.create_model(MODEL, num_classes=0).state_dict(), tmp_path / f"{number}.safetensors")
    networks = {name: embed(MODEL).set_params(weights=str(tmp_path / f"{name}.safetensors")) for name in "01"}
    fitted = make_pipeline(fuse({**networks, "pixels": embed("pixels32")}), logistic()).fit(paths, Y)
    expected = fitted.predict(paths).tolist()
    file = saved(fitted, tmp_path)
    for name in "01":
        (tmp_path / f"{name}.safetensors").rename(tmp_path / f"moved{name}.safetensors")
    moved = {f"featureunion__{name}": str(tmp_path / f"moved{name}.safetensors") for name in "01"}
    with pytest.raises(WeightsNotFoundError, match="--weights"):
        predict(file, images, store=tmp_path / "other")
    with pytest.raises(UsageError, match=r"backbones, featureunion__0, featureunion__1; say whose .* --weights NAME=F"):
        predict(file, images, store=tmp_path / "other", weights=moved["featureunion__0"])
    with pytest.raises(
        UsageError, match="no embedder 'pets' to give weights; it has featureunion__0, featureunion__1, "
    ):
        predict(file, images, store=tmp_path / "other", weights={"pets": "x"})
    exchanged = dict(zip(moved, reversed(moved.values()), strict=True))
    with pytest.raises(SpecMismatchError, match=r"backbone\.weights is 'sha256:"):
        predict(file, images, store=tmp_path / "other", weights=exchanged)
    predictions = predict(file, images, store=tmp_path / "other", weights=moved)
    assert [row.predicted for row in predictions.predictions] == expected


def test_features_that_this_machine_cannot_compute_are_replaced_and_noted(embed, images, paths, tmp_path):
    embedder = embed(MODEL).set_params(precision="auto")
    fitted = make_pipeline(FeatureUnion([("network", embedder), ("pixels", embed("pixels32"))]), logistic())
    fitted.fit(paths, Y)
    spec = embedder.spec_
    expected = fitted.predict(paths).tolist()
    backbone = dataclasses.replace(spec.backbone, precision="fp16")  # which no CPU has
    embedder.spec_ = dataclasses.replace(spec, backbone=backbone)
    predictions = predict(saved(fitted, tmp_path), images, device="cpu", store=tmp_path / "store")
    assert [row.predicted for row in predictions.predictions] == expected
    cannot, differ = predictions.notes
    assert cannot.startswith("this machine cannot compute features as the fit did")
    assert differ.endswith("within the drift bound: backbone.precision is 'fp32', expected 'fp16'")


def test_features_are_looked_up_once(embed, paths, images, store, tmp_path, monkeypatch):
    from embedkit import embedder

    model = make_pipeline(embed(), StandardScaler(), LogisticRegression(max_iter=1000)).fit(paths, Y)
    save_model(model, tmp_path / "model.skops")
    lookups, recall = [], embedder.recall
    monkeypatch.setattr(embedder, "recall", lambda *args, **more: (lookups.append(1), recall(*args, **more))[1])
    result = predict(tmp_path / "model.skops", images, store=store)
    assert [one.predicted for one in result.predictions] == model.predict(paths).tolist()
    assert result.score == "probability"
    assert len(lookups) == 1
