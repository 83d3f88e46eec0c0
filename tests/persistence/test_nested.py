"""Model files of pipelines whose embedders are inside other estimators, or are several."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - its import is what enables the search
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV, TunedThresholdClassifierCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from embedkit import ImageEmbedder
from embedkit.compat import sklearn_release
from embedkit.errors import ModelFileFormatError, SpecMismatchError, UsageError
from embedkit.estimators import fuse
from embedkit.persistence import TRUSTED_TYPES, Model, load_model, save_model
from tests.photos import MODEL, make_photo

GOLDEN = Path(__file__).parents[1] / "golden" / "model-1.skops"
N = 18
Y = np.array(["red", "green", "blue"])[np.arange(N) % 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nested")
    for number in range(N):
        make_photo(number, tint=number).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def frame(folder):
    return pd.DataFrame(
        {
            "photo": [str(folder / f"{number:02d}.png") for number in range(N)],
            "shop": ["north", "south"] * (N // 2),
            "price": [np.nan, *np.arange(1.0, N)],
        }
    )


@pytest.fixture(scope="module")
def photos(frame):
    return frame["photo"].tolist()


@pytest.fixture(scope="module")
def embed(folder):
    def embed(model: str) -> ImageEmbedder:
        return ImageEmbedder(model, weights="random", precision="fp32", engine="torch", store=str(folder / "store"))

    return embed


def logistic():
    return LogisticRegression(max_iter=1000)


def beside_a_table(embedder, columns="photo", **options):
    price = make_pipeline(SimpleImputer(), StandardScaler())
    tabular = [("shop", OneHotEncoder(), ["shop"]), ("price", price, ["price"])]
    return make_pipeline(ColumnTransformer([("photo", embedder, columns), *tabular], **options), logistic())


def search_over(pipeline, search=GridSearchCV, **options):
    name = list(pipeline.named_steps)[-1]
    return search(pipeline, {f"{name}__C": [0.1, 1.0]}, cv=2, **options)


TABLES = {
    "a column": lambda embed: beside_a_table(embed("colour-histogram")),
    "a list of one column": lambda embed: beside_a_table(embed("colour-histogram"), ["photo"]),
    "a pipeline in a column": lambda embed: beside_a_table(make_pipeline(embed("colour-histogram"), PCA(4))),
    "the rest passed through": lambda embed: make_pipeline(
        ColumnTransformer(
            [("photo", embed("colour-histogram"), "photo"), ("shop", OneHotEncoder(), [False, True, False])],
            remainder=SimpleImputer(),
        ),
        logistic(),
    ),
    "columns by their kind": lambda embed: make_pipeline(
        ColumnTransformer(
            [
                ("photo", embed("colour-histogram"), make_column_selector(pattern="photo")),
                ("numbers", SimpleImputer(), make_column_selector(dtype_include=np.number)),
            ]
        ),
        logistic(),
    ),
    "a search over columns": lambda embed: search_over(beside_a_table(embed("colour-histogram"))),
}
UNIONS = {
    "a union": lambda embed: make_pipeline(
        FeatureUnion([("colours", embed("colour-histogram")), ("pixels", embed("pixels32"))]), logistic()
    ),
    "fused": lambda embed: make_pipeline(
        fuse({name: embed(name) for name in ("colour-histogram", "pixels32")}, normalize=True), logistic()
    ),
    "pipelines within": lambda embed: make_pipeline(
        make_pipeline(make_pipeline(embed("pixels32")), PCA(4)), logistic()
    ),
    "a search": lambda embed: search_over(make_pipeline(embed("colour-histogram"), logistic()), scoring="accuracy"),
    "a halving search": lambda embed: search_over(
        make_pipeline(embed("colour-histogram"), logistic()), HalvingGridSearchCV, random_state=0
    ),
    "a random search": lambda embed: search_over(
        make_pipeline(embed("pixels32"), SelectKBest(k=8), logistic()),
        RandomizedSearchCV,
        n_iter=2,
        random_state=0,
        scoring=["accuracy", "f1_macro"],
        refit="accuracy",
    ),
    "a stack": lambda embed: StackingClassifier(
        [(name, make_pipeline(embed(name), logistic())) for name in ("colour-histogram", "pixels32")], logistic(), cv=2
    ),
    "calibrated": lambda embed: CalibratedClassifierCV(make_pipeline(embed("colour-histogram"), LinearSVC()), cv=2),
    "frozen": lambda embed: make_pipeline(FrozenEstimator(embed("pixels32").fit(["not looked at"])), logistic()),
}
# How each of them names its embedders.
NAMES = {
    "a column": ["columntransformer__photo"],
    "a list of one column": ["columntransformer__photo"],
    "a pipeline in a column": ["columntransformer__photo__imageembedder"],
    "the rest passed through": ["columntransformer__photo"],
    "columns by their kind": ["columntransformer__photo"],
    "a search over columns": ["best_estimator__columntransformer__photo"],
    "a union": ["featureunion__colours", "featureunion__pixels"],
    "fused": ["featureunion__colour-histogram__features", "featureunion__pixels32__features"],
    "pipelines within": ["pipeline__pipeline__imageembedder"],
    "a search": ["best_estimator__imageembedder"],
    "a halving search": ["best_estimator__imageembedder"],
    "a random search": ["best_estimator__imageembedder"],
    "a stack": ["estimators__0__imageembedder", "estimators__1__imageembedder"],
    "calibrated": [f"calibrated_classifiers__{fold}__estimator__imageembedder" for fold in range(2)],
    "frozen": ["frozenestimator__estimator"],
}


@pytest.mark.parametrize("case", NAMES)
def test_whatever_an_embedder_is_in_survives_the_file(embed, frame, photos, tmp_path, case):
    X = frame if case in TABLES else photos
    fitted = {**TABLES, **UNIONS}[case](embed).fit(X, Y)
    save_model(fitted, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert loaded.pipeline.predict(X).tolist() == fitted.predict(X).tolist()
    # Not to the last bit: a matrix that lay by columns, as PCA's, comes back by rows, and sums go another way.
    np.testing.assert_allclose(loaded.pipeline.predict_proba(X), fitted.predict_proba(X), rtol=1e-4, atol=1e-6)
    assert loaded.classes == ["blue", "green", "red"]
    assert loaded.specs == Model(pipeline=fitted).specs
    assert list(loaded.embedders) == NAMES[case]
    with zipfile.ZipFile(tmp_path / "model.skops") as archive:
        record = json.loads(archive.read("embedkit.json"))
    assert record["format"] == 2
    assert record["specs"] == {name: spec.to_dict() for name, spec in loaded.specs.items()}


def test_other_targets(embed, photos, tmp_path):
    whole = make_pipeline(embed("colour-histogram"), Ridge())
    doubled = TransformedTargetRegressor(whole, func=np.log1p, inverse_func=np.expm1).fit(photos, np.arange(N))
    tuned = TunedThresholdClassifierCV(make_pipeline(embed("pixels32"), logistic()), cv=2).fit(photos, Y == "red")
    for number, fitted in enumerate((doubled, tuned)):
        save_model(fitted, tmp_path / f"{number}.skops")
        loaded = load_model(tmp_path / f"{number}.skops").pipeline
        np.testing.assert_array_equal(loaded.predict(photos), fitted.predict(photos))


PREDICT = """
import json, sys
import pandas as pd
from embedkit import load_model
store, table, *files = sys.argv[1:]
frame = pd.read_csv(table)
for file in files:
    model = load_model(file)
    for embedder in model.embedders.values():
        embedder.set_params(store=store)
    X = frame if "columns" in file else frame["photo"]
    print(json.dumps([model.pipeline.predict(X).tolist(), model.pipeline.predict_proba(X).tolist()]))
