"""ImageEmbedder as scikit-learn and its users expect it."""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import importlib.resources
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import skops.io
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

from embedkit import EmbedkitError, FeatureStore, ImageEmbedder
from embedkit.errors import ImageError, SpecMismatchError, UsageError
from tests.blocked import blocking
from tests.opened import opened_files
from tests.photos import MODEL, make_folder, make_photo


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "photos", {"red": 10, "green": 10})


@pytest.fixture
def paths(folder):
    return np.array(sorted(str(path) for path in folder.rglob("*.png")))


@pytest.fixture
def labels(paths):
    return np.array([os.path.basename(os.path.dirname(path)) for path in paths])


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def embedder(store):
    return ImageEmbedder(MODEL, weights="random", precision="fp32", engine="torch", store=store)


def test_init_stores_its_arguments_and_nothing_else(store):
    embedder = ImageEmbedder(MODEL, store=store)
    assert vars(embedder) == embedder.get_params()
    assert not os.path.exists(store)


def joblib_copy(embedder: ImageEmbedder) -> ImageEmbedder:
    buffer = io.BytesIO()
    joblib.dump(embedder, buffer)
    assert buffer.tell() < 4000
    buffer.seek(0)
    return joblib.load(buffer)


def pickle_copy(embedder: ImageEmbedder) -> ImageEmbedder:
    data = pickle.dumps(embedder)
    assert len(data) < 3000
    return pickle.loads(data)


@pytest.mark.parametrize("copied", [clone, pickle_copy, joblib_copy, copy.deepcopy])
def test_copies_carry_no_weights_and_open_nothing(embedder, paths, copied):
    features = embedder.fit_transform(paths)
    with opened_files() as opened:
        twin = copied(embedder)
    assert opened == []
    assert not any(isinstance(value, tuple(heavy_types())) for value in vars(twin).values())
    assert "_loaded" not in vars(twin)
    assert twin.get_params() == embedder.get_params()
    assert getattr(twin, "spec_", None) == (None if copied is clone else embedder.spec_)
    np.testing.assert_array_equal(twin.transform(paths), features)


def test_a_state_is_of_plain_values(embedder, paths, store, folder):
    embedder.set_params(store=Path(store), root=folder).fit(pd.DataFrame({"path": paths}))
    assert skops.io.get_untrusted_types(data=skops.io.dumps(embedder)) == ["embedkit.embedder.ImageEmbedder"]
    assert pickle.loads(pickle.dumps(embedder)).get_params()["root"] == str(folder)


def heavy_types() -> list[type]:
    import torch

    from embedkit.backbones import Backbone

    return [torch.nn.Module, torch.Tensor, Backbone, FeatureStore]


@pytest.mark.parametrize("chosen", [{}, {"precision": "auto", "engine": "auto"}])
def test_the_same_features_in_another_process_without_torch(embedder, paths, chosen):
    features = embedder.set_params(**chosen).fit_transform(paths)
    code = (
        blocking(("torch", "timm")) + "import pickle\n"
        "embedder, paths = pickle.loads(sys.stdin.buffer.read())\n"
        "sys.stdout.buffer.write(pickle.dumps(embedder.transform(paths)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps((embedder, paths.tolist())),
        capture_output=True,
        check=True,
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    )
    np.testing.assert_array_equal(pickle.loads(done.stdout), features)


def test_set_params_takes_effect(embedder, paths):
    embedder.fit(paths)
    before = embedder.transform(paths)
    embedder.set_params(preprocess={"crop_pct": 0.5})
    with pytest.raises(SpecMismatchError, match=r"preprocess\.crop_pct is 0.5"):
        embedder.transform(paths)
    after = embedder.fit_transform(paths)
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"precision": "bf16"}, r"backbone\.precision is 'bf16', expected 'fp32'"),
        ({"resize": "exact"}, r"preprocess\.resize is 'exact', expected 'fast'"),
        ({"dtype": "float16"}, "dtype is 'float16', expected 'float32'"),
        ({"layer": 0}, r"backbone\.layer is 0, expected None"),
        ({"model": "test_vit"}, r"backbone\.architecture is 'test_vit'"),
        ({"model": "pixels32", "weights": "pretrained"}, r"backbone\.architecture is 'pixels32'"),
    ],
)
def test_a_changed_model_is_not_served_by_the_old_one(embedder, paths, tmp_path, changed, field):
    embedder.fit_transform(paths[:4])
    embedder.set_params(**changed)
    with pytest.raises(SpecMismatchError, match="fit it again.*" + field):
        embedder.transform(paths[:4])
    new = clone(embedder).set_params(store=str(tmp_path / "another store")).fit_transform(paths[:4])
    np.testing.assert_array_equal(embedder.fit_transform(paths[:4]), new)


