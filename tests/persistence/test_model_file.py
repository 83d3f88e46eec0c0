from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from embedkit import ImageEmbedder, estimators
from embedkit.errors import ModelFileFormatError, ModelFileNotFoundError, UntrustedModelError, UsageError
from embedkit.persistence import TRUSTED_TYPES, Model, load_model, save_model
from tests.photos import MODEL, make_photo

PHOTOS = [make_photo(number, tint=number) for number in range(8)]
LABELS = ["even", "odd"] * 4


@pytest.fixture
def model(tmp_path):
    embedder = ImageEmbedder(MODEL, weights="random", precision="fp32", engine="torch", store=str(tmp_path / "store"))
    pipeline = make_pipeline(embedder, StandardScaler(), LinearSVC(random_state=0)).fit(PHOTOS, LABELS)
    return Model(pipeline=pipeline)


def test_a_model_survives_its_file(model, tmp_path):
    save_model(model, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert loaded.spec == model.spec == loaded.pipeline[0].spec_
    assert loaded.classes == ["even", "odd"]
    np.testing.assert_array_equal(loaded.pipeline.decision_function(PHOTOS), model.pipeline.decision_function(PHOTOS))


def test_a_fitted_pipeline_is_saved_as_it_is(model, tmp_path):
    save_model(model.pipeline, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops")
    assert loaded.classes == ["even", "odd"]
    np.testing.assert_array_equal(loaded.pipeline.predict(PHOTOS), model.pipeline.predict(PHOTOS))


@pytest.mark.parametrize("head", ["calibrated", "stacked", "searched"])
def test_what_scikit_learn_makes_of_linear_models_is_kept(model, tmp_path, head):
    linear = LogisticRegression()
    final = {
        "calibrated": CalibratedClassifierCV(linear, cv=2),
        "stacked": StackingClassifier([("one", linear)], cv=2),
        "searched": GridSearchCV(linear, {"C": [0.1, 1.0]}, cv=2),
    }[head]
    pipeline = make_pipeline(model.pipeline[0], final).fit(PHOTOS, LABELS)
    save_model(pipeline, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops").pipeline
    np.testing.assert_array_equal(loaded.predict_proba(PHOTOS), pipeline.predict_proba(PHOTOS))


@pytest.mark.parametrize("kind", [estimators.CORAL, estimators.LinearTransport, estimators.SubspaceAlignment])
def test_a_model_of_an_aligned_domain_survives_its_file(model, tmp_path, kind):
    embedder = model.pipeline[0]
    X = embedder.transform(PHOTOS)
    align = kind().fit(X, sample_domain=[0, 0, 0, 0, -1, -1, -1, -1])
    head = estimators.NearestClassMean().fit(align.transform(X), LABELS)
    pipeline = make_pipeline(embedder, align, head)
    save_model(pipeline, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops").pipeline
    np.testing.assert_array_equal(loaded.decision_function(PHOTOS), pipeline.decision_function(PHOTOS))
    align.source_mean_ = align.source_mean_[:-1]
    with pytest.raises(UntrustedModelError, match="source_mean_"):
        save_model(pipeline, tmp_path / "other.skops")


@pytest.mark.parametrize("wrong", [None, LinearSVC(), make_pipeline(StandardScaler(), LinearSVC())])
def test_what_is_no_pipeline_of_images_is_not_saved(tmp_path, wrong):
    expected = f"a {type(wrong).__name__} without an ImageEmbedder, expected a fitted Pipeline with an ImageEmbedder"
    with pytest.raises(UsageError, match=expected):
        save_model(wrong, tmp_path / "model.skops")
    assert not list(tmp_path.iterdir())


def test_what_is_not_fitted_is_not_saved(model, tmp_path):
    head = make_pipeline(model.pipeline[0], StandardScaler(), LinearSVC())  # the embedder alone is fitted
    for wrong in (clone(model.pipeline), head, GridSearchCV(model.pipeline, {"linearsvc__C": [1.0]})):
        with pytest.raises(UsageError, match=r"a \w+ that is not fitted, expected a fitted Pipeline.*; fit it"):
            save_model(wrong, tmp_path / "model.skops")
    assert not (tmp_path / "model.skops").exists()


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
    save_model(fitted, tmp_path / "model.skops")
    loaded = load_model(tmp_path / "model.skops").pipeline
    assert loaded.predict(PHOTOS).tolist() == fitted.predict(PHOTOS).tolist()


def test_the_file_is_small_and_says_what_it_is(model, tmp_path):
    save_model(model, tmp_path / "model.skops")
    assert (tmp_path / "model.skops").stat().st_size < 100_000  # no weights of the network
    with zipfile.ZipFile(tmp_path / "model.skops") as archive:
        record = json.loads(archive.read("embedkit.json"))
    assert (record["format"], record["spec"]) == (1, model.spec.to_dict())
    assert set(record["versions"]) == {"embedkit", "scikit-learn", "numpy", "skops"}


def test_only_known_types_are_saved_and_loaded(model, tmp_path):
    model.pipeline.steps.append(("shout", FunctionTransformer(print)))
    with pytest.raises(UntrustedModelError, match="print"):
        save_model(model, tmp_path / "model.skops")
    assert not (tmp_path / "model.skops").exists()


def test_types_outside_the_allow_list_are_named_and_not_loaded(model, tmp_path):
    save_model(model, tmp_path / "good.skops")
    with zipfile.ZipFile(tmp_path / "good.skops") as archive:
        record = archive.read("embedkit.json")
    stranger = skops.io.dumps(make_pipeline(model.pipeline[0], FunctionTransformer(os.system), OrderedDict()))
    (tmp_path / "bad.skops").write_bytes(stranger)
    with zipfile.ZipFile(tmp_path / "bad.skops", "a") as archive:
        archive.writestr("embedkit.json", record)
    for trust_pickle in (False, True):  # which is about pickles, and opens no other door
        with pytest.raises(UntrustedModelError, match=r"bad\.skops holds types .*: posix\.system; "):
            load_model(tmp_path / "bad.skops", trust_pickle=trust_pickle)


def test_a_fresh_process_predicts_the_same_from_a_file_of_some_kilobytes(model, tmp_path):
    paths: list[str] = []
    for number, photo in enumerate(PHOTOS):
        paths.append(str(tmp_path / f"{number}.png"))
        photo.save(paths[-1])
    path = tmp_path / "model.skops"
    save_model(model, path)
    assert path.stat().st_size < 20_000  # the network's 0.4 million parameters would take 1.6 MB
    code = (
        "import sys, json\n"
        "from embedkit import load_model\n"
        "model = load_model(sys.argv[1])\n"
        "pipeline = model.pipeline.set_params(imageembedder__store=sys.argv[2])\n"
        "found = pipeline.predict(sys.argv[3:]), pipeline.decision_function(sys.argv[3:])\n"
        "print(json.dumps([values.tolist() for values in found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "another store"), *paths],
        capture_output=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    classes, values = json.loads(done.stdout)
    assert classes == model.pipeline.predict(paths).tolist()
    np.testing.assert_allclose(values, model.pipeline.decision_function(paths), rtol=1e-5, atol=1e-5)


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


PICKLED = {
    "plain.joblib": lambda value, path: joblib.dump(value, path),
    "compressed.joblib": lambda value, path: joblib.dump(value, path, compress=3),
    "gzip.model": lambda value, path: joblib.dump(value, path, compress=("gzip", 3)),
    "xz.model": lambda value, path: joblib.dump(value, path, compress=("xz", 3)),
    "bzip2.model": lambda value, path: joblib.dump(value, path, compress=("bz2", 3)),
    "disguised.skops": lambda value, path: path.write_bytes(pickle.dumps(value)),
    "ancient.pkl": lambda value, path: path.write_bytes(pickle.dumps(value, protocol=0)),
}


@pytest.mark.parametrize("name", PICKLED)
def test_nothing_in_a_pickle_runs_unless_it_is_trusted(tmp_path, name):
    path, mark = tmp_path / name, tmp_path / "was here"
    PICKLED[name](Touch(mark), path)
    with pytest.raises(UntrustedModelError, match=r"is a pickle, .*--trust-pickle \(trust_pickle=True\)"):
        load_model(path)
    assert not mark.exists()
    with pytest.raises(ModelFileFormatError, match="holds a NoneType without an ImageEmbedder, expected"):
        load_model(path, trust_pickle=True)
    assert mark.exists()


@pytest.mark.parametrize("name", PICKLED)
def test_a_trusted_pickle_is_a_model(model, tmp_path, name):
    PICKLED[name](model.pipeline, tmp_path / name)
    loaded = load_model(tmp_path / name, trust_pickle=True)
    assert (loaded.spec, loaded.classes) == (model.spec, model.classes)
    np.testing.assert_array_equal(loaded.pipeline.decision_function(PHOTOS), model.pipeline.decision_function(PHOTOS))


def test_a_damaged_pickle_and_one_of_something_else(model, tmp_path):
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(model.pipeline)[:-40])
    with pytest.raises(ModelFileFormatError, match=r"cut\.pkl cannot be loaded"):
        load_model(tmp_path / "cut.pkl", trust_pickle=True)
    joblib.dump(model.pipeline[1:], tmp_path / "head.joblib")
    with pytest.raises(ModelFileFormatError, match="holds a Pipeline without an ImageEmbedder, expected a fitted"):
        load_model(tmp_path / "head.joblib", trust_pickle=True)


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
