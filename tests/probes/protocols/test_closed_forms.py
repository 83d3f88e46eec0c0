"""dinov2-knn, simpleshot, ridge-lsr and hest-ridge against their texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit.probes.protocols import run_protocol
from tests.probes.protocols.samples import names, rows_of

MODES = pytest.mark.parametrize("as_published", [False, True])


@MODES
@pytest.mark.parametrize("validation", [False, True])
def test_dinov2_knn(as_published: bool, validation: bool) -> None:
    rows = rows_of(classes=7, n=480, validation=validation, seed=1)
    train = torch.nn.functional.normalize(torch.tensor(rows.X_known), dim=1)
    test = torch.nn.functional.normalize(torch.tensor(rows.X_test), dim=1)
    similarity, index = (test @ train.T).topk(200, largest=True, sorted=True)
    weights = torch.softmax(similarity / 0.07, 1)
    onehot = torch.nn.functional.one_hot(torch.tensor(rows.y_known)[index], 7)
    votes = {k: (onehot * weights[:, :, None])[:, :k].sum(1) for k in (10, 20, 100, 200)}
    run = run_protocol("dinov2-knn", rows.table, model="m", as_published=as_published)
    assert run.predictions.tolist() == names(votes[20].argmax(1).numpy())
    assert run.result.params == {"k": 20, "temperature": 0.07}
    target = torch.tensor(rows.y_test)
    for k in (10, 100, 200):
        accuracy = (votes[k].argmax(1) == target).float().mean().item()
        assert run.result.metrics[f"accuracy (k={k})"]["value"] == pytest.approx(accuracy)
    top5 = (votes[20].topk(5, dim=1).indices == target[:, None]).any(1).float().mean().item()
    assert run.result.metrics["top5_accuracy"]["value"] == pytest.approx(top5)


def test_dinov2_knn_leaves_out_numbers_of_neighbours_that_are_not_there() -> None:
    rows = rows_of(n=60)
    result = run_protocol("dinov2-knn", rows.table, model="m").result
    assert "accuracy (k=10)" in result.metrics
    assert "accuracy (k=100)" not in result.metrics
    assert any("k = 10, 20 only" in note for note in result.notes)


@MODES
@pytest.mark.parametrize("classes", [2, 5])
def test_simpleshot(as_published: bool, classes: int) -> None:
    rows = rows_of(classes=classes, validation=True, seed=2)
    mean = rows.X_known.astype(np.float64).mean(0)
    train, test = (X.astype(np.float64) - mean for X in (rows.X_known, rows.X_test))
    train, test = (X / np.linalg.norm(X, axis=1, keepdims=True) for X in (train, test))
    means = np.stack([train[rows.y_known == k].mean(0) for k in range(classes)])
    nearest = ((test[:, None] - means) ** 2).sum(-1).argmin(1)
    run = run_protocol("simpleshot", rows.table, model="m", as_published=as_published)
    assert run.predictions.tolist() == names(nearest)
    assert run.result.converged


@pytest.mark.parametrize(("as_published", "width"), [(False, 8), (True, 8), (False, 60), (True, 60)])
def test_ridge_lsr(as_published: bool, width: int) -> None:
    rows = rows_of(classes=4, n=400, width=width, seed=3)
    run = run_protocol("ridge-lsr", rows.table, model="m", as_published=as_published)
    accuracies: dict[int, list[float]] = {}
    predictions: list[Any] = []
    for seed in range(3):
        random = np.random.default_rng(seed)
        order = [random.permutation(np.where(rows.y == k)[0]) for k in range(4)]
        for shots in (1, 5, 10, 25):
            chosen = np.concatenate([index[:shots] for index in order])
            X, y = rows.X[chosen].astype(np.float64), 2.0 * np.eye(4)[rows.y[chosen]] - 1
            mean, std = X.mean(0), X.std(0) + 1e-5
            X, X_test = ((Z - mean) / std for Z in (X, rows.X_test.astype(np.float64)))
            X, X_test = (np.hstack([Z, np.full((len(Z), 1), 100.0)]) for Z in (X, X_test))
            W = np.linalg.solve(X.T @ X + 1024 * np.eye(width + 1), X.T @ y)
            predicted = (X_test @ W).argmax(1)
            accuracies.setdefault(shots, []).append(float((predicted == rows.y_test).mean()))
            if shots == 10:
                predictions.append(predicted)
    assert run.result.value == pytest.approx(np.mean(accuracies[10]))
    assert run.predictions.T.tolist() == [names(predicted) for predicted in predictions]
    for label, shots in (("1 shot", 1), ("5 shots", 5), ("25 shots", 25)):
        got = run.result.metrics[f"accuracy ({label})"]
        assert got["value"] == pytest.approx(np.mean(accuracies[shots]))
        assert got["interval"][0] <= got["value"] <= got["interval"][1]


def test_ridge_lsr_says_where_classes_are_small() -> None:
    rows = rows_of(classes=6, n=120)
    notes = run_protocol("ridge-lsr", rows.table, model="m").result.notes
    assert any("fewer than 25 training images" in note for note in notes)


@MODES
@pytest.mark.parametrize("width", [8, 300])
def test_hest_ridge(as_published: bool, width: int) -> None:
    rows = rows_of(kind="value", n=600, width=width, seed=4)
    components = min(256, width)
    # The default: closed forms in float64. As published: float32 components, LSQR at its default tolerance.
    solver = "auto" if as_published else "full"
    dtype = np.float32 if as_published else np.float64
    pipe = make_pipeline(StandardScaler(), PCA(components, svd_solver=solver, random_state=1))
    X, X_test = pipe.fit_transform(rows.X_known.astype(dtype)), pipe.transform(rows.X_test.astype(dtype))
    alpha = 100 / components
    if as_published:
        ridge = Ridge(alpha=alpha, solver="lsqr", fit_intercept=False, max_iter=1000, random_state=1)
        expected = ridge.fit(X, rows.y_known).predict(X_test)
    else:
        expected = X_test @ np.linalg.solve(X.T @ X + alpha * np.eye(components), X.T @ rows.y_known)
    run = run_protocol("hest-ridge", rows.table, model="m", as_published=as_published)
    np.testing.assert_allclose(run.predictions, expected, rtol=1e-3 if as_published else 1e-7, atol=1e-6)
    assert run.result.metric == "pearson"
    assert run.result.value == pytest.approx(pearsonr(rows.y_test, expected)[0], abs=1e-5)
    assert run.result.metrics["r2"]["value"] == pytest.approx(r2_score(rows.y_test, expected), abs=1e-4)
    np.testing.assert_allclose(run.per_image, -((run.predictions - rows.y_test) ** 2))
    assert run.result.params["alpha"] == alpha