def test_weights_that_were_replaced_on_disk_are_read_again(embedder, paths, tmp_path):
    import timm
    import torch

    weights = tmp_path / "weights.pth"
    features = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        torch.save(timm.create_model(MODEL, num_classes=0).state_dict(), weights)
        features.append(embedder.set_params(weights=str(weights)).fit_transform(paths[:4]))
        np.testing.assert_array_equal(embedder.transform(paths[:4]), features[-1])
    assert np.abs(features[1] - features[0]).max() > 1e-3
    torch.save(timm.create_model(MODEL, num_classes=0).state_dict(), weights)
    with pytest.raises(SpecMismatchError, match=r"fit it again.*backbone\.weights is 'sha256:"):
        embedder.transform(paths[:4])


def test_a_changed_batch_size_takes_effect(embedder, paths):
    for size in (1, 3):
        embedder.set_params(batch_size=size).fit(paths).transform(paths[: 2 * size])
        assert embedder._loaded.backbone.batch_size == size


def test_set_output_and_names(embedder, paths):
    frame = embedder.set_output(transform="pandas").fit_transform(paths)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns[0] == "imageembedder0"
    assert (frame.dtypes == np.float32).all()
    assert frame.shape[1] == len(embedder.get_feature_names_out()) == embedder.spec_.backbone.width
    assert isinstance(clone(embedder).set_output(transform="polars").fit_transform(paths), pl.DataFrame)


def test_a_frame_keeps_its_index_and_its_column_is_remembered(embedder, paths):
    frame = pd.DataFrame({"photo": paths[:4]}, index=["a", "b", "c", "d"])
    features = embedder.set_output(transform="pandas").fit(frame).transform(frame)
    assert features.index.tolist() == ["a", "b", "c", "d"]
    assert (embedder.n_features_in_, embedder.feature_names_in_.tolist()) == (1, ["photo"])
    with pytest.raises(UsageError, match=r"\['picture'\], expected \['photo'\]"):
        embedder.transform(frame.rename(columns={"photo": "picture"}))
    assert len(embedder.transform(paths[:2])) == 2
    embedder.fit(paths[:2])
    assert not hasattr(embedder, "n_features_in_")


def test_transform_needs_no_fit(embedder, paths):
    check_is_fitted(embedder)
    with pytest.raises(NotFittedError):
        make_pipeline(clone(embedder), StandardScaler()).transform(paths)
    np.testing.assert_array_equal(embedder.transform(paths), clone(embedder).fit(paths).transform(paths))


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_photos_beside_tabular_columns(embedder, paths, labels, kind):
    frame = kind({"path": paths, "shop": ["a", "b"] * 10})
    for column in ("path", ["path"]):
        columns = ColumnTransformer([("photo", embedder, column), ("rest", OneHotEncoder(), ["shop"])])
        scores = cross_val_score(make_pipeline(columns, LogisticRegression()), frame, labels, cv=3)
        assert scores.mean() > 0.8
        names = columns.fit(frame).get_feature_names_out()
        assert names[[0, -1]].tolist() == ["photo__imageembedder0", "rest__shop_b"]


@pytest.mark.parametrize(
    "convert",
    [
        list,
        lambda paths: [__import__("pathlib").Path(path) for path in paths],
        lambda paths: paths.astype(object),
        pd.Series,
        pl.Series,
        lambda paths: pd.DataFrame({"path": paths}),
        lambda paths: pl.DataFrame({"path": paths}),
        lambda paths: [open_bytes(path) for path in paths],
    ],
)
def test_kinds_of_paths_and_bytes_are_one_image(embedder, paths, convert):
    np.testing.assert_array_equal(embedder.transform(convert(paths[:3])), embedder.transform(paths[:3]))


def open_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_images_in_memory(embedder):
    photos = [make_photo(number) for number in range(3)]
    expected = embedder.transform(photos)
    objects = np.empty(3, dtype=object)
    objects[:] = photos
    np.testing.assert_array_equal(embedder.transform(objects), expected)
    np.testing.assert_array_equal(embedder.transform(np.stack([np.asarray(photo) for photo in photos])), expected)
    np.testing.assert_array_equal(embedder.transform(objects[:, None]), expected)
    np.testing.assert_array_equal(embedder.transform(pd.Series(photos)), expected)
    np.testing.assert_array_equal(embedder.transform(photos[:1] * 3), expected[[0, 0, 0]])


