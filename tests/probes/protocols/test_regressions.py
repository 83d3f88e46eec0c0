"""clip, kornblith, dinov2-logreg and dinov3-logreg against their texts, written with scikit-learn and torch alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_curve

from embedkit.probes.protocols import run_protocol
from tests.probes.protocols.samples import Rows, names, rows_of, solved, stopped

Fit = Callable[[Any, Any, float], Any]
CASES = [(3, False), (3, True), (2, True)]


def optimum(X: Any, y: Any, C: float) -> Any:
    return solved(X, y, C)


def check(rows: Rows, protocol: str, as_published: bool, C: float, predicted: Any) -> None:
    run = run_protocol(protocol, rows.table, model="m", as_published=as_published)
    assert run.result.params["C"] == pytest.approx(C, rel=1e-6)
    assert run.predictions.tolist() == names(predicted)
    assert run.result.value == pytest.approx((predicted == rows.y_test).mean())
    assert run.result.as_published == as_published
    np.testing.assert_array_equal(run.per_image, predicted == rows.y_test)


def accuracy(model: Any, X: Any, y: Any) -> float:
    return float((model.predict(X) == y).mean())


@pytest.mark.parametrize(("classes", "validation"), CASES)
@pytest.mark.parametrize("as_published", [False, True])
def test_dinov2_logreg(classes: int, validation: bool, as_published: bool) -> None:
    rows = rows_of(classes=classes, validation=validation, seed=1)
    fit: Fit = (lambda X, y, C: stopped(X, y, C, max_iter=1000, tol=1e-12)) if as_published else optimum
    X, y, X_val, y_val = rows.X, rows.y, rows.X_val, rows.y_val
    if X_val is None:
        torch.manual_seed(0)
        order = torch.randperm(len(X)).numpy()
        tenth = len(X) // 10
        X_val, y_val = X[order[:tenth]], y[order[:tenth]]
        X, y = X[order[tenth:]], y[order[tenth:]]
    Cs = [10 ** float(power) for power in torch.linspace(-6, 5, 45, dtype=torch.float64)]
    scores = [accuracy(fit(X, y, C), X_val, y_val) for C in Cs]
    C = Cs[scores.index(max(scores))]
    final = fit(np.concatenate([X, X_val]), np.concatenate([y, y_val]), C)
    check(rows, "dinov2-logreg", as_published, C, final.predict(rows.X_test))


@pytest.mark.parametrize(("classes", "validation"), CASES)
@pytest.mark.parametrize("as_published", [False, True])
def test_dinov3_logreg(classes: int, validation: bool, as_published: bool) -> None:
    rows = rows_of(classes=classes, validation=validation, seed=2)
    fit: Fit = (lambda X, y, C: stopped(X, y, C, max_iter=1000, tol=1e-12)) if as_published else optimum
    X, y, X_val, y_val = rows.X, rows.y, rows.X_val, rows.y_val
    if X_val is None:
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(0)).numpy()
        X, y = X[order], y[order]
        held_out = np.zeros(len(X), dtype=bool)
        for k in range(classes):
            members = np.flatnonzero(y == k)
            held_out[members[: max(1, int(0.1 * len(members)))]] = True
        X, y, X_val, y_val = X[~held_out], y[~held_out], X[held_out], y[held_out]
    Cs = 10 ** np.linspace(-6, 5, 45)
    scores = [accuracy(fit(X, y, C), X_val, y_val) for C in Cs]
    C = Cs[int(np.argmax(scores))]
    final = fit(np.concatenate([X, X_val]), np.concatenate([y, y_val]), C)
    check(rows, "dinov3-logreg", as_published, C, final.predict(rows.X_test))


@pytest.mark.parametrize("as_published", [False, True])
def test_dinov3_logreg_several_labels(as_published: bool) -> None:
    rows = rows_of(kind="multilabel", validation=True, seed=3)
    fit: Fit = (lambda X, y, C: stopped(X, y, C, max_iter=1000, tol=1e-12)) if as_published else optimum

    def probabilities(X: Any, y: Any, C: float, X_new: Any) -> Any:
        return np.stack([fit(X, marks, C).predict_proba(X_new)[:, 1] for marks in y.T], axis=1)

    Cs = 10 ** np.linspace(-6, 5, 45)
    scores = [average_precision_score(rows.y_val, probabilities(rows.X, rows.y, C, rows.X_val)) for C in Cs]
    best = Cs[int(np.argmax(scores))]
    expected = probabilities(rows.X_known, rows.y_known, best, rows.X_test)
    run = run_protocol("dinov3-logreg", rows.table, model="m", as_published=as_published)
    assert run.result.params["C"] == pytest.approx(best)
    np.testing.assert_array_equal(run.predictions, expected > 0.5)
    assert run.result.metric == "average_precision"
    assert run.result.value == pytest.approx(average_precision_score(rows.y_test, expected), abs=1e-9)


@pytest.mark.parametrize(("classes", "validation"), [(3, False), (3, True)])
@pytest.mark.parametrize("as_published", [False, True])
def test_kornblith(classes: int, validation: bool, as_published: bool) -> None:
    rows = rows_of(classes=classes, validation=validation, seed=4)
    X, y, X_val, y_val = rows.X, rows.y, rows.X_val, rows.y_val
    if X_val is None:
        np.random.seed(0)
        indices = list(range(len(X)))
        np.random.shuffle(indices)
        split = int(np.floor(0.2 * len(X)))
        X_val, y_val = X[indices[:split]], y[indices[:split]]
        X, y = X[indices[split:]], y[indices[split:]]
    warm = LogisticRegression(warm_start=True)

    def fit(X: Any, y: Any, C: float) -> Any:
        if not as_published:
            return solved(X, y, C)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return warm.set_params(C=C).fit(X, y)

    best_score, best = 0.0, 0.0
    for wd in np.logspace(-6, 5, 45):
        score = accuracy(fit(X, y, 1 / wd), X_val, y_val)
        if score > best_score:
            best_score, best = score, 1 / wd
    final = fit(np.concatenate([X, X_val]), np.concatenate([y, y_val]), best)
    check(rows, "kornblith", as_published, best, final.predict(rows.X_test))


def softmax_regression(X: Any, y: Any, wd: float) -> Any:
    """Two columns of coefficients, each penalised: the multinomial objective of ssl-transfer for two classes."""
    from scipy.optimize import minimize

    X, onehot = X.astype(np.float64), np.eye(2)[y]

    def objective(flat: Any) -> Any:
        W = flat.reshape(2, -1)
        logits = X @ W[:, :-1].T + W[:, -1]
        logits = logits - logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        error = np.exp(log_p) - onehot
        gradient = np.concatenate([error.T @ X + wd * W[:, :-1], error.sum(axis=0)[:, None]], axis=1)
        return -(onehot * log_p).sum() + wd / 2 * (W[:, :-1] ** 2).sum(), gradient.ravel()

    options = {"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-10}
    W = minimize(objective, np.zeros(2 * (X.shape[1] + 1)), jac=True, method="L-BFGS-B", options=options).x
    W = W.reshape(2, -1)
    return lambda X: (X.astype(np.float64) @ W[:, :-1].T + W[:, -1]).argmax(axis=1)


def test_kornblith_two_classes_have_two_columns() -> None:
    rows = rows_of(classes=2, validation=True, seed=5)
    penalties = np.logspace(-6, 5, 45)
    scores = [(softmax_regression(rows.X, rows.y, wd)(rows.X_val) == rows.y_val).mean() for wd in penalties]
    best = penalties[int(np.argmax(scores))]
    predicted = softmax_regression(rows.X_known, rows.y_known, best)(rows.X_test)
    check(rows, "kornblith", False, 1 / best, predicted)


def voc_ap(marks: Any, scores: Any, slack: float = 1e-9) -> float:
    precision, recall, _ = precision_recall_curve(marks, scores)
    total = 0.0
    for level in np.linspace(0, 1, 11):
        reached = precision[recall >= level - slack]
        total += (reached.max() if len(reached) else 0) / 11
    return total


@pytest.mark.parametrize("as_published", [False, True])
def test_kornblith_several_labels(as_published: bool) -> None:
    rows = rows_of(kind="multilabel", validation=True, seed=6)
    warm = LogisticRegression(warm_start=True)

    def decisions(X: Any, y: Any, C: float, X_new: Any) -> Any:
        columns: list[Any] = []
        for marks in y.T:
            if as_published:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    warm.set_params(C=C).fit(X, marks)
                columns.append(warm.decision_function(X_new))
            else:
                columns.append(solved(X, marks, C).decision_function(X_new))
        return np.stack(columns, axis=1)

    def mean_ap(y: Any, scores: Any) -> float:
        slack = 0.0 if as_published else 1e-9
        return float(np.mean([voc_ap(y[:, k], scores[:, k], slack) for k in range(y.shape[1])]))

    # The multinomial objective of two columns is the binary one of twice the C.
    penalties = np.logspace(-6, 5, 45)
    scores = [mean_ap(rows.y_val, decisions(rows.X, rows.y, 2 / wd, rows.X_val)) for wd in penalties]
    best = penalties[int(np.argmax(scores))]
    expected = decisions(rows.X_known, rows.y_known, 2 / best, rows.X_test)
    run = run_protocol("kornblith", rows.table, model="m", as_published=as_published)
    assert run.result.params["weight_decay"] == pytest.approx(best)
    np.testing.assert_array_equal(run.predictions, expected > 0)
    assert run.result.metric == ("map_11_point_as_published" if as_published else "map_11_point")
    assert run.result.value == pytest.approx(mean_ap(rows.y_test, expected), abs=1e-6)


def test_kornblith_as_published_says_how_far_its_choice_depends_on_the_last_digit() -> None:
    rows = rows_of(classes=3, validation=True, seed=3)
    result = run_protocol("kornblith", rows.table, model="m", as_published=True).result
    random = np.random.RandomState(0)

    def moved(X: Any) -> Any:
        return np.nextafter(X, np.where(random.random_sample(X.shape) < 0.5, -np.inf, np.inf).astype(np.float32))

    chosen, accuracies = [result.params["C"]], []
    for _ in range(3):
        X, X_val = moved(rows.X), moved(rows.X_val)
        warm = LogisticRegression(warm_start=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = [
                warm.set_params(C=1 / wd).fit(X, rows.y).score(X_val, rows.y_val) for wd in np.logspace(-6, 5, 45)
            ]
            chosen.append(1 / np.logspace(-6, 5, 45)[int(np.argmax(scores))])
            warm.set_params(C=chosen[-1]).fit(np.concatenate([X, X_val]), np.concatenate([rows.y, rows.y_val]))
        accuracies.append(warm.score(rows.X_test, rows.y_test))
    assert result.params["C_smallest"] == pytest.approx(min(chosen))
    assert result.params["C_largest"] == pytest.approx(max(chosen))
    for number, expected in enumerate(accuracies, start=1):
        found = result.metrics[f"accuracy (last digit moved, {number})"]["value"]
        assert found == pytest.approx(expected, abs=2 / len(rows.y_test))


@pytest.mark.parametrize(("classes", "seed"), [(3, 7), (2, 8), (4, 9)])
@pytest.mark.parametrize("as_published", [False, True])
def test_clip(classes: int, seed: int, as_published: bool) -> None:
    rows = rows_of(classes=classes, validation=True, seed=seed)
    fit: Fit = (lambda X, y, C: stopped(X, y, C, max_iter=1000)) if as_published else optimum
    known: dict[float, float] = {}

    def score(power: float) -> float:
        """Validation accuracy for lambda = 10 ** power."""
        if power not in known:
            known[power] = accuracy(fit(rows.X, rows.y, 10**-power), rows.X_val, rows.y_val)
        return known[power]

    peak = max([6.0, 4.0, 2.0, 0.0, -2.0, -4.0, -6.0], key=score)  # max keeps the first: the strongest penalty
    step = 1.0
    while step >= 1 / 8:
        peak = max([min(peak + step, 6.0), peak, max(peak - step, -6.0)], key=score)
        step /= 2
    assert len(known) <= 7 + 2 * 4
    final = fit(rows.X_known, rows.y_known, 10**-peak)
    check(rows, "clip", as_published, 10**-peak, final.predict(rows.X_test))


def test_clip_cuts_a_stratified_fifth_where_there_is_no_validation_split() -> None:
    rows = rows_of(validation=False)
    result = run_protocol("clip", rows.table, model="m").result
    assert "20% of train" in result.selected_on
    assert result.n_train == len(rows.X)


def test_clip_several_labels() -> None:
    rows = rows_of(kind="multilabel", validation=True, seed=10)
    run = run_protocol("clip", rows.table, model="m")
    C = float(run.result.params["C"])
    expected = np.stack([solved(rows.X_known, m, C).decision_function(rows.X_test) for m in rows.y_known.T], axis=1)
    np.testing.assert_array_equal(run.predictions, expected > 0)
    assert run.result.value == pytest.approx(
        np.mean([voc_ap(rows.y_test[:, k], expected[:, k]) for k in range(3)]), abs=1e-6
    )
