"""Few-shot and learning curves: what is drawn, what is judged, and that labels help."""

from __future__ import annotations

import json

import numpy as np
import pytest

from embedkit.errors import LabelsError, SplitError, UsageError
from embedkit.evaluation import Predicted, judge
from embedkit.probes import curves
from embedkit.probes.curves import few_shot_curve, learning_curve
from embedkit.results.plain import to_plain
from embedkit.specs import BackboneSpec, DecodeSpec, FeatureSpec, PreprocessSpec
from embedkit.tables import FeatureTable, TableHead

CLASSES = ("ape", "bee", "cat", "dog")


def make_table(*, per_class: int = 30, width: int = 8, noise: float = 2.0, split: bool = True, values: bool = False):
    """Blobs, of which the last ten of each class are the test split and the first two the validation split."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(len(CLASSES), width))
    codes = np.repeat(np.arange(len(CLASSES)), per_class)
    X = (centres[codes] + noise * random.normal(size=(len(codes), width))).astype(np.float32)
    place = np.tile(np.arange(per_class), len(CLASSES))
    names = np.where(place >= per_class - 10, "test", np.where(place < 2, "val", "train"))
    spec = FeatureSpec(
        backbone=BackboneSpec(architecture="blobs", weights="none", width=width),
        preprocess=PreprocessSpec(
            input_size=(8, 8), interpolation="bilinear", crop_pct=1.0, crop_mode="center", mean=(0, 0, 0), std=(1, 1, 1)
        ),
        decode=DecodeSpec(),
    )
    head = TableHead(
        spec=spec,
        keys=[f"{row:04d}.png" for row in range(len(codes))],
        digests=random.integers(0, 256, (len(codes), 32), dtype=np.uint8),
        labels=X[:, 0].astype(np.float64) if values else [CLASSES[code] for code in codes],
        split=names.tolist() if split else None,
    )
    return FeatureTable(head, X)


@pytest.fixture
def drawn(monkeypatch):
    """Record the rows of every fit."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    judge = curves._judge

    def recording(table, train, test, *others):
        seen.append((train, test))
        return judge(table, train, test, *others)

    monkeypatch.setattr(curves, "_judge", recording)
    return seen


def test_a_point_is_the_mean_over_draws():
    """Against the nearest of the class means, computed by hand on features centred and scaled to unit length."""
    table = make_table()
    curve = few_shot_curve(table, [1, 4], model="m", seeds=3)
    y, split = table.y.astype(str), table.split.astype(str)
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    for point in curve.points:
        values, right = [], []
        for seed in range(3):
            random = np.random.default_rng(seed)
            rows = np.concatenate([random.permutation(train[y[train] == name])[: point.size] for name in CLASSES])
            mean = table.X[rows].mean(axis=0)

            def unit(X, mean=mean):
                return (X - mean) / np.linalg.norm(X - mean, axis=1, keepdims=True)

            means = np.stack([unit(table.X[rows[y[rows] == name]]).mean(axis=0) for name in CLASSES])
            distances = ((unit(table.X[test])[:, None] - means[None]) ** 2).sum(axis=2)
            right.append(np.array(CLASSES)[distances.argmin(axis=1)] == y[test])
            values.append(np.mean(right[-1]))
        assert point.values == values
        assert point.mean == np.mean(values)
        draws = [Predicted(targets=one.astype(int)) for one in right]
        assert point.interval == pytest.approx(judge(["accuracy"], np.ones(40, int), draws)["accuracy"]["interval"])
        assert point.n_train == 4 * point.size
    assert curve.n_test == 40
    assert curve.reported_on == "test split (40 images)"
    json.dumps(to_plain(curve), allow_nan=False)


def test_draws_are_nested_and_never_tested(drawn):
    table = make_table()
    few_shot_curve(table, [4, 1, 2], model="m", seeds=2)
    assert [len(train) for train, _ in drawn] == [4, 4, 8, 8, 16, 16]
    for smaller, larger in ((0, 2), (2, 4), (1, 3), (3, 5)):
        assert set(drawn[smaller][0]) < set(drawn[larger][0])
    assert set(drawn[0][0]) != set(drawn[1][0])
    for train, test in drawn:
        assert set(table.split[train]) == {"train"}  # the validation split is no shot
        assert set(table.split[test]) == {"test"}


