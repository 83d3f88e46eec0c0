"""Fitted steps as a torch module on features: the same values and classes as scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

from embedkit import estimators
from embedkit.deployment.network import Classifier
from embedkit.deployment.parity import compare
from embedkit.deployment.steps import flattened, read_steps
from embedkit.errors import ModelExportError

WIDTH = 12


def make_rows(classes: int, n: int = 240, seed: int = 0):
    """Features far from 0 in some columns and of unequal scale, as those of networks are."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    X = rng.normal(size=(n, WIDTH)) + rng.normal(size=(classes, WIDTH))[y]
    X = X * np.geomspace(0.01, 3, WIDTH) + np.linspace(-5, 5, WIDTH)
    return X.astype(np.float32), np.array([f"class {label}" for label in y])


def exported(steps, X) -> tuple[np.ndarray, np.ndarray, list]:
    flat = list(flattened(steps))
    stages, decision = read_steps(flat, X.shape[1])
    with torch.inference_mode():
        logits, predicted = Classifier(torch.nn.Identity(), stages, decision)(torch.from_numpy(X))
    compare(Pipeline(flat), decision, X, (logits.numpy(), predicted.numpy()))
    return logits.numpy(), predicted.numpy(), stages


TRANSFORMERS = {
    "none": [],
    "scale": [StandardScaler()],
    "scale only": [StandardScaler(with_mean=False)],
    "centre only": [StandardScaler(with_std=False)],
    "robust": [RobustScaler()],
    "scale, PCA": [StandardScaler(), PCA(5)],
    "white PCA": [PCA(5, whiten=True)],
    "incremental PCA": [IncrementalPCA(5)],
    "SVD": [TruncatedSVD(5, random_state=0)],
    "LDA": [LinearDiscriminantAnalysis()],
    "l2": [Normalizer()],
    "l1, scale, max": [Normalizer("l1"), StandardScaler(), Normalizer("max")],
    "best": [SelectKBest(k=6)],
    "power": [estimators.SignedPower(0.3), Normalizer()],
    "views": [estimators.ViewAverage(3)],
    "unit views": [estimators.ViewAverage(2, normalize=True), StandardScaler()],
    "streaming": [estimators.StreamingPCA(n_components=5), estimators.StreamingLDA()],
    "nested": [make_pipeline(StandardScaler(), make_pipeline(PCA(6), "passthrough"))],
}

CLASSIFIERS = {
    "logistic": LogisticRegression(),
    "our logistic": estimators.LogisticRegression(C=0.1),
    "path": estimators.LogisticRegressionPath(Cs=[0.1, 1.0], cv=2),
    "linear svc": LinearSVC(random_state=0),
    "our linear svc": estimators.LinearSVC(C=0.1),
    "svc": SVC(kernel="linear"),
    "svc, ties broken": SVC(kernel="linear", break_ties=True),
    "lda": LinearDiscriminantAnalysis(),
    "streaming lda": estimators.StreamingLDA(),
    "ridge": RidgeClassifier(),
    "streaming ridge": estimators.StreamingRidgeClassifier(),
    "sgd": SGDClassifier(random_state=0),
    "means": estimators.NearestClassMean(),
    "plain means": estimators.NearestClassMean(center=False, normalize=False),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_kind_of_transformer(name):
    X, y = make_rows(4)
    pipeline = make_pipeline(*TRANSFORMERS[name], LogisticRegression(max_iter=1000)).fit(X, y)
    logits, predicted, _ = exported(pipeline.steps, X)
    np.testing.assert_allclose(logits, pipeline.decision_function(X), atol=1e-3)
    assert pipeline.classes_[predicted].tolist() == pipeline.predict(X).tolist()


@pytest.mark.parametrize("classes", [2, 3, 9])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_kind_of_classifier(name, classes):
    X, y = make_rows(classes)
    pipeline = make_pipeline(StandardScaler(), CLASSIFIERS[name]).fit(X, y)
    logits, predicted, stages = exported(pipeline.steps, X)
    assert logits.shape == (len(X), classes)
    values = pipeline.decision_function(X)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0] if classes == 2 else logits, values, atol=1e-3)
    assert pipeline.classes_[predicted].tolist() == pipeline.predict(X).tolist()
    assert len(stages) == (3 if name == "means" else 1)  # scaling and classifier are one matrix