def test_arrays_of_grey_and_of_floats(embedder):
    colour = np.stack([np.asarray(make_photo(number)) for number in range(3)])
    expected = embedder.transform(colour)
    for floats in (colour / 255, (colour / 255).astype(np.float32), list(colour / 255.0)):
        np.testing.assert_array_equal(embedder.transform(floats), expected)
    with pytest.raises(ImageError, match=r"row 0.*floats from .* expected \[0, 1\]"):
        embedder.transform(colour.astype(float))
    grey = colour[..., 0]
    expected = embedder.transform(np.repeat(grey[..., None], 3, axis=3))
    np.testing.assert_array_equal(embedder.transform(grey), expected)
    np.testing.assert_array_equal(embedder.transform(grey / 255), expected)
    np.testing.assert_array_equal(embedder.transform(grey.astype(np.uint16) * 257), expected)


def test_keys_of_the_store(embedder, paths, store):
    features = embedder.fit_transform(paths)
    recalled = clone(embedder).set_params(input="key")
    digests = [hashlib.sha256(open_bytes(path)).digest() for path in paths[:5]]
    rows = np.frombuffer(b"".join(digests), np.uint8).reshape(5, 32)
    for keys in ([digest.hex() for digest in digests], pd.Series([digest.hex() for digest in digests]), rows):
        np.testing.assert_array_equal(recalled.transform(keys), features[:5])
        np.testing.assert_array_equal(clone(recalled).fit(keys).transform(keys), features[:5])
    with pytest.raises(ImageError, match="row 1, 'abab.*': the store holds no features of it"):
        recalled.transform([digests[0].hex(), "ab" * 32])
    assert np.isnan(recalled.set_params(on_error="nan").transform(["ab" * 32])).all()
    for wrong in (paths[:2], [b"x"], np.zeros((2, 3), np.uint8), "ab" * 32, []):
        with pytest.raises(EmbedkitError, match=r"64 hexadecimal|\(n, 32\)|at least one key"):
            recalled.transform(wrong)
    with pytest.raises(UsageError, match="input='name'"):
        embedder.set_params(input="name").transform(paths)


def test_relative_paths_and_root(embedder, folder, paths, monkeypatch):
    relative = [os.path.relpath(path, folder) for path in paths[:2]]
    expected = embedder.transform(paths[:2])
    np.testing.assert_array_equal(clone(embedder).set_params(root=str(folder)).transform(relative), expected)
    monkeypatch.chdir(folder)
    np.testing.assert_array_equal(embedder.transform(relative), expected)


def test_unreadable_images(embedder, paths, folder, caplog):
    (folder / "broken.png").write_bytes(b"broken")
    mixed = [paths[0], str(folder / "broken.png"), str(folder / "gone.png")]
    with pytest.raises(ImageError, match=r"row 1, .*broken\.png.*and 1 more.*on_error='nan'"):
        embedder.transform(mixed)
    with caplog.at_level("INFO", logger="embedkit"):
        features = clone(embedder).set_params(on_error="nan").transform(mixed)
    assert [record.message.split(", '")[0] for record in caplog.records] == ["row 1", "row 2"]
    assert np.isfinite(features[0]).all()
    assert np.isnan(features[1:]).all()


def test_missing_images(embedder, paths):
    for absent in (None, float("nan"), pd.NA):
        column = pd.Series([paths[0], absent, paths[1]], dtype=object)
        with pytest.raises(UsageError, match="row 1 is "):
            clone(embedder).transform(column)
        features = clone(embedder).set_params(on_error="nan").fit_transform(column)
        assert np.isfinite(features).all(axis=1).tolist() == [True, False, True]
    nullable = pl.DataFrame({"path": [None, paths[0]]})
    features = clone(embedder).set_params(on_error="nan").transform(nullable)
    assert np.isnan(features).all(axis=1).tolist() == [True, False]


