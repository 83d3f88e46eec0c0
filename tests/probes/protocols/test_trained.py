"""voc-svm, clip-benchmark and uni-logreg against their texts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC
from torch.utils.data import DataLoader, TensorDataset

from embedkit.probes.protocols import run_protocol
from tests.probes.protocols.samples import Rows, names, rows_of

MODES = pytest.mark.parametrize("as_published", [False, True])
COSTS = [0.01, 0.1, 1.0, 2, 5, 10, 15, 20, 50, 100, 1000]


def vissl_ap(marks: Any, scores: Any) -> float:
    """vissl/utils/svm_utils/evaluate.py."""
    hits = marks[np.argsort(scores)[::-1]].astype(float)
    recall, precision = np.cumsum(hits) / hits.sum(), np.cumsum(hits) / np.arange(1, len(hits) + 1)
    recall, precision = np.concatenate([[0], recall, [1]]), np.concatenate([[0], precision, [0]])
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    steps = np.where(recall[1:] != recall[:-1])[0] + 1
    return float(sum((recall[i] - recall[i - 1]) * precision[i] for i in steps))


def squared_hinge_machine(X: Any, marks: Any, C: float) -> Any:
    """Minimise liblinear's objective, its bias penalised like a coefficient, to rounding."""
    X, sign = np.hstack([X, np.ones((len(X), 1))]), np.where(marks, 1.0, -1.0)
    weight = np.where(marks, 2.0, 1.0) * C

    def objective(w: Any) -> Any:
        slack = np.maximum(1 - sign * (X @ w), 0)
        return 0.5 * w @ w + (weight * slack**2).sum(), w - 2 * X.T @ (weight * slack * sign)

    options = {"maxiter": 5000, "maxfun": 50_000, "ftol": 1e-15, "gtol": 1e-10}
    w = minimize(objective, np.zeros(X.shape[1]), jac=True, method="L-BFGS-B", options=options).x
    return lambda X: X @ w[:-1] + w[-1]


