"""scikit-learn's estimators fitted on tensors: where they can, with the outcome of NumPy, and NumPy afterwards.

SciPy decides at its import whether it takes tensors, so most of this runs in a process of its own.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn
import skops.io
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, RidgeClassifierCV, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC

from embedkit.compat import sklearn_release
from embedkit.errors import DeviceError, UsageError
from embedkit.estimators.array_api import fit_on, fit_transform_on, resolve_tensor_device, takes_tensors, to_numpy
from embedkit.probes import quick
from tests.probes.samples import table_of

SWITCHED_ON = os.environ.get("SCIPY_ARRAY_API") == "1"
dispatching = pytest.mark.skipif(
    not SWITCHED_ON, reason="SciPy was imported without SCIPY_ARRAY_API=1: run by test_with_dispatch in its own process"
)


def can_dispatch() -> bool:
    try:
        with sklearn.config_context(array_api_dispatch=True):
            return True
    except ImportError:
        return False
    except RuntimeError:  # the setting is missing, and nothing else
        return True


if not can_dispatch():  # scikit-learn 1.6 without array-api-compat: everything gets NumPy, whatever is asked for

    def test_without_dispatch_a_named_device_means_numpy():
        assert resolve_tensor_device("torch:cpu") is None

    dispatching = pytest.mark.skip(reason="this scikit-learn cannot dispatch to tensors")
newest = pytest.mark.skipif(sklearn_release() < (1, 9), reason="scikit-learn 1.9 is the release whose tags are stated")

rng = np.random.default_rng(0)
NUMBERS = rng.integers(0, 4, 300)
X = (rng.normal(size=(300, 20)) + rng.normal(size=(4, 20))[NUMBERS]).astype(np.float32)
LABELS = np.array(["apple", "banana", "cherry", "date"])[NUMBERS]
VALUES = X[:, :1].ravel() * 2 + X[:, 1]

CLASSIFIERS = [
    LogisticRegression(),
    LogisticRegression(class_weight="balanced", C=0.1),
    LinearDiscriminantAnalysis(),
    RidgeClassifierCV(),
    GaussianNB(),
]
REGRESSORS = [RidgeCV(), Ridge(solver="svd")]
TRANSFORMERS = [
    StandardScaler(),
    MinMaxScaler(),
    Normalizer(),
    PCA(5, svd_solver="covariance_eigh"),
    PCA(5, svd_solver="full", whiten=True),
]
ONLY_NUMPY = [
    SVC(kernel="linear"),
    KNeighborsClassifier(),
    LogisticRegression(solver="newton-cholesky"),
    LinearDiscriminantAnalysis(solver="lsqr"),
    RidgeClassifier(),
    Ridge(),
    PCA(5),
    PCA(5, svd_solver="arpack", random_state=0),
    TruncatedSVD(5, random_state=0),
    make_pipeline(StandardScaler(), LogisticRegression()),
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}),
]


@pytest.mark.skipif(SWITCHED_ON, reason="this is that process")
def test_with_dispatch():
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", __file__]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2]
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout


@newest
@pytest.mark.parametrize("estimator", CLASSIFIERS + REGRESSORS + TRANSFORMERS, ids=repr)
def test_the_tag_lets_in(estimator):
    assert takes_tensors(estimator)


@pytest.mark.parametrize("estimator", ONLY_NUMPY, ids=repr)
def test_the_tag_and_the_solver_keep_out(estimator):
    assert not takes_tensors(estimator)


@dispatching
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=repr)
def test_classifiers_equal_those_on_numpy(estimator):
    expected, fitted = clone(estimator).fit(X, LABELS), fit_on("cpu", clone(estimator), X, LABELS)
    assert_numpy(fitted)
    assert fitted.classes_.tolist() == expected.classes_.tolist()
    assert fitted.predict(X).tolist() == expected.predict(X).tolist()
    np.testing.assert_allclose(
        fitted.predict_proba(X) if hasattr(fitted, "predict_proba") else 0,
        expected.predict_proba(X) if hasattr(fitted, "predict_proba") else 0,
        atol=1e-3,
    )
    if hasattr(fitted, "decision_function"):
        values = expected.decision_function(X)
        np.testing.assert_allclose(fitted.decision_function(X), values, atol=2e-3 * np.abs(values).max())


@dispatching
@pytest.mark.parametrize("estimator", REGRESSORS, ids=repr)
def test_regressors_equal_those_on_numpy(estimator):
    fitted = fit_on("cpu", clone(estimator), X, VALUES)
    assert_numpy(fitted)
    np.testing.assert_allclose(fitted.predict(X), clone(estimator).fit(X, VALUES).predict(X), atol=1e-3)


@dispatching
@pytest.mark.parametrize("estimator", TRANSFORMERS, ids=repr)
def test_transformers_equal_those_on_numpy(estimator):
    expected, twin = clone(estimator).fit_transform(X), clone(estimator)
    transformed = fit_transform_on("cpu", twin, X)
    if takes_tensors(estimator):
        assert isinstance(transformed, torch.Tensor)
    assert_numpy(twin)
    np.testing.assert_allclose(to_numpy(transformed), expected, atol=1e-3)
    np.testing.assert_allclose(twin.transform(X), expected, atol=1e-3)


@dispatching
@pytest.mark.parametrize("estimator", ONLY_NUMPY, ids=repr)
def test_everything_else_gets_numpy(estimator):
    """From a tensor, as a step before may leave it."""
    y = VALUES if isinstance(estimator, Ridge) else LABELS
    fitted = fit_on("cpu", clone(estimator), torch.from_numpy(X), y)
    assert_numpy(fitted)
    expected = clone(estimator).fit(X, y)
    names = ("predict_proba", "decision_function", "predict", "transform")
    name = next(name for name in names if hasattr(fitted, name))
    np.testing.assert_allclose(getattr(fitted, name)(X), getattr(expected, name)(X), atol=1e-3)


@dispatching
def test_the_fit_saw_tensors_and_the_file_holds_none(tmp_path):
    seen: list[type] = []

    class Watched(LogisticRegression):
        def fit(self, X, y):
            seen.append(type(X))
            return super().fit(X, y)

    fit_on("cpu", Watched(), X, LABELS)
    fit_on(None, Watched(), torch.from_numpy(X), LABELS)
    assert seen == [torch.Tensor if takes_tensors(Watched()) else np.ndarray, np.ndarray]
    fitted = fit_on("cpu", LogisticRegression(), X, LABELS)
    assert b"torch" not in pickle.dumps(fitted)
    assert skops.io.get_untrusted_types(data=skops.io.dumps(fitted)) == []


@dispatching
@pytest.mark.parametrize("name", ["LogisticRegression", "RidgeClassifierCV"])
def test_a_probe_on_tensors_is_the_probe_on_numpy(name):
    table = table_of(X, LABELS.tolist(), split=["train", "train", "test"] * 100)
    grid = {"C": [0.001, 0.1]} if name == "LogisticRegression" else {}
    path = f"sklearn.linear_model.{name}"
    there, here = (quick(table, path, model="m", params=grid, device=device) for device in ("torch:cpu", "cpu"))
    assert (there.result.value, there.result.params) == (here.result.value, here.result.params)
    assert there.predictions.tolist() == here.predictions.tolist()
    for _, step in there.steps:
        assert_numpy(step)
    np.testing.assert_allclose(there.steps[-1][1].coef_, here.steps[-1][1].coef_, atol=1e-4)


@dispatching
def test_devices_that_are_there():
    assert resolve_tensor_device("torch:cpu") == "cpu"
    assert resolve_tensor_device("cpu") is None


def test_no_fit_that_stops_early_goes_unnoticed():
    with pytest.warns(ConvergenceWarning):
        fit_on(None, LogisticRegression(max_iter=1), X, LABELS)


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "torch"])
def test_devices_that_are_not(name):
    with pytest.raises(DeviceError, match=rf"device '{name}' is not available.*torch:cpu"):
        resolve_tensor_device(name)


@pytest.mark.skipif(SWITCHED_ON or not can_dispatch(), reason="nothing is missing")
def test_a_device_asked_for_without_the_setting_says_what_to_do(monkeypatch):
    for late in (False, True):
        if late:  # after SciPy's import
            monkeypatch.setenv("SCIPY_ARRAY_API", "1")
        with pytest.raises(UsageError, match=r"SCIPY_ARRAY_API=1 before Python imports scipy or sklearn.*device='cpu'"):
            quick(
                table_of(X, LABELS.tolist()), "sklearn.linear_model.LogisticRegression", model="m", device="torch:cpu"
            )


def test_a_scikit_learn_that_cannot_dispatch_means_numpy(monkeypatch):
    def refuse(**settings):
        raise ImportError("array_api_compat is required")

    monkeypatch.setattr(sklearn, "config_context", refuse)
    assert resolve_tensor_device("torch:cpu") is None


def test_auto_without_a_driver_is_numpy_and_imports_no_torch(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert resolve_tensor_device("auto") is None


@pytest.mark.cuda
@dispatching
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=repr)
def test_on_a_gpu(estimator):
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    assert resolve_tensor_device("auto") == "cuda:0"
    scaled = StandardScaler()
    fitted = fit_on("cuda:0", clone(estimator), fit_transform_on("cuda:0", scaled, X), LABELS)
    assert_numpy(fitted)
    assert_numpy(scaled)
    expected = make_pipeline(StandardScaler(), clone(estimator)).fit(X, LABELS)
    assert (fitted.predict(scaled.transform(X)) == expected.predict(X)).mean() > 0.99


def assert_numpy(estimator) -> None:
    for name, value in vars(estimator).items():
        assert not isinstance(value, torch.Tensor), name
        for item in value if isinstance(value, list) else []:
            assert not isinstance(item, torch.Tensor), name
        if hasattr(value, "get_params"):
            assert_numpy(value)