def test_names_of_rows_are_routed_to_the_messages(embedder):
    photos = [make_photo(number, tint=number) for number in range(12)]
    labels = np.arange(12) % 3
    names = [f"shelf-{number}" for number in range(12)]
    broken = photos.copy()
    broken[7] = b"broken"
    with sklearn.config_context(enable_metadata_routing=True):
        embedder.set_transform_request(keys=True)
        pipeline = make_pipeline(embedder, StandardScaler(), LogisticRegression())
        search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=3, error_score="raise")
        assert search.fit(photos, labels, keys=names).best_score_ > 0.8
        with pytest.raises(ImageError, match="row [0-9]+, 'shelf-7': "):
            search.fit(broken, labels, keys=names)
        assert pipeline.fit(photos, labels, keys=names).predict(photos, keys=names).tolist() == labels.tolist()
    with pytest.raises(ImageError, match="row 7, '7': "):
        embedder.transform(broken)
    with pytest.raises(UsageError, match="3 keys were given for 12 images"):
        embedder.transform(photos, keys=names[:3])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"on_error": "ignore"}, "on_error"),
        ({"pool": "mad"}, "pool"),
        ({"preprocess": {"size": 3}}, "preprocess"),
        ({"dtype": "int8"}, "dtype"),
        ({"model": "no_such_model"}, "no_such_model"),
        ({"model": None}, "no model was given"),
    ],
)
def test_bad_parameters(embedder, paths, parameters, words):
    with pytest.raises(EmbedkitError, match=words):
        embedder.set_params(**parameters).fit_transform(paths)


@pytest.mark.parametrize("images", [3, "photo.png", [1, 2], np.zeros((2, 3)), []])
def test_what_is_no_sequence_of_images(embedder, images):
    with pytest.raises((UsageError, EmbedkitError)):
        embedder.transform(images)


def test_repr_and_html(embedder):
    assert repr(embedder).startswith("ImageEmbedder(")
    html = ImageEmbedder("<script>alert(1)</script>")._repr_html_()
    assert "<script>alert" not in html
    assert "ImageEmbedder" in make_pipeline(embedder, PCA(2))._repr_html_()


def test_type_hints_travel_with_the_package():
    assert importlib.resources.files("embedkit").joinpath("py.typed").is_file()
    installed = {str(file) for file in importlib.metadata.files("embedkit") or ()}
    if "embedkit/embedder.py" not in installed:
        pytest.skip("an editable installation: no list of what a wheel holds")
    assert "embedkit/py.typed" in installed


def test_names_of_features_settle_nothing(tmp_path):
    asked = ImageEmbedder(MODEL, weights="random", store=tmp_path / "asked")
    names = asked.get_feature_names_out()
    fitted = ImageEmbedder(MODEL, weights="random", store=tmp_path / "fitted").fit([make_photo(0)])
    assert asked.fit([make_photo(0)]).spec_ == fitted.spec_
    np.testing.assert_array_equal(names, asked.get_feature_names_out())


@pytest.mark.parametrize("batch_size", [0, 1.5, True, "a"])
def test_a_batch_size_is_judged_before_the_store_is_asked(tmp_path, batch_size):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    ImageEmbedder("pixels32", store=tmp_path).transform(images)
    with pytest.raises(UsageError, match="batch_size is"):
        ImageEmbedder("pixels32", store=tmp_path, batch_size=batch_size).transform(images)


@pytest.mark.parametrize("name", ["weights", "preprocess"])
def test_parameters_of_another_type_are_named(name):
    with pytest.raises(UsageError, match=f"^{name} is 5"):
        ImageEmbedder("pixels32", **{name: 5}).request()


def test_weights_of_several_models_follow_the_model(tmp_path):
    paths = []
    for number in range(12):
        paths.append(tmp_path / f"{number:02d}.png")
        make_photo(number, tint=number).save(paths[-1])
    weights = {MODEL: "random", "pixels32": "pretrained"}
    options = {"precision": "fp32", "engine": "torch", "store": str(tmp_path / "store")}
    embedder = ImageEmbedder(MODEL, weights=weights, **options)
    single = ImageEmbedder(MODEL, weights="random", **options).fit_transform(paths)
    np.testing.assert_array_equal(clone(embedder).fit_transform(paths), single)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(embedder)).fit_transform(paths), single)
    grid = GridSearchCV(
        make_pipeline(embedder, LogisticRegression(max_iter=1000)), {"imageembedder__model": [MODEL, "pixels32"]}, cv=2
    )
    grid.fit(paths, np.arange(12) % 3)
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()
    with pytest.raises(UsageError, match="weights name test_resnet, pixels32 and not the model 'colour-histogram'"):
        clone(embedder).set_params(model="colour-histogram").fit(paths)
