"""Intervals hold the truth as often as they say, and what they are made of has the values of theory."""

from __future__ import annotations

import numpy as np
import pytest

from embedkit.evaluation import Predicted, judge
from embedkit.evaluation.judging import METRICS
from embedkit.evaluation.statistics import share_interval


def test_the_mean_over_classes_has_the_variance_of_resampled_classes():
    random = np.random.default_rng(1)
    y = np.repeat(np.arange(20), random.integers(2, 6, 20))
    right = random.random(len(y)) < 0.7
    found = METRICS["mean_per_class_accuracy"].estimate(y, Predicted(targets=np.where(right, y, 20)))
    assert found.influence is not None
    unbiased = sum(right[y == k].var(ddof=1) / (y == k).sum() for k in range(20)) / 20**2
    assert np.square(found.influence).sum() == pytest.approx(unbiased)
    drawn = []
    for _ in range(4000):  # one row less of each class: the bootstrap without bias
        parts = [random.choice(right[y == k], (y == k).sum() - 1).mean() for k in range(20)]
        drawn.append(np.mean(parts))
    assert np.var(drawn) == pytest.approx(unbiased, rel=0.1)


def test_one_row_a_class_has_no_interval_of_its_means():
    y = np.arange(5)
    predicted = Predicted(targets=y, scores=np.eye(5))
    found = judge(["mean_per_class_accuracy", "macro_f1", "roc_auc", "accuracy"], y, [predicted])
    assert [found[name]["interval"] for name in ("mean_per_class_accuracy", "macro_f1", "roc_auc")] == [None] * 3
    assert found["accuracy"]["interval"] == share_interval(5, 5)


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
    for positives, shown in ((49, False), (50, True)):
        marks = np.zeros((160, 2), bool)
        marks[:positives] = True
        ranked = Predicted(targets=marks, scores=random.standard_normal((160, 2)))
        assert (judge(["average_precision"], marks, [ranked])["average_precision"]["interval"] is not None) == shown


def test_all_right_is_worth_the_rows_it_was_seen_on():
    y = np.repeat([0, 1], [40, 10])
    found = judge(["mean_per_class_accuracy"], y, [Predicted(targets=y)])["mean_per_class_accuracy"]["interval"]
    assert found == share_interval(32, 32)  # 2 ** 2 / (1 / 40 + 1 / 10)


@pytest.mark.parametrize("rows_of_class", [2, 3])
def test_balanced_accuracy_of_few_rows_a_class_is_held(rows_of_class):
    random = np.random.default_rng(rows_of_class)
    recalls = np.clip(random.normal(0.75, 0.15, 40), 0, 1)
    y = np.repeat(np.arange(40), rows_of_class)
    held = 0
    for _ in range(1000):
        said = np.where(random.random(len(y)) < recalls[y], y, 40)
        found = judge(["mean_per_class_accuracy"], y, [Predicted(targets=said)])["mean_per_class_accuracy"]["interval"]
        held += found[0] <= recalls.mean() <= found[1]
    assert 925 <= held <= 975


def test_a_mean_over_draws_is_held_where_rows_and_draws_vary():
    """Student's interval over the draws alone holds the truth in half of the cases."""
    random = np.random.default_rng(0)

    def drawn(draws, rows):
        a, b = 0.25 * random.standard_normal(rows), 0.05 * random.standard_normal((draws, 1))
        return random.random((draws, rows)) < np.clip(0.6 + a + b, 0, 1)

    truth = np.mean([drawn(1, 1000).mean() for _ in range(1000)])
    held = 0
    for _ in range(1000):
        draws = [Predicted(targets=right.astype(int)) for right in drawn(5, 100)]
        found = judge(["accuracy"], np.ones(100, int), draws)["accuracy"]["interval"]
        held += found[0] <= truth <= found[1]
    assert 920 <= held <= 980


def test_a_single_row_has_no_interval_of_class_metrics():
    one = Predicted(targets=np.array([0]), scores=np.array([[0.9, 0.1]]), are_probabilities=True)
    found = judge(["accuracy", "mean_per_class_accuracy", "macro_f1", "log_loss"], np.array([0]), [one])
    assert found["accuracy"]["interval"] == share_interval(1, 1)
    assert [found[name]["interval"] for name in ("mean_per_class_accuracy", "macro_f1", "log_loss")] == [None] * 3