def test_draws_of_all_rows_claim_no_certainty():
    [some, every] = few_shot_curve(make_table(), [1, 18], model="m", seeds=3).points
    assert some.interval is not None
    assert every.interval is None


def test_more_labels_are_better():
    table = make_table(per_class=80)
    few = few_shot_curve(table, [1, 16], model="m", seeds=10)
    assert few.points[1].mean > few.points[0].mean + 0.05
    learning = learning_curve(table, [0.05, 1.0], model="m", estimator="logistic", seeds=5)
    assert learning.points[1].mean > learning.points[0].mean
    assert learning.points[1].n_train == 4 * 68


def test_equal_seeds_give_equal_curves():
    table = make_table()
    assert few_shot_curve(table, [2], model="m", estimator="logistic", seeds=2) == few_shot_curve(
        table, [2], model="m", estimator="logistic", seeds=2
    )


def test_fractions_keep_the_share_of_classes(drawn):
    table = make_table()
    curve = learning_curve(table, [0.5, 1.0], model="m", seeds=1)
    for train, _ in drawn:
        counts = np.unique(table.y[train].astype(str), return_counts=True)[1]
        assert set(counts) == {len(train) // 4}
    assert [point.n_train for point in curve.points] == [36, 72]
    assert curve.points[0].interval is None  # one draw has no spread


def test_classes_with_too_few_images_are_named():
    curve = few_shot_curve(make_table(), [4, 100], model="m", seeds=1)
    assert curve.notes[-1] == "4 of 4 classes have fewer than 100 training images; all are used"
    assert curve.points[1].n_train == 72
    assert not any("fewer than 4 " in note for note in curve.notes)


def test_without_splits_each_seed_tests_another_fold(drawn):
    table = make_table(split=False)
    curve = few_shot_curve(table, [2], model="m", seeds=3)
    assert curve.reported_on == "one fold of 5, another for each seed (24 images)"
    assert len({tuple(test) for _, test in drawn}) == 3
    for train, test in drawn:
        assert not set(train) & set(test)


def test_values_have_learning_curves():
    curve = learning_curve(make_table(values=True), [0.3, 1.0], model="m", estimator="ridge", seeds=2)
    assert curve.metric == "r2"
    assert curve.points[1].mean > 0.9
    with pytest.raises(LabelsError, match="the target has no classes"):
        few_shot_curve(make_table(values=True), [1], model="m")
    with pytest.raises(LabelsError, match="class-mean needs one class an image"):
        learning_curve(make_table(values=True), [1.0], model="m", estimator="class-mean")


@pytest.mark.parametrize("shots", [[], [0, 1], [-1]])
def test_shots_out_of_range(shots):
    with pytest.raises(UsageError, match="each at least 1"):
        few_shot_curve(make_table(), shots, model="m")


@pytest.mark.parametrize("fractions", [[], [0.0], [1.5], [float("nan")]])
def test_fractions_out_of_range(fractions):
    with pytest.raises(UsageError, match="above 0, at most 1"):
        learning_curve(make_table(), fractions, model="m")


def test_no_seed_is_an_error():
    with pytest.raises(UsageError, match="seeds=0"):
        few_shot_curve(make_table(), [1], model="m", seeds=0)


def test_one_image_a_class_is_too_few_to_choose_on():
    with pytest.raises(SplitError, match=r"^at 1 image a class: no class has two .* nothing is left to choose on"):
        few_shot_curve(make_table(), [2, 1], model="m", estimator="logistic", seeds=1)
    with pytest.raises(SplitError, match=r"^at 0\.01 of the training images: no class has two training images"):
        learning_curve(make_table(), [0.01, 1.0], model="m", seeds=1)


def test_what_leaks_is_counted_as_probe_does():
    table = make_table()
    split = table.split.astype(str)
    table.digests[np.flatnonzero(split == "test")[0]] = table.digests[np.flatnonzero(split == "train")[0]]
    for curve in (few_shot_curve(table, [1], model="m"), learning_curve(table, [1.0], model="m", seeds=1)):
        assert curve.leaks["copies"] == 1
        assert any(note.startswith("1 of 40 tested images is byte for byte") for note in curve.notes)
