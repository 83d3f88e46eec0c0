from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from embedkit.errors import LabelsError, SplitError
from embedkit.evaluation.splits import make_splits, strata_of, stratified_part


def labels(**counts: int) -> np.ndarray:
    return np.array([name for name, count in counts.items() for _ in range(count)])


def test_declared_splits_are_followed():
    y = labels(a=6, b=6)
    split = ["train", "train", "train", "val", "test", "test"] * 2
    [made] = make_splits(y, split)
    assert made.fit.tolist() == [0, 1, 2, 6, 7, 8]
    assert made.select.tolist() == [3, 9]
    assert made.test.tolist() == [4, 5, 10, 11]
    assert made.train.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    assert made.selected_on == "val split (2 images)"
    assert made.reported_on == "test split (4 images)"
    assert made.notes == ()


def test_a_validation_split_that_lacks_a_class_is_not_used_and_said_so():
    y = labels(a=6, b=6)
    split = ["train", "train", "train", "val", "test", "test", "train", "train", "train", "train", "test", "test"]
    [made] = make_splits(y, split)
    assert 3 not in made.train
    assert made.selected_on == "a stratified 20% of train (2 images)"
    assert made.notes == ("the val split (1 images) is not used: it lacks 1 of 2 classes",)


def test_without_a_test_split_the_validation_split_is_reported_and_chooses_nothing():
    [made] = make_splits(labels(a=4, b=4), ["train", "train", "train", "valid"] * 2)
    assert made.test.tolist() == [3, 7]
    assert set(made.select.tolist()) <= {0, 1, 2, 4, 5, 6}
    assert "no test split" in made.notes[0]


def test_rows_of_other_splits_are_counted_out_loud():
    [made] = make_splits(labels(a=5, b=5), ["Train", "Train", "TEST", "holdout", ""] * 2)
    assert made.train.tolist() == [0, 1, 5, 6]
    assert made.notes == ("rows of other splits are not used ((none): 2, holdout: 2); known are train, val and test",)


def test_test_classes_without_training_images_are_named():
    [made] = make_splits(labels(a=4, b=4, c=2), ["train", "train", "train", "test"] * 2 + ["test", "test"])
    assert made.notes == ("1 test class has no training image and cannot be right: c",)


@pytest.mark.parametrize(
    ("y", "split", "error", "words"),
    [
        (labels(a=2, b=2), ["test"] * 4, SplitError, "train split .found test: 4"),
        (labels(a=2, b=2), ["train"] * 4, SplitError, "test split .found train: 4"),
        (labels(a=4), None, LabelsError, "1 class"),
        (labels(a=2, b=2), ["train", "train", "test", "test"], LabelsError, "the train split holds 1 class"),
        (np.array(["a", "", "b"]), None, LabelsError, "1 of 3 rows have no label"),
        (labels(a=9, b=3), None, SplitError, "5 folds .b; the smallest has 3"),
        (labels(a=1, b=1), ["train", "train"], SplitError, "test split"),
    ],
)
def test_what_cannot_be_split(y, split, error, words):
    with pytest.raises(error, match=words):
        make_splits(y, split)


def test_one_image_a_class_leaves_nothing_to_choose_on():
    with pytest.raises(SplitError, match="no class has two training images"):
        make_splits(labels(a=2, b=2), ["train", "test"] * 2)


@given(st.lists(st.integers(5, 20), min_size=2, max_size=6), st.integers(2, 5))
def test_folds_test_each_row_once_and_never_train_on_it(counts, folds):
    y = np.repeat([f"c{number}" for number in range(len(counts))], counts)
    splits = make_splits(y, None, folds=folds)
    assert len(splits) == folds
    tested = np.concatenate([split.test for split in splits])
    assert sorted(tested.tolist()) == list(range(len(y)))
    for split in splits:
        assert not set(split.train) & set(split.test)
        assert not set(split.fit) & set(split.select)
        assert set(y[split.fit]) == set(y)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8).filter(lambda counts: max(counts) > 1), st.integers(0, 9))
