from __future__ import annotations

import json
import pickle
import zipfile

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from embedkit import ImageEmbedder, estimators
from embedkit.errors import ModelFileFormatError, ModelFileNotFoundError, UntrustedModelError
from embedkit.persistence import TRUSTED_TYPES, Model, load_model, save_model
from tests.photos import MODEL, make_photo

PHOTOS = [make_photo(number, tint=number) for number in range(8)]
LABELS = ["even", "odd"] * 4


@pytest.fixture
def model(tmp_path):
    embedder = ImageEmbedder(MODEL, weights="random", precision="fp32", engine="torch", store=str(tmp_path / "store"))
    pipeline = make_pipeline(embedder, StandardScaler(), LinearSVC(random_state=0)).fit(PHOTOS, LABELS)
    return Model(pipeline=pipeline, spec=pipeline[0].spec_, classes=["even", "odd"])


def test_a_model_survives_its_file(model, tmp_path):
    save_model(model, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert loaded.spec == model.spec == loaded.pipeline[0].spec_
    assert loaded.classes == ["even", "odd"]
    np.testing.assert_array_equal(loaded.pipeline.decision_function(PHOTOS), model.pipeline.decision_function(PHOTOS))


def test_every_estimator_of_embedkit_is_trusted():
    public = [getattr(estimators, name) for name in estimators.__all__]
    names = {f"{one.__module__}.{one.__qualname__}" for one in public if isinstance(one, type)}
    assert names < TRUSTED_TYPES


@pytest.mark.parametrize(
    "steps",
    [
        [estimators.LogisticRegression(C=0.1)],
        [estimators.NearestClassMean()],
        [estimators.SignedPower(), estimators.StreamingRidgeClassifier()],
        [estimators.StreamingPCA(n_components=2), estimators.StreamingLDA()],
        [estimators.LogisticRegressionPath(Cs=[0.1, 1.0], cv=2)],
        [estimators.KNeighborsClassifier(n_neighbors=1)],
    ],
)
def test_estimators_of_embedkit_survive_the_file(model, tmp_path, steps):
    fitted = make_pipeline(model.pipeline[0], *steps).fit(PHOTOS, LABELS)
    save_model(Model(pipeline=fitted, spec=model.spec, classes=model.classes), tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops").pipeline
    assert loaded.predict(PHOTOS).tolist() == fitted.predict(PHOTOS).tolist()


def test_the_file_is_small_and_says_what_it_is(model, tmp_path):
    save_model(model, tmp_path / "model.skops")
    assert (tmp_path / "model.skops").stat().st_size < 100_000  # no weights of the network
    with zipfile.ZipFile(tmp_path / "model.skops") as archive:
        record = json.loads(archive.read("embedkit.json"))
    assert record["spec"] == model.spec.to_dict()
    assert set(record["versions"]) == {"embedkit", "scikit-learn", "numpy", "skops"}


def test_only_known_types_are_saved_and_loaded(model, tmp_path):
    model.pipeline.steps.append(("shout", FunctionTransformer(print)))
    with pytest.raises(UntrustedModelError, match="print"):
        save_model(model, tmp_path / "model.skops")
    assert not (tmp_path / "model.skops").exists()


def test_what_is_no_model_file(model, tmp_path):
    path = tmp_path / "model.skops"
    with pytest.raises(ModelFileNotFoundError, match="model.skops"):
        load_model(path)
    path.write_bytes(pickle.dumps(model.classes))
    with pytest.raises(UntrustedModelError, match="pickle"):
        load_model(path)
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(ModelFileFormatError, match="embedkit fit"):
        load_model(path)
    save_model(model, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("embedkit.json", json.dumps({"format": 99}))
    with pytest.raises(ModelFileFormatError, match="upgrade embedkit"):
        load_model(path)
    path.write_bytes(whole[:-40])
    with pytest.raises(ModelFileFormatError):
        load_model(path)
