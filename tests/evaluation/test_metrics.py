"""The metrics of predictions against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.evaluation import metrics
from embedkit.evaluation.judging import METRICS, applicable, further_metrics, judge
from embedkit.evaluation.predictions import Predicted, predicted_classes
from embedkit.evaluation.statistics import wilson_interval


def classified(seed: int, n: int = 120, classes: int = 7) -> tuple[Any, Predicted]:
    random = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), random.integers(0, classes, n - classes)])
    logits = random.standard_normal((n, classes)) + 1.5 * np.eye(classes)[y]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return y, predicted_classes(np.round(p, 2) + 1e-3 if seed % 2 else p, are_probabilities=True)


@given(st.integers(0, 10_000), st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_metrics_of_classes_are_those_of_scikit_learn(seed: int, classes: int) -> None:
    y, predicted = classified(seed, classes=classes)
    said, scores = predicted.targets, predicted.scores
    assert scores is not None
    scores = scores / scores.sum(1, keepdims=True)
    predicted = Predicted(targets=said, scores=scores, are_probabilities=True)
    assert metrics.accuracy(y, predicted) == pytest.approx(reference.accuracy_score(y, said))
    assert metrics.mean_per_class_accuracy(y, predicted) == pytest.approx(reference.balanced_accuracy_score(y, said))
    assert metrics.macro_f1(y, predicted) == pytest.approx(reference.f1_score(y, said, average="macro"))
    assert metrics.weighted_f1(y, predicted) == pytest.approx(reference.f1_score(y, said, average="weighted"))
    kappa = reference.cohen_kappa_score(y, said, weights="quadratic")
    assert metrics.quadratic_kappa(y, predicted) == pytest.approx(kappa)
    assert metrics.log_loss(y, predicted) == pytest.approx(reference.log_loss(y, scores, labels=range(classes)))
    if classes == 2:
        assert metrics.roc_auc(y, predicted) == pytest.approx(reference.roc_auc_score(y, scores[:, 1]))
        assert metrics.roc_auc_one_against_one(y, predicted) == pytest.approx(metrics.roc_auc(y, predicted))
    else:
        ovo = reference.roc_auc_score(y, scores, multi_class="ovo", average="macro")
        assert metrics.roc_auc_one_against_one(y, predicted) == pytest.approx(ovo)
        assert metrics.roc_auc(y, predicted) == pytest.approx(reference.roc_auc_score(y, scores, multi_class="ovr"))


def test_top_5_is_that_of_scikit_learn_where_scores_differ() -> None:
    y, predicted = classified(4, classes=9)
    assert metrics.top_5_accuracy(y, predicted) == pytest.approx(
        reference.top_k_accuracy_score(y, predicted.scores, k=5)
    )


def test_a_class_that_the_model_does_not_know_is_in_no_top_5() -> None:
    scores = np.array([[0.5, 0.3, 0.2, -np.inf, -np.inf, -np.inf]] * 2)
    assert metrics.top_5_accuracy(np.array([1, 3]), predicted_classes(scores)) == 0.5


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_average_precisions(seed: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    marks = random.random((60, 3)) < 0.3
    marks[:2] = [[True] * 3, [False] * 3]
    scores = random.standard_normal((60, 3)) + marks
    scores = np.round(scores, 1) if ties else scores
    predicted = Predicted(targets=scores > 0, scores=scores)
    assert metrics.mean_average_precision(marks, predicted) == pytest.approx(
        reference.average_precision_score(marks, scores)
    )
    points, areas, published = [], [], []
    for k in range(3):
        precision, recall, _ = reference.precision_recall_curve(marks[:, k], scores[:, k])
        points.append(np.mean([precision[recall >= t - 1e-9].max() for t in np.linspace(0, 1, 11)]))
        published.append(np.mean([precision[recall >= t].max() for t in np.linspace(0, 1, 11)]))
        envelope = [precision[recall >= r].max() for r in recall[:-1]]
        areas.append(float(-(np.diff(recall) * envelope).sum()))
    assert metrics.mean_average_precision_11(marks, predicted) == pytest.approx(np.mean(points))
    assert metrics.mean_average_precision_11_as_published(marks, predicted) == pytest.approx(np.mean(published))
    assert metrics.mean_average_precision_area(marks, predicted) == pytest.approx(np.mean(areas))
    assert metrics.roc_auc(marks, predicted) == pytest.approx(reference.roc_auc_score(marks, scores))


def test_a_recall_of_three_tenths_is_below_0_3_as_published() -> None:
    marks, scores = np.zeros((20, 1), bool), -np.arange(20.0)[:, None]
    marks[[0, 1, 2, 13, 14, 15, 16, 17, 18, 19]] = True
    predicted = Predicted(targets=scores > 0, scores=scores)
    assert metrics.mean_average_precision_11(marks, predicted) == pytest.approx((4 + 7 / 2) / 11)
    assert metrics.mean_average_precision_11_as_published(marks, predicted) == pytest.approx((3 + 8 / 2) / 11)


def rows_of(predicted: Predicted, rows: Any) -> Predicted:
    return Predicted(
        targets=predicted.targets[rows],
        scores=None if predicted.scores is None else predicted.scores[rows],
        are_probabilities=predicted.are_probabilities,
    )


@given(st.integers(0, 10_000), st.sampled_from(["class", "two classes", "multilabel", "value"]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_influences_and_bias_are_those_of_leaving_out_each_row(seed: int, kind: str, ties: bool) -> None:
    """Against the jackknife, which computes the metric anew without each row."""
    random = np.random.default_rng(seed)
    n = 90
    names = ["macro_f1", "mean_per_class_accuracy", "roc_auc", "roc_auc_ovo", "weighted_f1", "quadratic_kappa"]
    if kind in ("class", "two classes"):
        y, predicted = classified(seed, n=n, classes=4 if kind == "class" else 2)
        y = np.concatenate([np.repeat(np.arange(y.max() + 1), 8), y])[:n]
    elif kind == "multilabel":
        y, scores, names = random.random((n, 3)) < 0.4, random.standard_normal((n, 3)), ["roc_auc", "average_precision"]
        predicted = Predicted(targets=scores > 0, scores=np.round(scores + y, 1) if ties else scores + y)
    else:
        y, names = random.standard_normal(n), ["r2", "pearson"]
        predicted = Predicted(targets=y + random.standard_normal(n))
    for name in [*names, *(["accuracy", "log_loss"] if kind == "class" else [])]:
        found = METRICS[name].estimate(y, predicted)
        without = np.array(
            [METRICS[name](np.delete(y, row, 0), rows_of(predicted, np.delete(np.arange(n), row))) for row in range(n)]
        )
        slopes = (n - 1) * (without.mean() - without) / np.sqrt(n * (n - 1))
        assert found.influence is not None
        assert np.linalg.norm(found.influence) == pytest.approx(np.linalg.norm(slopes), rel=0.15), name
        if np.linalg.norm(slopes) > 1e-9:
            assert np.corrcoef(found.influence, slopes)[0, 1] > 0.98, name
        bias = (n - 1) * (without.mean() - found.value)
        if name in ("macro_f1", "average_precision"):
            assert found.bias == pytest.approx(bias, rel=0.1, abs=0.002), name
        else:
            assert abs(bias) < 0.25 * np.linalg.norm(slopes) + 1e-9, name  # too little to correct


def test_the_interval_is_that_of_the_bootstrap_by_scikit_learn() -> None:
    """Its width beside that of resamples drawn class by class, and the metric of their rows computed anew each time."""
    y, predicted = classified(2, n=300)
    scores = predicted.scores
    assert scores is not None
    random, values = np.random.default_rng(5), []
    for _ in range(400):
        drawn = [random.choice(np.flatnonzero(y == k), (y == k).sum()) for k in range(7)]
        rows = np.concatenate(drawn)
        values.append(np.mean([reference.roc_auc_score(y[rows] == k, scores[rows, k]) for k in range(7)]))
    value = reference.roc_auc_score(y, scores, multi_class="ovr")
    found = further_metrics("accuracy", y, [predicted])["roc_auc"]
    half = np.diff(scipy.special.logit(found["interval"]))[0] / 2
    assert half == pytest.approx(1.97 * np.std(values) / (value * (1 - value)), rel=0.12)
    assert np.mean(scipy.special.logit(found["interval"])) == pytest.approx(scipy.special.logit(value))


def test_calibration_by_hand() -> None:
    """Two rows said with 0.9, one of them right; two said with 0.6, both right."""
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    predicted = predicted_classes(p, are_probabilities=True)
    y = np.array([0, 1, 0, 0])
    assert metrics.expected_calibration_error(y, predicted) == pytest.approx((abs(0.9 - 0.5) + abs(0.6 - 1)) / 2)
    certain = predicted_classes(np.array([[1.0, 0.0], [0.0, 1.0]]), are_probabilities=True)
    assert metrics.expected_calibration_error(np.array([0, 1]), certain) == 0
    assert metrics.log_loss(np.array([1, 0]), certain) == pytest.approx(-np.log(np.finfo(float).eps))


def test_metrics_of_values() -> None:
    random = np.random.default_rng(0)
    y = random.standard_normal(50)
    said = y + random.standard_normal(50)
    predicted = Predicted(targets=said)
    assert metrics.r2(y, predicted) == pytest.approx(reference.r2_score(y, said))
    assert metrics.pearson(y, predicted) == pytest.approx(np.corrcoef(y, said)[0, 1])
    assert applicable(y, predicted) == ["r2", "pearson"]


def test_a_metric_that_is_not_defined_has_neither_value_nor_interval() -> None:
    y = np.zeros(8, dtype=np.intp)
    predicted = predicted_classes(np.random.default_rng(0).random((8, 3)))
    assert judge(["roc_auc"], y, [predicted])["roc_auc"] == {
        "value": None,
        "interval": None,
        "no_interval": "it is not defined on the test images",
    }


def test_several_draws_give_their_mean_and_its_interval() -> None:
    y = np.arange(10) % 2
    draws = [Predicted(targets=np.where(np.arange(10) < wrong, 1 - y, y)) for wrong in (0, 2, 4)]
    judged = judge(["accuracy"], y, draws)["accuracy"]
    assert judged["value"] == pytest.approx(0.8)
    # The mean squares of a table of rows by draws: V = (rows + draws - rest) / 30.
    table = np.array([(draw.targets == y) * 1.0 for draw in draws])
    rows, of_draws = 3 * table.mean(axis=0).var(ddof=1), 10 * table.mean(axis=1).var(ddof=1)
    rest = ((table - table.mean(axis=0) - table.mean(axis=1)[:, None] + 0.8) ** 2).sum() / 18
    by_draws, by_rows = of_draws / 30, max(0.0, rows - rest) / 30
    variance = by_draws + by_rows
    # Wilson's of as many rows as that variance is worth.
    by_two, by_nine = scipy.stats.t.ppf(0.975, [2, 9]) ** 2
    z2, worth = (by_two * by_draws + by_nine * by_rows) / variance, 0.8 * 0.2 / variance
    half = np.sqrt(z2) / (worth + z2) * np.sqrt(0.16 * worth + z2 / 4)
    centre = (0.8 * worth + z2 / 2) / (worth + z2)
    assert judged["interval"] == pytest.approx((centre - half, centre + half))


def test_what_predictions_allow() -> None:
    y, predicted = classified(0)
    assert set(further_metrics("accuracy", y, [predicted])) == {
        "mean_per_class_accuracy",
        "macro_f1",
        "top5_accuracy",
        "roc_auc",
        "log_loss",
        "ece",
    }
    said = Predicted(targets=predicted.targets)
    assert set(further_metrics("macro_f1", y, [said])) == {"accuracy", "mean_per_class_accuracy"}


def test_draws_that_do_not_differ_are_one() -> None:
    y = np.repeat(np.arange(2), 20).astype(np.intp)
    draw = Predicted(targets=np.where(np.arange(40) < 5, 1 - y, y))
    assert judge(["accuracy"], y, [draw, draw, draw]) == judge(["accuracy"], y, [draw])
    assert judge(["accuracy"], y, [draw])["accuracy"]["interval"] == wilson_interval(35, 40)
