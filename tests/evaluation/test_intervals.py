"""Intervals hold the truth as often as they say, and what they are made of has the values of theory."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit.evaluation import Predicted, intervals, judge, wilson_interval
from embedkit.evaluation.intervals import interval, resample, spread_of_classes, spread_of_rows


def test_resamples_of_a_mean_have_its_unbiased_variance():
    random = np.random.default_rng(0)
    strata = np.repeat(np.arange(40), 3)
    values = 10.0 * strata + random.standard_normal(120)  # the strata's own difference must not count
    [means] = resample([lambda counts: values @ counts / 120], strata, 4000)
    unbiased = sum(values[strata == k].var(ddof=1) / 3 for k in range(40)) / 40**2
    assert means.var() == pytest.approx(unbiased, rel=0.08)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)


def test_no_class_is_lost_and_none_grows():
    y = np.array([0] * 50 + [1])

    def of_classes(counts):
        np.testing.assert_allclose(counts[:50].sum(axis=0), 50)
        np.testing.assert_array_equal(counts[50], 1)
        return counts[0]

    [found] = resample([of_classes], y, 1000)
    assert set(np.round(found * 49 / 50).astype(int)) >= {0, 1, 2, 3}


def test_several_metrics_are_of_the_same_resamples(monkeypatch):
    values = np.random.default_rng(0).standard_normal(60)
    mean, twice = (lambda counts: values @ counts, lambda counts: 2 * (values @ counts))
    [one] = resample([mean], np.zeros(60), 100, 3)
    np.testing.assert_array_equal(resample([mean, twice], np.zeros(60), 100, 3), [one, 2 * one])
    assert (resample([mean], np.zeros(60), 100, 4) != one).any()
    monkeypatch.setattr(intervals, "_COUNTS_AT_ONCE", 7 * 60)
    assert resample([mean], np.zeros(60), 100, 3).std() == pytest.approx(one.std(), rel=0.4)


def test_the_mean_over_classes_has_the_variance_of_its_resamples():
    random = np.random.default_rng(1)
    y = np.repeat(np.arange(20), random.integers(2, 6, 20))
    right = (random.random((3, len(y))) < 0.7).astype(float)
    found = spread_of_classes(right, y)
    assert found is not None

    def of(values):
        return lambda counts: np.mean([values[y == k] @ counts[y == k] / (y == k).sum() for k in range(20)], axis=0)

    parts = resample([of(values) for values in (right.mean(axis=0), *right)], y, 6000)
    assert found.variance == pytest.approx(parts[0].var(), rel=0.1)
    assert found.of_draws == pytest.approx(parts[1:].var(axis=1).mean(), rel=0.1)


def test_one_row_a_class_has_no_interval_of_its_means():
    y = np.arange(5)
    predicted = Predicted(targets=y, scores=np.eye(5))
    found = judge(["mean_per_class_accuracy", "macro_f1", "roc_auc", "accuracy"], y, [predicted])
    assert [found[name]["interval"] for name in ("mean_per_class_accuracy", "macro_f1", "roc_auc")] == [None] * 3
    assert found["accuracy"]["interval"] == wilson_interval(5, 5)


def test_the_error_of_calibration_and_the_precision_of_few_rows_have_no_interval():
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(3), 120)
    y = np.array([random.choice(3, p=row) for row in p])
    predicted = Predicted(targets=p.argmax(axis=1), scores=p, are_probabilities=True)
    found = judge(["ece", "log_loss"], y, [predicted])
    assert found["ece"]["value"] > 0
    assert found["ece"]["interval"] is None
    assert found["log_loss"]["interval"] is not None
    few = Predicted(targets=predicted.targets[:99], scores=p[:99], are_probabilities=True)
    assert judge(["log_loss"], y[:99], [few])["log_loss"]["interval"] is None
    for positives, shown in ((19, False), (20, True)):
        marks = np.zeros((60, 2), bool)
        marks[:positives] = True
        ranked = Predicted(targets=marks, scores=random.standard_normal((60, 2)))
        assert (judge(["average_precision"], marks, [ranked])["average_precision"]["interval"] is not None) == shown


def test_all_right_is_worth_the_rows_it_was_seen_on():
    y = np.repeat([0, 1], [40, 10])
    found = judge(["mean_per_class_accuracy"], y, [Predicted(targets=y)])["mean_per_class_accuracy"]["interval"]
    assert found == wilson_interval(32, 32)  # 2 ** 2 / (1 / 40 + 1 / 10)


@pytest.mark.parametrize("rows_of_class", [2, 3])
def test_balanced_accuracy_of_few_rows_a_class_is_held(rows_of_class):
    random = np.random.default_rng(rows_of_class)
    recalls = np.clip(random.normal(0.75, 0.15, 40), 0, 1)
    y = np.repeat(np.arange(40), rows_of_class)
    held = 0
    for _ in range(1000):
        right = (random.random((1, len(y))) < recalls[y]).astype(float)
        spread = spread_of_classes(right, y)
        assert spread is not None
        found = interval([float(right.mean())], spread, "share")
        assert found is not None
        held += found[0] <= recalls.mean() <= found[1]
    assert 925 <= held <= 975


def test_a_mean_over_draws_is_held_where_rows_and_draws_vary():
    """Student's interval over the draws alone holds the truth in half of the cases."""
    random = np.random.default_rng(0)

    def drawn(draws, rows):
        a, b = 0.25 * random.standard_normal(rows), 0.05 * random.standard_normal((draws, 1))
        return (random.random((draws, rows)) < np.clip(0.6 + a + b, 0, 1)).astype(float)

    truth = np.mean([drawn(1, 1000).mean() for _ in range(1000)])
    held = 0
    for _ in range(1000):
        values = drawn(5, 100)
        spread = spread_of_rows(values)
        assert spread is not None
        found = interval(values.mean(axis=1).tolist(), spread, "share")
        assert found is not None
        held += found[0] <= truth <= found[1]
    assert 920 <= held <= 980
