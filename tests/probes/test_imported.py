"""Any estimator of scikit-learn's kind as a probe."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from embedkit.errors import UsageError
from embedkit.evaluation.splits import make_splits
from embedkit.probes import quick
from tests.probes.samples import blobs, table_of

SPLIT = ["train", "train", "test"]


def test_a_dotted_path_is_standardised_searched_and_refitted():
    X, y = blobs(rows=40, spread=1.5)
    found = quick(
        table_of(X, y, split=SPLIT * 40), "sklearn.svm.SVC", model="m", params={"C": [0.01, 1, 100], "gamma": ["scale"]}
    )
    [split] = make_splits(y, SPLIT * 40)
    scores = []
    for C in (0.01, 1, 100):
        pipeline = make_pipeline(StandardScaler(), SVC(C=C)).fit(X[split.fit], y[split.fit])
        scores.append(pipeline.score(X[split.select], y[split.select]))
    best = (0.01, 1, 100)[int(np.argmax(scores))]
    assert found.result.params == {"C": best, "gamma": "scale"}
    expected = make_pipeline(StandardScaler(), SVC(C=best)).fit(X[split.train], y[split.train])
    assert (found.predictions == expected.predict(X[split.test])).mean() > 0.97  # rows in another order
    assert found.result.estimator == "sklearn.svm.SVC"
    assert found.result.at_edge == (best != 1)


def test_an_object_is_cloned_and_a_pipeline_is_taken_as_it_is():
    X, y = blobs(rows=20)
    pipeline = make_pipeline(PCA(2), LogisticRegression())
    found = quick(table_of(X, y), pipeline, model="m", params={"logisticregression__C": [0.1, 1.0]})
    assert not hasattr(pipeline[0], "components_")
    assert found.result.estimator == "Pipeline"
    assert [name for name, _ in found.steps] == ["pipeline"]
    assert found.steps[0][1][0].n_components_ == 2
    assert quick(table_of(X, y), SVC(), model="m").result.params == {}


def test_without_a_grid_nothing_is_chosen_and_it_is_said():
    X, y = blobs(rows=20)
    result = quick(table_of(X, y), "sklearn.neighbors.NearestCentroid", model="m").result
    assert (result.params, result.at_edge) == ({}, False)
    assert result.selected_on == "nothing: the estimator's own parameters were kept"


def test_random_estimators_are_seeded():
    X, y = blobs(rows=20, spread=2.0)
    table = table_of(X, y)
    name = "sklearn.ensemble.ExtraTreesClassifier"
    params = {"n_estimators": [5]}
    first, again = (quick(table, name, model="m", params=params, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.predictions, again.predictions)


def test_regressors_take_values_and_classifiers_several_labels():
    X, _ = blobs(rows=40)
    y = X[:, 0].astype(np.float64)
    found = quick(table_of(X, y), "sklearn.linear_model.Lasso", model="m", params={"alpha": [1.0, 0.01]}).result
    assert found.metric == "r2"
    assert found.value > 0.9
    assert found.params == {"alpha": 0.01}
    marks = X[:, :2] > 0
    found = quick(table_of(X, marks, classes=["p", "q"]), "sklearn.linear_model.RidgeClassifier", model="m").result
    assert found.metric == "average_precision"
    assert found.value > 0.9


def test_what_did_not_converge_is_marked():
    X, y = blobs(rows=20)
    name = "sklearn.linear_model.LogisticRegression"
    assert not quick(table_of(X, y), name, model="m", params={"max_iter": [1]}).result.converged
    assert quick(table_of(X, y), name, model="m").result.converged


@pytest.mark.parametrize(
    ("estimator", "params", "words"),
    [
        ("sklearn.svm.SVCC", {}, "sklearn.svm has no 'SVCC'; did you mean .*SVC"),
        ("sklearn.svn.SVC", {}, "module 'sklearn.svn' cannot be imported .ModuleNotFoundError"),
        ("nowhere.Forest", {}, "install the package"),
        ("os.path", {}, "is not a class of scikit-learn estimators"),
        ("pathlib.Path", {}, "is not a class of scikit-learn estimators"),
        ("sklearn.base.clone", {}, "is not a class of scikit-learn estimators"),
        ("sklearn.multiclass.OneVsRestClassifier", {}, "needs arguments"),
        ("sklearn.decomposition.PCA", {}, "PCA does not fit the labels: these are classes, which ask for a classifier"),
        ("sklearn.svm.SVR", {}, "SVR does not fit the labels"),
        ("sklearn.svm.SVC", {"c": [1]}, "SVC has no parameter 'c'"),
        ("sklearn.svm.SVC", {"gama": [1]}, "no parameter 'gama'; did you mean gamma"),
        ("sklearn.svm.SVC", {"C": "10"}, "parameter 'C' is '10', expected a list"),
        ("sklearn.svm.SVC", {"C": []}, "expected a list of at least one value"),
        ("sklearn.svm.SVC", {"C": [-1]}, "SVC cannot be fitted: .*C.*; check its parameters"),
        ("logistic", {"C": [1]}, "'logistic' chooses from a grid of its own"),
        (object(), {}, "estimator is a object, expected a name"),
        (SVC, {}, "expected a name"),
    ],
)
def test_what_cannot_be_used_says_why(estimator, params, words):
    X, y = blobs(rows=12)
    with pytest.raises(UsageError, match=words):
        quick(table_of(X, y), estimator, model="m", params=params)


def test_a_classifier_does_not_take_values():
    X, _ = blobs(rows=12)
    with pytest.raises(UsageError, match="SVC does not fit the labels: these are values, which ask for a regressor"):
        quick(table_of(X, X[:, 0].astype(np.float64)), "sklearn.svm.SVC", model="m")