"""


def test_a_fresh_process_predicts_the_same_from_some_kilobytes(embed, frame, photos, tmp_path):
    several = FeatureUnion([("network", embed(MODEL)), ("pixels", embed("pixels32"))])
    fitted = {
        "columns.skops": beside_a_table(embed(MODEL)).fit(frame, Y),
        "columns, searched.skops": search_over(beside_a_table(embed(MODEL))).fit(frame, Y),
        "union.skops": make_pipeline(several, PCA(4), logistic()).fit(photos, Y),
    }
    files = [tmp_path / name for name in fitted]
    for file, pipeline in zip(files, fitted.values(), strict=True):
        save_model(pipeline, file)
    # The network's 0.4 million parameters would take 1.6 MB; PCA keeps five rows as wide as both backbones together.
    assert [file.stat().st_size < size for file, size in zip(files, (35_000, 70_000, 100_000), strict=True)] == [
        True
    ] * 3
    frame.to_csv(tmp_path / "table.csv", index=False)
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, str(tmp_path / "store"), str(tmp_path / "table.csv"), *map(str, files)],
        capture_output=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    for line, (name, pipeline) in zip(done.stdout.splitlines(), fitted.items(), strict=True):
        classes, probabilities = json.loads(line)
        X = frame if name.startswith("columns") else photos
        assert classes == pipeline.predict(X).tolist()
        np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), rtol=1e-5, atol=1e-5)


def test_each_embedder_gives_its_own_features_or_none(embed, photos, tmp_path):
    union = FeatureUnion([("network", embed(MODEL)), ("pixels", embed("pixels32"))])
    fitted = make_pipeline(union, logistic()).fit(photos, Y)
    save_model(fitted, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    with pytest.raises(UsageError, match=r"2 embedders \(featureunion__network, featureunion__pixels\), not one"):
        _ = loaded.spec
    loaded.embedders["featureunion__network"].set_params(layer=1)
    with pytest.raises(SpecMismatchError, match=r"backbone\.layer is 1, expected None"):
        loaded.pipeline.predict(photos)


def test_templates_and_what_stands_in_a_circle_are_no_embedders_of_the_model(embed, frame, photos):
    template = embed("pixels32").fit(photos)  # fitted once, for something else
    fitted = ColumnTransformer([("photo", template, "photo")]).fit(frame)
    assert list(Model(pipeline=fitted).embedders.values()) == [fitted.named_transformers_["photo"]]
    assert fitted.named_transformers_["photo"] is not template
    circle = make_pipeline(template)
    circle.steps.append(("circle", circle))
    assert list(Model(pipeline=circle).embedders) == ["imageembedder"]


def test_a_search_that_kept_no_pipeline_is_not_saved(embed, photos, tmp_path):
    search = search_over(make_pipeline(embed("pixels32"), logistic()), scoring="accuracy", refit=False)
    with pytest.raises(UsageError, match=r"a GridSearchCV that is not fitted, .* \(a search with refit\)"):
        save_model(search.fit(photos, Y), tmp_path / "model.skops")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")  # scikit-learn's, of the Pipeline
def test_a_file_of_format_1_is_read_for_ever(tmp_path):
    """Written by the first version that wrote any; NearestClassMean on colour histograms of photos of three tints."""
    model = load_model(GOLDEN)
    assert model.classes == ["blue", "green", "red"]
    assert model.spec.fingerprint == "d46c76d8f731bab1a2b081121cc364d52a26e1bc8efb2744b8843c57532e2d9d"
    model.embedders["imageembedder"].set_params(store=str(tmp_path))
    # Its features are those of the first decode contract, which no newer embedkit makes; its classifier reads any.
    with pytest.raises(SpecMismatchError, match=r"decode\.contract is \d+, expected 1"):
        model.pipeline.predict([make_photo(20, tint=20)])
    means = model.pipeline[-1].class_means_
    assert model.pipeline[1:].predict(means).tolist() == model.classes
    save_model(model, tmp_path / "again.skops")
    with zipfile.ZipFile(GOLDEN) as then, zipfile.ZipFile(tmp_path / "again.skops") as now:
        was, is_now = (json.loads(archive.read("embedkit.json")) for archive in (then, now))
    assert {**was, "versions": None} == {**is_now, "versions": None}


@pytest.mark.parametrize("record", [b"[]", b"{}", b'{"format": "new"}', b"\xff"])
def test_a_record_that_says_nothing(tmp_path, record):
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("embedkit.json", record)
    with pytest.raises(ModelFileFormatError, match=r"model\.skops is not a model file of embedkit"):
        load_model(path)


def test_every_trusted_name_is_the_name_of_something():
    past = {"sklearn.compose._column_transformer._RemainderColsList"} if sklearn_release() > (1, 6) else set()
    if sklearn_release() > (1, 6):
        past |= {name for name in TRUSTED_TYPES if name.startswith("_loss.")}
    for name in TRUSTED_TYPES - past:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