def test_the_softmax_of_logits_is_the_probability():
    for classes in (2, 4):
        X, y = make_rows(classes)
        pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
        logits, _, _ = exported(pipeline.steps, X)
        probabilities = torch.from_numpy(logits).softmax(1).numpy()
        np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), atol=1e-4)


def test_ties_of_votes_go_where_scikit_learn_lets_them():
    """Of many classes that overlap, some rows have as many votes for two: predict and decision_function disagree."""
    X, y = make_rows(12, n=300)
    X = X[:, -4:]
    plain = make_pipeline(StandardScaler(), SVC(kernel="linear")).fit(X, y)
    _, predicted, _ = exported(plain.steps, X)
    by_value = plain.classes_[plain.decision_function(X).argmax(axis=1)]
    assert (by_value != plain.predict(X)).any()
    assert plain.classes_[predicted].tolist() == plain.predict(X).tolist()


@pytest.mark.parametrize("model", [Ridge(), LinearRegression(), estimators.StreamingRidge()])
@pytest.mark.parametrize("targets", [1, 3])
def test_regressors_give_values(model, targets):
    X, _ = make_rows(2)
    y = X[:, :targets] * 2 + 1
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y[:, 0] if targets == 1 else y)
    logits, predicted, _ = exported(pipeline.steps, X)
    np.testing.assert_allclose(logits.reshape(pipeline.predict(X).shape), pipeline.predict(X), atol=1e-3)
    assert not predicted.any()


def test_rows_of_zeros_stay():
    X, y = make_rows(3)
    X[5] = 0
    pipeline = make_pipeline(Normalizer(), LogisticRegression()).fit(X, y)
    logits, _, _ = exported(pipeline.steps, X)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([MinMaxScaler(clip=True), LogisticRegression()], r"step 'minmaxscaler' \(MinMaxScaler\) cannot be exported"),
        ([StandardScaler(), KNeighborsClassifier()], r"step 'kneighborsclassifier' .* is not linear"),
        ([RandomForestClassifier(5)], r"'randomforestclassifier' \(RandomForestClassifier\) is not linear"),
        ([SVC()], r"step 'svc' \(SVC\) has kernel='rbf'"),
        ([SVC(kernel="linear", decision_function_shape="ovo")], "'ovr'"),
        ([StandardScaler()], r"step 'standardscaler' \(StandardScaler\) is not linear"),
    ],
)
def test_a_step_without_a_linear_form_is_named(steps, words):
    X, y = make_rows(3)
    pipeline = make_pipeline(*steps).fit(X, y)
    with pytest.raises(ModelExportError, match=words):
        read_steps(pipeline.steps, WIDTH)


def test_several_labels_and_no_steps():
    X, y = make_rows(3)
    pipeline = make_pipeline(RidgeClassifier()).fit(X, np.stack([y == "class 0", y != "class 1"], axis=1).astype(int))
    with pytest.raises(ModelExportError, match="several labels an image"):
        read_steps(pipeline.steps, WIDTH)
    with pytest.raises(ModelExportError, match="ends with the embedder"):
        read_steps([], WIDTH)


@pytest.mark.parametrize("spoil", ["logits", "predicted"])
def test_another_outcome_is_refused(spoil):
    X, y = make_rows(3)
    steps = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y).steps
    logits, predicted, _ = exported(steps, X)
    _, decision = read_steps(steps, WIDTH)
    if spoil == "logits":
        logits[7, 1] += 0.002
    else:
        predicted[7] = (predicted[7] + 1) % 3
    with pytest.raises(ModelExportError, match="0.002 in a logit" if spoil == "logits" else "1 of 240 images .* 107"):
        compare(Pipeline(steps), decision, X, (logits, predicted), first=100)


def test_large_logits_are_compared_by_their_size():
    """Where float32 has no digits for 1e-3, scikit-learn's own values are no nearer to the exact ones."""
    X, y = make_rows(3)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    pipeline[-1].coef_ = pipeline[-1].coef_ * 1e4
    logits, predicted, _ = exported(pipeline.steps, X)
    assert np.abs(logits - pipeline.decision_function(X)).max() > 1e-3
    _, decision = read_steps(pipeline.steps, WIDTH)
    with pytest.raises(ModelExportError, match="in a logit"):
        compare(Pipeline(pipeline.steps), decision, X, (logits * np.float32(1.0001), predicted))
