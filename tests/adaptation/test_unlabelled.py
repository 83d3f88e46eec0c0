"""Rows without a label: what they add is tested on labelled rows, and bad input is refused in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from embedkit import load_result, self_train
from embedkit.adaptation import unlabelled_protocol
from embedkit.errors import LabelsError, SpecMismatchError, SplitError, UsageError
from embedkit.evaluation import tasks_of
from embedkit.render import as_text
from tests.probes.samples import table_of
from tests.tables.table_samples import make_digests

CLASSES = 3


def sample(seed: int = 0, labelled: int = 12, rows: int = 360) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Return two views of rows whose classes lie far apart along few of many directions; few rows have a label."""
    random = np.random.default_rng(seed)
    number = np.arange(rows) % CLASSES
    blocks = []
    for _ in range(2):
        X = random.normal(size=(rows, 20))
        X[:, :CLASSES] += 4 * np.eye(CLASSES)[number]
        blocks.append(X.astype(np.float32))
    split = ["test" if row >= rows // 2 else "train" for row in range(rows)]
    labels = [f"class {one}" if row < labelled or row >= rows // 2 else "" for row, one in enumerate(number)]
    return blocks, labels, split


def write(folder: Path, blocks: list[np.ndarray], labels: list[str], split: list[str] | None) -> list[Path]:
    digests = make_digests(len(labels))
    paths = [folder / f"{place}.h5" for place in range(len(blocks))]
    for place, (path, X) in enumerate(zip(paths, blocks, strict=True)):
        parts: dict[str, Any] = {} if split is None else {"split": split}
        table_of(X, labels, architecture=f"net{place}", digests=digests, **parts).write(path)
    return paths


def test_rows_without_a_label_gain_where_classes_are_clusters(tmp_path: Path) -> None:
    blocks, labels, split = sample()
    report = self_train(write(tmp_path, blocks, labels, split), store=tmp_path / "s")
    assert [one.model for one in report.labelled] == ["net0", "net1", "net0 + net1"]
    assert [one.way for one in report.gains] == ["agreed", "averaged", "self-training", "label-spreading"]
    assert (report.n_labelled, report.n_unlabelled) == (12, 168)
    gains = {one.way: one for one in report.gains}
    assert gains["agreed"].difference > 0.03
    assert gains["agreed"].p < 0.05
    assert gains["agreed"].interval[0] < gains["agreed"].difference < gains["agreed"].interval[1]
    assert "gain: agreed" in as_text(report)
    report.save(tmp_path / "r.json")
    again = load_result(tmp_path / "r.json")
    assert again.gains == report.gains
    assert len(again.table()) == 7


def test_noise_gains_nothing_and_that_is_said(tmp_path: Path) -> None:
    blocks, labels, split = sample()
    noise = [np.random.default_rng(place).normal(size=X.shape).astype(np.float32) for place, X in enumerate(blocks)]
    report = self_train(write(tmp_path, noise, labels, split), store=tmp_path / "s")
    assert all(one.p > 0.05 or one.difference < 0 for one in report.gains)
    assert "no gain: nothing is significantly better than leaving them out" in as_text(report)


def test_agreed_is_what_scikit_learn_makes_of_the_rows_on_which_backbones_agree() -> None:
    """The same by hand: fit, name the unlabelled rows, keep those of one name, fit again, average."""
    blocks, labels, split = sample()
    known = np.array([label != "" for label in labels])
    y = np.array(labels)[known]
    table = table_of(blocks[0][known], y, split=np.array(split)[known].tolist())
    [task] = tasks_of(table)
    protocol = unlabelled_protocol("agreed", [X[known] for X in blocks], [X[~known] for X in blocks])
    outcome = protocol.run(task)
    train, test = task.split.train, task.split.test
    scaled = []
    for X in blocks:
        scaler = StandardScaler().fit(X[known][train])
        scaled.append((scaler.transform(X[known]), scaler.transform(X[~known])))
    C = outcome.params["C"]
    named = [
        LogisticRegression(C=one, tol=1e-8, max_iter=1000).fit(own[train], y[train]).predict(rest)
        for (own, rest), one in zip(scaled, C, strict=True)
    ]
    alike = named[0] == named[1]
    assert outcome.params["pseudo_labels"] == alike.sum()
    chances = [
        LogisticRegression(C=one, tol=1e-8, max_iter=1000)
        .fit(np.concatenate([own[train], rest[alike]]), np.concatenate([y[train], named[0][alike]]))
        .predict_proba(own[test])
        for (own, rest), one in zip(scaled, C, strict=True)
    ]
    np.testing.assert_allclose(outcome.draws[0].scores, np.mean(chances, axis=0), atol=2e-3)


@pytest.mark.parametrize("use", ["labelled", "agreed", "averaged", "self-training", "label-spreading"])
def test_labels_of_tested_rows_change_nothing(use: Any) -> None:
    blocks, labels, split = sample()
    known = np.array([label != "" for label in labels])
    X, rest = [one[known] for one in blocks], [one[~known] for one in blocks]
    y, where = np.array(labels)[known], np.array(split)[known]
    shuffled = y.copy()
    shuffled[where == "test"] = np.random.default_rng(0).permutation(y[where == "test"])
    scores = []
    for one in (y, shuffled):
        [task] = tasks_of(table_of(X[0], one, split=where.tolist()))
        scores.append(unlabelled_protocol(use, X, rest).run(task).draws[0].scores)
    np.testing.assert_array_equal(*scores)


def test_without_splits_every_labelled_row_is_tested_once(tmp_path: Path) -> None:
    blocks, labels, _ = sample(labelled=30)
    [path] = write(tmp_path, blocks[:1], labels, None)
    report = self_train(path, store=tmp_path / "s")
    assert [one.way for one in report.gains] == ["agreed", "self-training", "label-spreading"]
    assert report.labelled[0].n_test == sum(label != "" for label in labels)


def test_copies_of_labelled_images_and_rows_of_the_test_split_are_not_used(tmp_path: Path) -> None:
    blocks, labels, split = sample()
    labels[-1] = ""
    digests = make_digests(len(labels))
    digests[50] = digests[200]
    table_of(blocks[0], labels, split=split, digests=digests).write(tmp_path / "a.h5")
    report = self_train(tmp_path / "a.h5", store=tmp_path / "s")
    assert report.n_unlabelled == 167
    assert "1 rows without a label are not used: they are in the test split" in report.notes
    assert "1 rows without a label are not used: they are copies of labelled images" in report.notes


def everything(row: int, label: str) -> str:
    return f"class {row % CLASSES}"


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (everything, LabelsError, "every one of the 360 rows has a label"),
        (lambda row, label: "", LabelsError, "none of the 360 rows has a label"),
        (lambda row, label: "cat" if label else "", LabelsError, "cat"),
        (lambda row, label: label if row in (0, 1) else "", SplitError, "test"),
        (lambda row, label: "" if row > 200 else everything(row, label), LabelsError, "in the test split"),
    ],
)
def test_labels_that_allow_no_answer(tmp_path: Path, change: Any, error: type[Exception], said: str) -> None:
    blocks, labels, split = sample()
    changed = [change(row, label) for row, label in enumerate(labels)]
    paths = write(tmp_path, blocks, changed, split)
    with pytest.raises(error, match=said):
        self_train(paths, store=tmp_path / "s")