@MODES
@pytest.mark.parametrize("kind", ["multilabel", "class"])
def test_voc_svm(as_published: bool, kind: str) -> None:
    rows = rows_of(kind=kind, n=320, validation=True, seed=1)
    marks, marks_test = (y if y.ndim == 2 else y[:, None] == np.arange(3) for y in (rows.y_known, rows.y_test))
    X, X_test = (Z.astype(np.float64) for Z in (rows.X_known, rows.X_test))
    X, X_test = (Z / (np.linalg.norm(Z, axis=1) + 1e-5)[:, None] for Z in (X, X_test))

    def decision(X: Any, marks: Any, C: float) -> Any:
        if not as_published:
            return squared_hinge_machine(X, marks, C)
        machine = LinearSVC(C=C, class_weight={0: 1, 1: 2}, tol=1e-4, max_iter=2000, dual=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return machine.fit(X, marks.astype(int)).decision_function

    columns, chosen = [], []
    for k in range(3):
        precisions = []
        for C in COSTS:
            folds = StratifiedKFold(3).split(X, marks[:, k])
            precisions.append(
                np.mean(
                    [
                        average_precision_score(marks[test, k], decision(X[train], marks[train, k], C)(X[test]))
                        for train, test in folds
                    ]
                )
            )
        chosen.append(COSTS[int(np.argmax(precisions))])
        columns.append(decision(X, marks[:, k], chosen[k])(X_test))
    scores = np.stack(columns, axis=1)
    run = run_protocol("voc-svm", rows.table, model="m", as_published=as_published)
    assert run.result.params == {
        "C_smallest": min(chosen),
        "C_median": float(np.median(chosen)),
        "C_largest": max(chosen),
    }
    if kind == "class":
        assert run.predictions.tolist() == names(scores.argmax(1))
    else:
        np.testing.assert_array_equal(run.predictions, scores > 0)
    expected = np.mean([vissl_ap(marks_test[:, k], scores[:, k]) for k in range(3)])
    assert run.result.value == pytest.approx(expected, abs=1e-9)


def clip_benchmark_logits(rows: Rows, seed: int = 0) -> tuple[float, torch.Tensor]:
    """clip_benchmark/metrics/linear_probe.py on the CPU, with its data loaders."""

    def dataset(X: Any, y: Any) -> TensorDataset:
        return TensorDataset(torch.nn.functional.normalize(torch.tensor(X), dim=-1), torch.tensor(y))

    def train(data: TensorDataset, weight_decay: float) -> torch.nn.Linear:
        torch.manual_seed(seed)
        model = torch.nn.Linear(data.tensors[0].shape[1], int(data.tensors[1].max()) + 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=weight_decay)
        loader = DataLoader(data, batch_size=64, shuffle=True)
        for epoch in range(10):
            for i, (x, y) in enumerate(loader):
                step = i + epoch * len(loader)
                optimizer.param_groups[0]["lr"] = 0.5 * (1 + np.cos(np.pi * step / (10 * len(loader)))) * 0.1
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
        return model

    def logits(model: torch.nn.Linear, data: TensorDataset) -> torch.Tensor:
        with torch.no_grad():
            return model(data.tensors[0])

    test = dataset(rows.X_test, rows.y_test)
    if rows.X_val is None:
        return 0.0, logits(train(dataset(rows.X, rows.y), 0.0), test)
    fit, val = dataset(rows.X, rows.y), dataset(rows.X_val, rows.y_val)
    grid = np.logspace(-6, 2, 97).tolist()

    def find_peak(indices: list[int]) -> int:
        best, highest = 0, 0.0
        for index in indices:
            accuracy = (logits(train(fit, grid[index]), val).argmax(1) == val.tensors[1]).float().mean().item()
            if highest < accuracy:
                best, highest = index, accuracy
        return best

    peak, span = find_peak(list(range(0, 97, 16))), 8
    while span > 0:
        peak = find_peak([max(peak - span, 0), peak, min(peak + span, 96)])
        span //= 2
    return grid[peak], logits(train(dataset(rows.X_known, rows.y_known), grid[peak]), test)


@pytest.mark.parametrize(("validation", "seed"), [(True, 2), (False, 4)])
def test_clip_benchmark(validation: bool, seed: int) -> None:
    rows = rows_of(classes=3, validation=validation, seed=seed)
    state = torch.random.get_rng_state()
    run = run_protocol("clip-benchmark", rows.table, model="m", as_published=True)
    assert torch.equal(torch.random.get_rng_state(), state)
    weight_decay, logits = clip_benchmark_logits(rows)
    assert run.result.params["weight_decay"] == pytest.approx(weight_decay)
    assert np.mean(run.predictions == np.array(names(logits.argmax(1).numpy()))) >= 0.999
    assert not run.result.converged
    decays = [weight_decay]
    for further in (1, 2):
        decay, again = clip_benchmark_logits(rows, further)
        decays.append(decay)
        expected = float(np.mean(again.argmax(1).numpy() == rows.y_test))
        found = run.result.metrics[f"accuracy (seed {further})"]["value"]
        assert found == pytest.approx(expected, abs=1 / len(rows.y_test))
    if validation:
        assert run.result.params["weight_decay_smallest"] == pytest.approx(min(decays))
        assert run.result.params["weight_decay_largest"] == pytest.approx(max(decays))
    recall = balanced_accuracy_score(rows.y_test, logits.argmax(1).numpy())
    assert run.result.metrics["mean_per_class_accuracy"]["value"] == pytest.approx(recall, abs=1e-3)


def uni_objective(X: Any, y: Any, C: float, classes: int) -> Any:
    X, onehot = X.astype(np.float64), np.eye(classes)[y]

    def objective(flat: Any) -> Any:
        W = flat.reshape(classes, -1)
        logits = X @ W[:, :-1].T + W[:, -1]
        logits = logits - logits.max(1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        error = (np.exp(log_p) - onehot) / len(X)
        norm = np.linalg.norm(W[:, :-1])
        slope = W[:, :-1] / norm / (2 * C) if norm > 0 else 0
        gradient = np.concatenate([error.T @ X + slope, error.sum(0)[:, None]], axis=1)
        return -(onehot * log_p).sum() / len(X) + norm / (2 * C), gradient.ravel()

    return objective


@pytest.mark.parametrize("classes", [2, 4])
def test_uni_logreg_at_the_optimum(classes: int) -> None:
    rows = rows_of(classes=classes, width=20, validation=True, seed=5)
    C = 20 * classes / 100
    objective = uni_objective(rows.X_known, rows.y_known, C, classes)
    options = {"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-10}
    start = 1e-3 * np.random.default_rng(0).standard_normal(classes * 21)
    W = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x.reshape(classes, -1)
    logits = rows.X_test.astype(np.float64) @ W[:, :-1].T + W[:, -1]
    run = run_protocol("uni-logreg", rows.table, model="m")
    assert run.result.params["C"] == C
    assert run.predictions.tolist() == names(logits.argmax(1))
    expected = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(rows.y_test)).item()
    assert run.result.metrics["log_loss"]["value"] == pytest.approx(expected, abs=1e-5)
    assert run.result.value == pytest.approx(balanced_accuracy_score(rows.y_test, logits.argmax(1)))
    p = softmax(logits, axis=1)
    ovo = {} if classes == 2 else {"multi_class": "ovo", "average": "macro"}
    area = roc_auc_score(rows.y_test, p[:, 1] if classes == 2 else p, **ovo)
    assert run.result.metrics["roc_auc_ovo"]["value"] == pytest.approx(area, abs=1e-4)
    said, judged = logits.argmax(1), run.result.metrics
    assert judged["weighted_f1"]["value"] == pytest.approx(f1_score(rows.y_test, said, average="weighted"))
    kappa = cohen_kappa_score(rows.y_test, said, weights="quadratic")
    assert judged["quadratic_kappa"]["value"] == pytest.approx(kappa)


@pytest.mark.parametrize("classes", [2, 4])
def test_uni_logreg_as_published(classes: int) -> None:
    rows = rows_of(classes=classes, width=20, validation=True, seed=6)
    X, y, C = torch.tensor(rows.X_known), torch.tensor(rows.y_known), 20 * classes / 100
    model = torch.nn.Linear(20, classes)
    model.weight.data.fill_(0.0)
    model.bias.data.fill_(0.0)
    optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", max_iter=1000)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.CrossEntropyLoss()(model(X), y).mean() + (1.0 / C) * 0.5 * model.weight.norm(p=2)
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        predicted = model(torch.tensor(rows.X_test)).argmax(1).numpy()
    run = run_protocol("uni-logreg", rows.table, model="m", as_published=True)
    assert run.predictions.tolist() == names(predicted)


def test_uni_logreg_where_nothing_is_worth_its_penalty() -> None:
    """The slope of the unsquared penalty at 0 outweighs a faint signal: every row gets the most frequent class."""
    rows = rows_of(classes=2, width=4, seed=7)
    rows.table.X[:] *= 1e-3
    run = run_protocol("uni-logreg", rows.table, model="m")
    assert len(set(run.predictions.tolist())) == 1
    assert run.result.value == pytest.approx(0.5)
    assert np.isfinite(run.result.interval).all()
