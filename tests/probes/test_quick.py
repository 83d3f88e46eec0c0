"""The quick protocol on every kind of labels, and on whatever else a table may hold."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, f1_score, log_loss, r2_score, roc_auc_score
from sklearn.model_selection import GroupShuffleSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from embedkit import estimators as ours
from embedkit.errors import LabelsError, SplitError, UsageError
from embedkit.evaluation.splits import make_splits
from embedkit.probes import ESTIMATORS, quick
from tests.probes.samples import blobs, table_of

SPLIT = ["train", "train", "test"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_is_reported_is_what_the_shipped_steps_predict(estimator):
    X, y = blobs(rows=30)
    table = table_of(X, y, split=SPLIT * 30)
    found = quick(table, estimator, model="m")
    test = np.flatnonzero(np.array(SPLIT * 30) == "test")
    np.testing.assert_array_equal(found.tested, test)
    features = X[test]
    for _, step in found.steps[:-1]:
        features = step.transform(features)
    np.testing.assert_array_equal(found.steps[-1][1].predict(features), found.predictions)
    assert found.result.value == (found.predictions == y[test]).mean() > 0.6
    assert found.result.interval[0] < found.result.value < found.result.interval[1]
    assert (found.result.metric, found.result.n_train, found.result.n_test, found.result.n_classes) == (
        "accuracy",
        60,
        30,
        3,
    )


RANKING, CALIBRATION = {"roc_auc", "top5_accuracy"}, {"log_loss", "ece"}


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_further_metrics_are_those_of_the_scores(estimator, declared):
    X, y = blobs(rows=30, classes="abcdefg")
    split = np.array(SPLIT * 70)
    result = quick(table_of(X, y, split=split.tolist() if declared else None), estimator, model="m").result
    expected = {"mean_per_class_accuracy", "macro_f1"} | RANKING
    assert set(result.metrics) == expected | (CALIBRATION if estimator not in ("svm", "ridge") else set())
    for name, judged in result.metrics.items():
        assert (judged["interval"] is None) == (name == "ece" or (name == "log_loss" and result.n_test < 100))
        if judged["interval"] is not None:
            assert judged["interval"][0] <= judged["value"] <= judged["interval"][1]
    json.dumps(result.to_dict(), allow_nan=False)
    if not declared:
        return
    test = split == "test"
    found = quick(table_of(X, y, split=split.tolist()), estimator, model="m")
    features = X[test]
    for _, step in found.steps[:-1]:
        features = step.transform(features)
    final = found.steps[-1][1]
    assert result.metrics["macro_f1"]["value"] == pytest.approx(f1_score(y[test], found.predictions, average="macro"))
    has_probabilities = hasattr(final, "predict_proba")
    scores = final.predict_proba(features) if has_probabilities else final.decision_function(features)
    area = roc_auc_score(y[test][:, None] == final.classes_, scores)
    assert result.metrics["roc_auc"]["value"] == pytest.approx(area, abs=1e-6)
    if has_probabilities:
        probabilities = scores.astype(np.float64) / scores.sum(axis=1, dtype=np.float64, keepdims=True)
        assert result.metrics["log_loss"]["value"] == pytest.approx(log_loss(y[test], probabilities), rel=1e-4)


def test_two_classes_are_ranked_by_one_score():
    X, y = blobs(rows=40, classes="ab", spread=3.0)
    found = quick(table_of(X, y, split=["train", "test"] * 40), "svm", model="m")
    scores = found.steps[-1][1].decision_function(X[1::2])
    assert found.result.metrics["roc_auc"]["value"] == pytest.approx(roc_auc_score(y[1::2], scores))


def test_scores_of_pairs_of_classes_are_no_scores_of_classes():
    X, y = blobs(rows=20)  # three classes have three pairs
    for estimator in (SVC(decision_function_shape="ovo"), make_pipeline(SVC(decision_function_shape="ovo"))):
        assert set(quick(table_of(X, y), estimator, model="m").result.metrics) == {
            "mean_per_class_accuracy",
            "macro_f1",
        }


def test_metrics_that_would_hold_too_many_scores_are_left_out(monkeypatch):
    X, y = blobs(rows=20)
    monkeypatch.setattr(sys.modules["embedkit.evaluation.evaluating"], "_MOST_SCORES", 179)
    found = quick(table_of(X, y), "knn", model="m")
    assert found.predicted.scores is None
    assert set(found.result.metrics) == {"mean_per_class_accuracy", "macro_f1"}
    monkeypatch.setattr(sys.modules["embedkit.evaluation.evaluating"], "_MOST_SCORES", 180)
    assert quick(table_of(X, y), "knn", model="m").predicted.scores.shape == (60, 3)
    assert quick(table_of(X, y), "knn", model="m", further=False).result.metrics == {}


@pytest.mark.parametrize("estimator", ["logistic", "ridge", "sklearn.naive_bayes.GaussianNB"])
def test_marks_of_several_labels_are_those_of_the_estimator(estimator):
    random = np.random.default_rng(0)
    X = random.standard_normal((240, 6))
    marks = X[:, :3] + 0.7 * random.standard_normal((240, 3)) > [0.0, 0.25, 0.5]
    found = quick(table_of(X, marks, classes=["p", "q", "r"], split=SPLIT * 80), estimator, model="m")
    features = X[2::3].astype(np.float32)
    for _, step in found.steps[:-1]:
        features = step.transform(features)
    said = found.steps[-1][1].predict(features) > 0.5
    np.testing.assert_array_equal(found.predicted.targets, said)
    assert found.result.metrics["accuracy"]["value"] == pytest.approx((said == marks[2::3]).mean())
    assert found.result.metrics["accuracy"]["value"] > 0.75


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_cross_validation_tests_each_row_once_and_ships_a_fit_on_all(estimator):
    X, y = blobs(rows=15)
    found = quick(table_of(X, y), estimator, model="m", folds=3)
    assert sorted(found.tested.tolist()) == list(range(45))
    assert found.result.value == (found.predictions == y[found.tested]).mean()
    assert found.result.reported_on == "3-fold cross-validation (45 images, each tested once)"
    assert found.steps


def test_values_are_ridge_regression_with_r2_and_pearson():
    random = np.random.default_rng(0)
    X = random.standard_normal((200, 10)) * [1, 10, 0.1, *[1] * 7] + 5
    y = X @ random.standard_normal(10) + random.standard_normal(200)
    split = ["train"] * 150 + ["test"] * 50
    found = quick(table_of(X, y, split=split), "ridge", model="m")
    X = X.astype(np.float32).astype(np.float64)
    scaler = StandardScaler().fit(X[:150])
    expected = Ridge(found.result.params["alpha"]).fit(scaler.transform(X[:150]), y[:150])
    expected = expected.predict(scaler.transform(X[150:]))
    np.testing.assert_allclose(found.predictions, expected, rtol=1e-4)
    assert found.result.metric == "r2"
    assert found.result.value == pytest.approx(r2_score(y[150:], expected), abs=1e-5)
    assert found.result.interval[0] < found.result.value < found.result.interval[1]
    pearson = found.result.metrics["pearson"]
    assert pearson["value"] == pytest.approx(np.corrcoef(y[150:], expected)[0, 1], abs=1e-5)
    assert pearson["interval"][0] < pearson["value"] < pearson["interval"][1]
    assert found.predictions.shape == (50,)


def test_several_labels_are_one_logistic_regression_a_class_and_the_mean_of_their_precisions():
    random = np.random.default_rng(0)
    X = random.standard_normal((240, 6))
    marks = X[:, :3] + 0.7 * random.standard_normal((240, 3)) > [0.0, 0.5, 1.0]
    split = ["train"] * 160 + ["test"] * 80
    found = quick(table_of(X, marks, classes=["p", "q", "r"], split=split), "logistic", model="m")
    X = X.astype(np.float32)
    scaler = StandardScaler().fit(X[:160])
    expected = OneVsRestClassifier(LogisticRegression(C=found.result.params["C"], tol=1e-10, max_iter=10_000))
    expected.fit(scaler.transform(X[:160]), marks[:160].astype(int))
    scores = expected.decision_function(scaler.transform(X[160:]))
    np.testing.assert_allclose(found.predicted.scores, scores, atol=2e-2)
    assert found.result.metric == "average_precision"
    assert found.result.value == pytest.approx(
        average_precision_score(marks[160:], found.predicted.scores, average="macro"), abs=1e-12
    )
    least = int(min(marks[160:].sum(axis=0)))
    assert found.result.interval is None if least < 20 else found.result.interval[0] < found.result.value
    assert 0.5 < quick(table_of(X, marks, classes=["p", "q", "r"]), "ridge", model="m").result.value < 1


def test_labels_that_nobody_has_are_said():
    X, _ = blobs(rows=20)
    marks = np.stack([X[:, 0] > 0, np.zeros(60, bool), X[:, 1] > 0], axis=1)
    marks[-1, 1] = True
    split = ["train"] * 40 + ["test"] * 20
    found = quick(table_of(X, marks, classes=list("pqr"), split=split), "logistic", model="m")
    assert "1 of 3 classes have no training image and cannot be ranked" in found.result.notes
    marks[-1, 1], marks[0, 1] = False, True
    found = quick(table_of(X, marks, classes=list("pqr"), split=split), "logistic", model="m")
    assert "1 of 3 classes have no tested image and are not in the mean" in found.result.notes


def test_no_fold_and_no_choice_goes_through_a_group():
    random = np.random.default_rng(0)
    groups = random.integers(0, 25, 150).astype(str).tolist()
    groups[3] = groups[4] = ""
    y = np.array(list("abc"))[random.integers(0, 3, 150)]
    splits = make_splits(y, None, groups=groups, folds=5)
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(150))
    names = np.array([name or f"none {row}" for row, name in enumerate(groups)])
    for split in splits:
        for one, other in ((split.train, split.test), (split.fit, split.select)):
            assert not set(names[one]) & set(names[other])
            assert len(other)
    again = make_splits(y, None, groups=groups, folds=5)
    assert all(np.array_equal(a.select, b.select) for a, b in zip(splits, again, strict=True))
    assert "no group of 27 in two folds" in splits[0].reported_on
    [declared] = make_splits(y, ["train"] * 100 + ["test"] * 50, groups=groups)
    assert not set(names[declared.fit]) & set(names[declared.select])
    assert declared.selected_on.startswith("whole groups")


def test_the_grouped_number_does_not_flatter():
    """Every group has a look of its own, and labels are by chance: only who mixes groups does better than chance."""
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 6)
    y = np.array(list("ab"))[random.integers(0, 2, 30)][group]
    X = 5 * random.standard_normal((30, 40))[group] + random.standard_normal((180, 40))
    mixed = quick(table_of(X, y), "knn", model="m").result
    grouped = quick(table_of(X, y, groups=group.astype(str).tolist()), "knn", model="m").result
    assert mixed.value > 0.95
    assert grouped.value < 0.75
    train, test = next(GroupShuffleSplit(1, random_state=0).split(X, y, group))
    split = np.full(180, "train", dtype=object)
    split[test] = "test"
    groups = group.astype(str)
    apart = quick(table_of(X, y, groups=groups.tolist(), split=split.tolist()), "knn", model="m").result
    assert apart.leaks["shared_groups"] == 0
    assert not any("of a group" in note for note in apart.notes)
    groups[test[0]] = groups[train[0]]
    result = quick(table_of(X, y, groups=groups.tolist(), split=split.tolist()), "knn", model="m").result
    assert result.leaks["shared_groups"] == 1
    assert any("1 of 36 tested images is of a group that has training images" in note for note in result.notes)


def test_a_class_of_one_group_is_said():
    X, y = blobs(rows=20)
    groups = ["only" if label == "c" else f"{row}" for row, label in enumerate(y)]
    result = quick(table_of(X, y, groups=groups), "ridge", model="m").result
    assert any(
        "1 classes are of one group (or fold) only and cannot be right when tested: c" in n for n in result.notes
    )
    with pytest.raises(SplitError, match="2 groups, fewer than the 5 folds"):
        quick(table_of(X, y, groups=["1", "2"] * 30), "ridge", model="m")
    with pytest.raises(SplitError, match="of one group"):
        quick(table_of(X, y, groups=["1", "1", "2"] * 20, split=SPLIT * 20), "ridge", model="m")


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "X",
    [np.ones((30, 4)), np.zeros((30, 4)), np.full((30, 4), 1e4), np.ones((30, 60))],
    ids=["ones", "zeros", "large", "wide"],
)
def test_constant_features_give_chance_and_finite_numbers(estimator, X):
    result = quick(table_of(X, list("abc") * 10), estimator, model="m").result
    assert result.value == pytest.approx(1 / 3)
    assert 0 < result.interval[0] < result.interval[1] < 1
    assert result.leaks["near_duplicates"] == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_constant_feature_changes_nothing(estimator):
    X, y = blobs(rows=12)
    plain = quick(table_of(X, y), estimator, model="m").result
    wider = quick(table_of(np.c_[X, np.zeros(len(X))], y), estimator, model="m").result
    assert wider.value == pytest.approx(plain.value, abs=1 / 36 + 1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_all_right_and_all_wrong_have_finite_intervals(estimator):
    X, y = blobs(rows=20, spread=0.01)
    result = quick(table_of(X, y), estimator, model="m").result
    assert result.value == 1
    assert 0.9 < result.interval[0] < result.interval[1] == 1
    split = ["train" if row % 20 < 10 else "test" for row in range(60)]
    wrong = y.copy()
    for row in range(60):
        if split[row] == "test":
            wrong[row] = {"a": "b", "b": "c", "c": "a"}[str(y[row])]
    result = quick(table_of(X, wrong, split=split), estimator, model="m").result
    assert result.value == 0
    assert 0 == result.interval[0] < result.interval[1] < 0.2


def test_perfect_and_hopeless_values_have_finite_intervals():
    X, _ = blobs(rows=20)
    result = quick(table_of(X, X[:, 0].astype(np.float64)), "ridge", model="m").result
    assert result.value > 0.999
    assert np.isfinite(result.interval).all()
    result = quick(table_of(np.ones((60, 3)), X[:, 0].astype(np.float64)), "ridge", model="m").result
    assert result.value < 0.05
    assert np.isfinite(result.interval).all()
    assert result.metrics["pearson"]["value"] <= 0.3


@pytest.mark.parametrize(("estimator", "loss"), [("logistic", "log"), ("svm", "hinge")])
def test_of_equal_accuracies_the_least_loss_is_taken(estimator, loss):
    X, y = blobs(rows=30, classes="abc", spread=1.1, seed=3)
    table = table_of(X, y, split=SPLIT * 30)
    result = quick(table, estimator, model="m").result
    best = max(one.score for one in result.candidates)
    equals = [one.params["C"] for one in result.candidates if one.score == best]
    assert len(equals) > 1
    [split] = make_splits(table.y, table.split)
    X = X.astype(np.float32)
    losses = []
    for C in equals:
        model = {"log": ours.LogisticRegression, "hinge": ours.LinearSVC}[loss](C, standardize=True)
        model.fit(X[split.fit], y[split.fit])
        truth = y[split.select][:, None] == model.classes_
        if loss == "log":
            losses.append(-np.log(model.predict_proba(X[split.select])[truth]).mean())
        else:
            margins = np.where(truth, 1, -1) * model.decision_function(X[split.select])
            losses.append(np.square(np.maximum(0, 1 - margins)).sum(axis=1).mean())
    assert result.params["C"] == pytest.approx(equals[int(np.argmin(losses))])


def test_chosen_at_the_end_of_the_grid_is_marked():
    X, y = blobs(rows=12, spread=0.001)
    assert quick(table_of(X, y), "logistic", model="m").result.at_edge
    X, y = blobs(rows=40)
    assert not quick(table_of(X, y), "logistic", model="m").result.at_edge


@pytest.mark.parametrize(
    ("labels", "head", "error", "words"),
    [
        (None, {}, LabelsError, "no labels"),
        (["a"] * 5 + [""], {}, LabelsError, "1 of 6 rows have no label"),
        (np.array([1.0, 2, 3, np.nan, 5, 6]), {}, LabelsError, "1 of 6 rows have no label"),
        (np.array([1.0, 2, 3, np.inf, 5, 6]), {}, LabelsError, "infinite"),
        (np.ones(6), {}, LabelsError, "the value 1 alone"),
        (
            np.array([1.0, 2, 3, 4, 5, 5]),
            {"split": ["train"] * 4 + ["test"] * 2},
            LabelsError,
            "test split holds the val",
        ),
        (np.zeros((6, 2), bool), {"classes": ["p", "q"]}, LabelsError, "no label marks"),
        (
            np.eye(6, 2, dtype=bool),
            {"classes": ["p", "q"], "split": ["train"] * 4 + ["test"] * 2},
            SplitError,
            "no tested",
        ),
        (list("aaaabc"), {}, SplitError, "fewer images than the 5 folds .a, b, c; the smallest has 1"),
        (list("abcdef"), {"split": ["train"] * 5 + ["test"]}, SplitError, "no class has two training images"),
        (list("aaabbb"), {"split": ["train"] * 3 + ["test"] * 3}, LabelsError, "the train split holds 1 class"),
    ],
)
def test_labels_that_cannot_be_probed(labels, head, error, words):
    X = np.random.default_rng(0).standard_normal((6, 3))
    estimator = "ridge" if isinstance(labels, np.ndarray) else "logistic"
    with pytest.raises(error, match=words):
        quick(table_of(X, labels, **head), estimator, model="m")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_class_of_one_training_image_and_one_without(estimator):
    X, y = blobs(rows=6)
    split = ["train" if row % 6 < 4 else "test" for row in range(18)]
    labels = y.tolist()
    labels[0], labels[4] = "once", "never"
    result = quick(table_of(X, labels, split=split), estimator, model="m").result
    assert "1 test class has no training image and cannot be right: never" in result.notes
    assert result.n_classes == 4
    assert result.value <= 5 / 6


@pytest.mark.parametrize("estimator", ["logistic", "pca+logistic", "svm", "knn", "ridge"])
def test_fewer_rows_than_classes(estimator):
    """21 training rows of 20 classes: one class has two, the rest one, and the choice is made on one row."""
    X = np.random.default_rng(0).standard_normal((22, 5))
    labels = [f"c{row:02d}" for row in range(20)] + ["c00", "c00"]
    result = quick(table_of(X, labels, split=["train"] * 21 + ["test"]), estimator, model="m").result
    assert (result.n_train, result.n_classes) == (21, 20)
    assert "(1 images)" in result.selected_on


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_name_an_image(broken):
    X, y = blobs(rows=12)
    X[7, 2] = broken
    with pytest.raises(UsageError, match=r"NaN or infinity in 1 rows, such as that of 7\.jpg"):
        quick(table_of(X, y), "knn", model="m")


@pytest.mark.parametrize(
    ("estimator", "labels", "words"),
    [
        ("forest", list("ab"), "not known; use logistic"),
        ("svm", np.arange(2.0), "not for labels that are values; use ridge"),
        ("knn", np.eye(2, dtype=bool), "not for labels that are several labels an image; use logistic, ridge"),
    ],
)
def test_estimators_that_do_not_suit(estimator, labels, words):
    head = {"classes": ["p", "q"]} if isinstance(labels, np.ndarray) and labels.ndim == 2 else {}
    with pytest.raises(UsageError, match=words):
        quick(table_of(np.eye(2), labels, **head), estimator, model="m")


def test_a_validation_row_of_which_a_fit_is_surely_wrong_has_a_finite_loss():
    """Its probability is 0 in float32; warnings are errors here."""
    X, y = blobs(rows=30)
    split = np.array(["train", "val", "test"])[np.arange(len(y)) % 3]
    row = int(np.flatnonzero(split == "val")[0])
    other = int(np.flatnonzero(y != y[row])[0])
    X = X.astype(np.float32)
    X[row] = X.mean(axis=0) + 1e4 * (X[other] - X.mean(axis=0))
    run = quick(table_of(X, y, split=split.tolist()), "logistic", model="net")
    assert run.result.n_test == 30