@pytest.mark.parametrize("row", [3, 100])
def test_features_that_are_not_finite_are_refused(tmp_path: Path, row: int) -> None:
    """Those of a row with a label, and of one without."""
    blocks, labels, split = sample()
    blocks[1][row, 3] = np.nan
    with pytest.raises(UsageError, match=f"NaN or infinity in 1 rows, such as that of {row}.jpg"):
        self_train(write(tmp_path, blocks, labels, split), store=tmp_path / "s")


def test_files_of_other_labels_are_refused(tmp_path: Path) -> None:
    blocks, labels, split = sample()
    [first, second] = write(tmp_path, blocks, labels, split)
    table_of(blocks[0], ["", *labels[1:]], split=split, digests=make_digests(len(labels))).write(second, force=True)
    with pytest.raises(SpecMismatchError, match="labels of some rows"):
        self_train([first, second], store=tmp_path / "s")


def test_values_are_refused(tmp_path: Path) -> None:
    blocks, labels, split = sample()
    y = np.where([label == "" for label in labels], np.nan, blocks[0][:, 0].astype(float))
    table_of(blocks[0], y, split=split).write(tmp_path / "v.h5")
    with pytest.raises(LabelsError, match="of the kind 'value'"):
        self_train(tmp_path / "v.h5", store=tmp_path / "s")
