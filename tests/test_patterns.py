"""The patterns of scikit-learn's documentation, unchanged, on a pipeline that begins with images.

Each runs with its warnings as errors. The backbone does not matter here: it is the floor of colour histograms.
"""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - its import is what enables the search
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer, top_k_accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    LeaveOneGroupOut,
    RandomizedSearchCV,
    RepeatedStratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    train_test_split,
    validation_curve,
)
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer, OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from embedkit import FeatureStore, ImageEmbedder
from embedkit.compat import sklearn_release
from embedkit.estimators import SignedPower, StreamingPCA, ViewAverage, fuse
from tests.photos import MODEL, make_photo
from tests.workers import fresh_workers  # noqa: F401

KINDS = ("paths", "list", "frame", "pillow", "array")
ANY = ("frame", "pillow")  # the two that are furthest from a matrix


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(48):
        make_photo(number, tint=number).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def paths(folder):
    return np.array(sorted(str(path) for path in folder.iterdir()))


@pytest.fixture(scope="module")
def y():
    return np.array(["red", "green", "blue"])[np.arange(48) % 3]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return str(tmp_path_factory.mktemp("store"))


@pytest.fixture
def embedder(store):
    return ImageEmbedder("colour-histogram", store=store)


@pytest.fixture
def model(embedder):
    return make_pipeline(embedder, StandardScaler(), PCA(8), LogisticRegression(max_iter=1000))


def images(kind: str, paths) -> object:
    """Return the same images in one of the kinds that `X` may be."""
    photos = [make_photo(number, tint=number) for number in range(len(paths))]
    return {
        "paths": paths,
        "list": paths.tolist(),
        "frame": pd.DataFrame({"path": paths}),
        "pillow": photos,
        "array": np.stack([np.asarray(photo) for photo in photos]),
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_cross_validate(model, paths, y, kind):
    X = images(kind, paths)
    scores = cross_validate(model, X, y, scoring=["accuracy", "f1_macro"], return_train_score=True, cv=3)
    assert scores["test_accuracy"].mean() > 0.8
    assert cross_val_predict(model, X, y, method="predict_proba").shape == (48, 3)
    train_X, test_X, train_y, test_y = train_test_split(X, y, stratify=y, random_state=0)
    assert model.fit(train_X, train_y).score(test_X, test_y) > 0.8


@pytest.mark.parametrize("kind", ANY)
def test_halving_grid_search(model, paths, y, kind):
    search = HalvingGridSearchCV(model, {"logisticregression__C": [0.01, 0.1, 1.0]}, cv=2, random_state=0)
    search.fit(images(kind, paths), y)
    assert search.best_estimator_.predict(images(kind, paths)).shape == y.shape
    assert search.n_iterations_ > 1


@pytest.mark.parametrize("kind", ANY)
def test_stacking_and_voting(embedder, model, paths, y, kind):
    X = images(kind, paths)
    pixels = make_pipeline(ImageEmbedder("pixels32", store=embedder.store), RandomForestClassifier(10))
    estimators = [("colours", model), ("pixels", pixels), ("floor", make_pipeline(embedder, DummyClassifier()))]
    stacked = StackingClassifier(estimators, final_estimator=LogisticRegression(), cv=2)
    assert stacked.fit(X, y).score(X, y) > 0.8
    assert VotingClassifier(estimators, voting="soft").fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("kind", ANY)
def test_calibration(model, paths, y, kind):
    X = images(kind, paths)
    for method in ("sigmoid", "isotonic"):
        calibrated = CalibratedClassifierCV(model, method=method, cv=2).fit(X, y)
        np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)


def test_a_tuned_threshold(model, paths, y):
    tuned = TunedThresholdClassifierCV(model, scoring="balanced_accuracy", cv=2).fit(paths, y == "red")
    assert tuned.score(paths, y == "red") > 0.8


def test_a_permutation_test(model, paths, y):
    score, others, p_value = permutation_test_score(model, paths, y, cv=2, n_permutations=20, random_state=0)
    assert score > others.max()
    assert p_value == pytest.approx(1 / 21)


@pytest.mark.parametrize("kind", ANY)
def test_curves(model, paths, y, kind):
    X = images(kind, paths)
    sizes, _, test_scores = learning_curve(model, X, y, train_sizes=[0.5, 1.0], cv=3, shuffle=True, random_state=0)
    assert sizes.tolist() == [16, 32]
    assert test_scores[-1].mean() > 0.8
    train_scores, _ = validation_curve(model, X, y, param_name="logisticregression__C", param_range=[1e-4, 1.0], cv=3)
    assert train_scores[1].mean() > 0.8