def test_a_stratified_part_takes_its_share_of_each_class(counts, seed):
    y = np.repeat([f"c{number}" for number in range(len(counts))], counts)
    rest, part = stratified_part(y, np.arange(len(y)), 0.2, seed)
    assert sorted([*rest, *part]) == list(range(len(y)))
    for number, count in enumerate(counts):
        taken = int((y[part] == f"c{number}").sum())
        assert taken == (0 if count == 1 else max(1, round(0.2 * count)))
    again = stratified_part(y, np.arange(len(y)), 0.2, seed)
    assert again[1].tolist() == part.tolist()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=30, max_size=80),
    st.integers(2, 4),
    st.integers(0, 9),
)
def test_groups_stay_whole_whatever_they_are(rows, folds, seed):
    y = np.array([f"c{label}" for label, _ in rows])
    groups = [f"g{group}" for _, group in rows]
    assume(len(set(y.tolist())) >= 2 and np.unique(y, return_counts=True)[1].min() >= folds)
    # Groups enough that one can always be left out; what cannot be split is tested by itself.
    assume(len(set(groups)) >= 4 * folds or len(set(groups)) >= 9)
    try:
        splits = make_splits(y, None, groups=groups, folds=folds, random_state=seed)
    except SplitError:
        assume(False)
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(len(y)))
    names = np.array(groups)
    for split in splits:
        assert len(split.test)
        assert len(split.select)
        assert not set(names[split.train]) & set(names[split.test])
        assert not set(names[split.fit]) & set(names[split.select])
        assert len(set(y[split.fit])) >= 2


@given(st.integers(20, 60), st.integers(2, 5), st.integers(0, 9))
def test_values_and_several_labels_are_tested_once_each(n_rows, folds, seed):
    random = np.random.default_rng(seed)
    marks = random.random((n_rows, 3)) < [0.5, 0.3, 0.1]
    marks[0], marks[1] = True, False
    for y in (random.standard_normal(n_rows), marks):
        splits = make_splits(y, None, folds=folds, random_state=seed)
        sizes = [len(split.test) for split in splits]
        assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(n_rows))
        assert max(sizes) - min(sizes) <= 1
        assert all(len(split.select) for split in splits)


def test_rows_of_several_labels_are_stratified_by_the_rarest():
    marks = np.zeros((100, 2), dtype=bool)
    marks[:, 0] = True
    marks[::10, 1] = True  # ten rows
    assert strata_of(marks).tolist() == ["1" if row % 10 == 0 else "0" for row in range(100)]
    assert [int(marks[split.test, 1].sum()) for split in make_splits(marks, None, folds=5)] == [2] * 5
    assert strata_of(np.zeros((3, 2), dtype=bool)).tolist() == ["-1"] * 3


def test_the_choice_is_made_on_no_more_rows_than_help():
    y = np.repeat(["a", "b"], 150_000)
    [made] = make_splits(y, ["train", "train", "test"] * 100_000)
    assert len(made.select) == 20_000
    assert made.selected_on == "a stratified 10% of train (20000 images)"


def test_a_validation_split_that_lacks_one_of_several_labels_is_not_used():
    marks = np.zeros((40, 3), bool)
    marks[np.arange(40), np.arange(40) % 3] = True
    split = ["train"] * 24 + ["val"] * 6 + ["test"] * 10
    [whole] = make_splits(marks, split)
    assert whole.selected_on == "val split (6 images)"
    marks[24:30, 2] = False
    [lacking] = make_splits(marks, split)
    assert lacking.selected_on.endswith("of train (6 images)")
    assert "the val split (6 images) is not used: it lacks 1 of 3 classes" in lacking.notes


def test_one_group_cannot_be_split():
    with pytest.raises(SplitError, match="all rows are of one group, and groups are not split"):
        make_splits(np.array(["a", "b"] * 10), None, groups=["scene"] * 20)
