"""ImageEmbedder as scikit-learn and its users expect it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from embedkit import EmbedkitError, FeatureStore, ImageEmbedder
from embedkit.errors import ImageError, SpecMismatchError, UsageError
from tests.blocked import blocking
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


def rows_in(store: str) -> int:
    return FeatureStore(store).info().rows


def test_init_stores_its_arguments_and_nothing_else(store):
    embedder = ImageEmbedder(MODEL, store=store)
    assert vars(embedder) == embedder.get_params()
    assert not os.path.exists(store)


def test_cross_validation_costs_one_pass_an_image(embedder, paths, labels, store, monkeypatch):
    from embedkit.backbones.torch_engine import TorchEngine

    seen: list[int] = []
    forward = TorchEngine.__call__
    monkeypatch.setattr(
        TorchEngine, "__call__", lambda self, pixels: (seen.append(len(pixels)), forward(self, pixels))[1]
    )
    order = np.random.default_rng(0).permutation(len(paths))
    search = GridSearchCV(
        make_pipeline(embedder.set_params(batch_size=1), PCA(4), LogisticRegression()),
        {"pca__n_components": [2, 4], "logisticregression__C": [0.1, 1.0]},
        cv=StratifiedKFold(5),
    )
    search.fit(paths[order], labels[order])
    assert rows_in(store) == 20
    calls = len(seen)
    assert sum(seen) == 20
    search.fit(paths, labels)
    assert len(seen) == calls
    assert search.best_score_ > 0.8


def test_cold_grid_search_in_two_processes_computes_each_image_once(embedder, paths, labels, store):
    search = GridSearchCV(
        make_pipeline(embedder, StandardScaler(), LogisticRegression()),
        {"logisticregression__C": [0.01, 0.1, 1.0]},
        cv=5,
        n_jobs=2,
    )
    search.fit(paths, labels)
    [info] = FeatureStore(store).info().fingerprints
    assert (info.rows, info.duplicates) == (20, 0)


def test_a_clone_and_a_pickle_carry_no_weights(embedder, paths):
    features = embedder.fit_transform(paths)
    twin = clone(embedder)
    assert not hasattr(twin, "spec_")
    data = pickle.dumps(embedder)
    assert len(data) < 3000
    loaded = pickle.loads(data)
    assert loaded.spec_ == embedder.spec_
    np.testing.assert_array_equal(loaded.transform(paths), features)
    np.testing.assert_array_equal(twin.fit_transform(paths), features)


def test_the_same_features_in_another_process_without_torch(embedder, paths):
    features = embedder.fit_transform(paths)
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


def test_set_output_and_names(embedder, paths):
    frame = embedder.set_output(transform="pandas").fit_transform(paths)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns[0] == "imageembedder0"
    assert (frame.dtypes == np.float32).all()
    assert frame.shape[1] == len(embedder.get_feature_names_out()) == embedder.spec_.backbone.width
    assert isinstance(clone(embedder).set_output(transform="polars").fit_transform(paths), pl.DataFrame)


def test_transform_needs_no_fit(embedder, paths):
    np.testing.assert_array_equal(embedder.transform(paths), clone(embedder).fit(paths).transform(paths))


def test_photos_beside_tabular_columns(embedder, paths, labels):
    frame = pd.DataFrame({"path": paths, "shop": ["a", "b"] * 10})
    for column in ("path", ["path"]):
        columns = ColumnTransformer([("photo", embedder, column), ("rest", OneHotEncoder(), ["shop"])])
        scores = cross_val_score(make_pipeline(columns, LogisticRegression()), frame, labels, cv=3)
        assert scores.mean() > 0.8


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
    np.testing.assert_array_equal(embedder.transform(photos[:1] * 3), expected[[0, 0, 0]])


def test_relative_paths_and_root(embedder, folder, paths, monkeypatch):
    relative = [os.path.relpath(path, folder) for path in paths[:2]]
    expected = embedder.transform(paths[:2])
    np.testing.assert_array_equal(clone(embedder).set_params(root=str(folder)).transform(relative), expected)
    monkeypatch.chdir(folder)
    np.testing.assert_array_equal(embedder.transform(relative), expected)


def test_unreadable_images(embedder, paths, folder):
    (folder / "broken.png").write_bytes(b"broken")
    mixed = [paths[0], str(folder / "broken.png"), str(folder / "gone.png")]
    with pytest.raises(ImageError, match=r"row 1, .*broken\.png.*and 1 more.*on_error='nan'"):
        embedder.transform(mixed)
    features = clone(embedder).set_params(on_error="nan").transform(mixed)
    assert np.isfinite(features[0]).all()
    assert np.isnan(features[1:]).all()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"on_error": "ignore"}, "on_error"),
        ({"pool": "mad"}, "pool"),
        ({"preprocess": {"size": 3}}, "preprocess"),
        ({"dtype": "int8"}, "dtype"),
        ({"model": "no_such_model"}, "no_such_model"),
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