def test_a_pipeline_with_a_memory(embedder, paths, y, tmp_path):
    model = make_pipeline(embedder, PCA(8), LogisticRegression(), memory=str(tmp_path / "memory"))
    assert model.fit(paths, y).score(paths, y) == model.fit(paths, y).score(paths, y)
    assert len(list((tmp_path / "memory").rglob("output.pkl"))) == 2  # the embedder and the PCA, once each
    # What joblib keeps of the embedder are its features and parameters.
    weights = sum(file.stat().st_size for file in (tmp_path / "memory").rglob("output.pkl"))
    assert weights < 3 * 48 * 512 * 4


def test_photos_beside_tabular_columns(embedder, paths, y):
    frame = pd.DataFrame({"photo": paths, "shop": ["north", "south"] * 24, "price": np.arange(48.0)})
    columns = ColumnTransformer(
        [
            ("photo", make_pipeline(embedder, PCA(8, whiten=True)), ["photo"]),
            ("shop", OneHotEncoder(sparse_output=False), ["shop"]),
            ("price", StandardScaler(), ["price"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1000))
    assert cross_val_score(model, frame, y, cv=3).mean() > 0.8
    as_frame = columns.set_output(transform="pandas").fit_transform(frame)
    assert as_frame.columns[[0, 8, 10]].tolist() == ["photo__pca0", "shop__shop_north", "price__price"]
    assert as_frame.index.equals(frame.index)
    shuffled = frame.sample(frac=1, random_state=0)
    np.testing.assert_allclose(columns.transform(shuffled).sort_index(), as_frame, atol=1e-5)
    importance = permutation_importance(model.fit(frame, y), frame, y, n_repeats=3, random_state=0)
    assert importance.importances_mean.argmax() == 0
    assert make_column_transformer((embedder, "photo"), remainder="drop").fit_transform(frame).shape == (48, 512)


def test_images_to_numbers(embedder):
    exposure = np.linspace(0.3, 1.0, 48)[np.random.default_rng(0).permutation(48)]
    photos = [Image.fromarray((np.asarray(make_photo(n)) * exposure[n]).astype(np.uint8)) for n in range(48)]
    ridge = make_pipeline(embedder, StandardScaler(), Ridge(10.0))
    model = TransformedTargetRegressor(ridge, transformer=StandardScaler())
    assert cross_val_score(model, photos, exposure, cv=4).mean() > 0.6
    logarithmic = TransformedTargetRegressor(ridge, func=np.log, inverse_func=np.exp)
    assert cross_val_score(logarithmic, photos, exposure, cv=4).mean() > 0.6


def test_multilabel_targets(embedder, paths):
    sets = [{"odd"} if number % 2 else set() for number in range(48)]
    for number in range(0, 48, 3):
        sets[number] = sets[number] | {"red"}
    marks = MultiLabelBinarizer().fit_transform(sets)
    for meta in (MultiOutputClassifier, ClassifierChain):
        model = make_pipeline(embedder, StandardScaler(), PCA(8), meta(LogisticRegression()))
        assert model.fit(paths, marks).predict(paths).shape == marks.shape
        whole = meta(make_pipeline(embedder, PCA(8), LogisticRegression()))
        if meta is MultiOutputClassifier:  # a chain appends to X what it has predicted: matrices only
            assert whole.fit(paths, marks).predict(paths).shape == marks.shape
    forest = make_pipeline(embedder, RandomForestClassifier(10, random_state=0))
    assert cross_val_score(forest, paths, marks, scoring="f1_macro", cv=3).mean() > 0.3


def test_a_randomized_search_over_backbones(tmp_path, paths, y):
    embedder = ImageEmbedder("pixels32", precision="fp32", engine="torch", store=str(tmp_path / "store"))
    model = Pipeline([("embed", embedder), ("scale", StandardScaler()), ("classify", LogisticRegression(max_iter=500))])
    space = [
        {"embed__model": ["colour-histogram"], "classify__C": [0.01, 1.0]},
        {"embed__model": [MODEL], "embed__weights": ["random"], "embed__layer": [None, 1], "classify__C": [0.01, 1.0]},
    ]
    search = RandomizedSearchCV(model, space, n_iter=5, cv=3, random_state=0).fit(paths, y)
    tried = {(one["embed__model"], one.get("embed__layer")) for one in search.cv_results_["params"]}
    assert tried == {("colour-histogram", None), (MODEL, None), (MODEL, 1)}
    assert search.best_score_ > 0.8
    assert [info.rows for info in FeatureStore(embedder.store).info().fingerprints] == [48] * 3


def test_groups_and_repeated_folds(model, paths, y):
    groups = np.arange(48) % 4
    for splitter in (GroupKFold(4), LeaveOneGroupOut()):
        assert cross_val_score(model, paths, y, groups=groups, cv=splitter).mean() > 0.8
    folds = RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0)
    assert len(cross_val_score(model, paths, y, cv=folds)) == 4


def test_bagging_and_self_training_after_the_embedder(embedder, paths, y):
    bagged = make_pipeline(embedder, PCA(8, whiten=True), BaggingClassifier(LogisticRegression(), 3, random_state=0))
    assert bagged.fit(paths, y).score(paths, y) > 0.8
    partly = np.where(np.arange(48) < 30, np.arange(48) % 3, -1)
    selfmade = make_pipeline(embedder, PCA(8, whiten=True), SelfTrainingClassifier(LogisticRegression()))
    assert selfmade.fit(paths, partly).predict(paths).shape == (48,)


def test_a_scorer_of_ones_own(model, paths, y):
    scorer = make_scorer(top_k_accuracy_score, k=2, response_method="predict_proba", labels=["blue", "green", "red"])
    assert cross_val_score(model, paths, y, scoring=scorer, cv=3).mean() > 0.8


def test_selection_and_power_between_the_embedder_and_the_classifier(embedder, paths, y):
    selection = [VarianceThreshold(1e-6), SelectKBest(k=50)]
    model = make_pipeline(embedder, SignedPower(), *selection, StreamingPCA(8, whiten=True), LogisticRegression())
    assert cross_val_score(model, paths, y, cv=3).mean() > 0.8


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_backbones_side_by_side(store, paths, y, container):
    if container == "polars" and sklearn_release() < (1, 7):
        pytest.skip("this FeatureUnion joins frames of polars before it makes their columns' names differ")
    backbones = {name: ImageEmbedder(name, store=store) for name in ("pixels32", "colour-histogram")}
    for union in (FeatureUnion(list(backbones.items())), fuse(backbones), fuse(backbones, normalize=True)):
        features = union.set_output(transform=container).fit_transform(paths)
        assert features.columns[0] == "pixels32__imageembedder0"
        assert features.columns[-1].startswith("colour-histogram__imageembedder")
        assert {str(kind).lower() for kind in features.dtypes} == {"float32"}
    model = make_pipeline(fuse(backbones, normalize=True), LogisticRegression(C=100, max_iter=1000))
    assert cross_val_score(model, paths, y, cv=3).mean() > 0.8
    grid = {"featureunion__transformer_weights": [None, {"pixels32": 0.5}]}
    assert GridSearchCV(model, grid, cv=2).fit(paths, y).best_score_ > 0.8


def test_views_of_each_image_averaged(store, paths, y):
    views = [
        (f"crop{percent}", ImageEmbedder(MODEL, weights="random", precision="fp32", preprocess=crop, store=store))
        for percent, crop in ((100, {"crop_pct": 1.0}), (80, {"crop_pct": 0.8}))
    ]
    model = make_pipeline(FeatureUnion(views), ViewAverage(2, normalize=True), StandardScaler(), LogisticRegression())
    assert cross_val_score(model, paths, y, cv=3).mean() > 0.8
    single = [view.fit_transform(paths) for _, view in views]
    unit = [features / np.linalg.norm(features, axis=1, keepdims=True) for features in single]
    averaged = make_pipeline(FeatureUnion(views), ViewAverage(2, normalize=True)).fit_transform(paths)
    np.testing.assert_allclose(averaged, (unit[0] + unit[1]) / 2, rtol=1e-5, atol=1e-6)
    assert averaged.dtype == np.float32


def test_digits_as_floats_in_a_stated_range(store):
    digits = load_digits()
    X, y = digits.images[:200] / 16, digits.target[:200]
    model = make_pipeline(ImageEmbedder("pixels32", store=store), PCA(20), LogisticRegression(max_iter=1000))
    assert cross_val_score(model, X, y, cv=2).mean() > 0.8


@pytest.mark.usefixtures("fresh_workers")
def test_relative_paths_mean_the_same_in_worker_processes(store, folder, paths, y, monkeypatch):
    monkeypatch.chdir(folder)
    names = [os.path.basename(path) for path in paths]
    model = make_pipeline(ImageEmbedder("colour-histogram", store=store, root=str(folder)), LogisticRegression())
    assert cross_val_score(model, names, y, cv=2, n_jobs=2).mean() > 0.8
