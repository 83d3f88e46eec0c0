"""Backbones that see different things gain from each other; the same one twice gains nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedkit import FeatureTable, fuse, load_result
from embedkit.adaptation.fusion import fusion_protocol
from embedkit.errors import LabelsError, SpecMismatchError, UsageError
from embedkit.evaluation import tasks_of
from embedkit.render import as_text
from embedkit.tables import TableHead
from tests.tables.table_samples import make_spec

ROWS, CLASSES = 240, 3


def halves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, and two blocks of features, each of which tells one class from the two others."""
    rng = np.random.default_rng(0)
    y = np.arange(ROWS) % CLASSES
    left, right = rng.normal(size=(ROWS, 6)), 100 * rng.normal(size=(ROWS, 9))
    left[:, 0] += 4 * (y == 0)
    right[:, 0] += 400 * (y == 1)
    return y, left.astype(np.float32), right.astype(np.float32)


def write(path: Path, X: np.ndarray, y: np.ndarray, name: str, order: np.ndarray | None = None, **parts: Any) -> Path:
    rows = np.arange(len(X)) if order is None else order
    digests = np.stack(
        [np.frombuffer(hashlib.sha256(bytes([row % 256, row // 256])).digest(), np.uint8) for row in rows]
    )
    head = TableHead(
        spec=make_spec(X.shape[1], architecture=name),
        keys=[f"{row}.png" for row in rows],
        digests=digests,
        **{
            "labels": [f"class {one}" for one in y[rows]],
            "split": ["test" if row % 4 == 3 else "train" for row in rows],
            **parts,
        },
    )
    FeatureTable(head, X[rows]).write(path)
    return path


def test_two_halves_gain_and_one_twice_does_not(tmp_path: Path) -> None:
    y, left, right = halves()
    shuffled = np.random.default_rng(1).permutation(ROWS)
    a, b = write(tmp_path / "a.h5", left, y, "a"), write(tmp_path / "b.h5", right, y, "b", shuffled)
    report = fuse([a, b])
    assert [one.model for one in report.singles] == ["a", "b"]
    assert [one.estimator for one in report.fused] == ["concat", "vote", "stack"]
    assert all(0.5 < one.value < 0.8 for one in report.singles)
    values = {one.estimator: one.value for one in report.fused}
    assert min(values.values()) > 0.85, values  # rows of the second file are found by their keys
    assert all(gain.p < 0.01 for gain in report.gains)
    assert all(gain.difference > 0.15 for gain in report.gains)
    assert "concat, vote, stack gain" in as_text(report)
    report.save(tmp_path / "r.json")
    again = load_result(tmp_path / "r.json")
    assert again.gains == report.gains
    assert again.fused[0].rows == report.fused[0].rows
    assert len(again.table()) == 5

    twin = write(tmp_path / "twin.h5", left, y, "twin")
    same = fuse([a, twin], ways=["concat", "vote"])
    assert same.gains[1].difference == 0
    assert min(gain.p for gain in same.gains) > 0.05
    assert "no fusion gains significantly: take a alone" in as_text(same)


def test_concatenation_is_logistic_regression_on_scaled_blocks(tmp_path: Path) -> None:
    y, left, right = halves()
    table = FeatureTable.open(write(tmp_path / "a.h5", left, y, "a"))
    [task] = tasks_of(table)
    outcome = fusion_protocol("concat", [left, right]).run(task)
    train, test = task.split.train, task.split.test
    scaled = [StandardScaler().fit(one[train]).transform(one) * np.sqrt(7.5 / one.shape[1]) for one in (left, right)]
    side = np.concatenate(scaled, axis=1)
    by_sklearn = LogisticRegression(C=outcome.params["C"], max_iter=5000, tol=1e-8).fit(side[train], y[train])
    np.testing.assert_allclose(outcome.draws[0].scores, by_sklearn.predict_proba(side[test]), atol=2e-3)


def test_votes_are_the_mean_of_probabilities_and_stacks_learn_out_of_fold(tmp_path: Path) -> None:
    y, left, right = halves()
    noise = np.random.default_rng(5).normal(size=(ROWS, 300)).astype(np.float32)
    table = FeatureTable.open(write(tmp_path / "a.h5", left, y, "a"))
    [task] = tasks_of(table)
    train, test = task.split.train, task.split.test
    alone = [fusion_protocol("vote", [one]).run(task).draws[0].scores for one in (left, right)]
    both = fusion_protocol("vote", [left, right]).run(task).draws[0].scores
    np.testing.assert_allclose(both, np.mean(alone, axis=0), atol=1e-9)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=5000)).fit(left[train], y[train])
    assert pipeline.predict_proba(left[test]).shape == alone[0].shape
    # In sample, 300 columns of noise name every training row right; a second level that learnt from that would follow.
    stacked = fusion_protocol("stack", [left, right, noise]).run(task).draws[0]
    assert (stacked.targets == y[test]).mean() > 0.9


def test_ridge_has_a_penalty_for_each_block(tmp_path: Path) -> None:
    """Against kernel ridge regression of scikit-learn with the sum of the kernels, weighted as it says."""
    from sklearn.kernel_ridge import KernelRidge

    y, left, right = halves()
    noise = np.random.default_rng(5).normal(size=(ROWS, 300)).astype(np.float32)
    table = FeatureTable.open(write(tmp_path / "a.h5", left, y, "a"))
    [task] = tasks_of(table)
    train, test = task.split.train, task.split.test
    outcome = fusion_protocol("ridge", [left, noise, right]).run(task)
    emphases = [outcome.params[f"emphasis_{place}"] for place in (1, 2, 3)]
    assert emphases[1] < min(emphases[0], emphases[2])
    drawn = outcome.draws[0]
    assert (drawn.targets == y[test]).mean() > 0.85
    assert (np.bincount(y[train]) == len(train) / CLASSES).all()  # so that weights of classes are one
    kernels = np.zeros((ROWS, ROWS))
    for block, emphasis in zip((left, noise, right), emphases, strict=True):
        scaled = StandardScaler().fit(block[train]).transform(block.astype(np.float64))
        kernels += emphasis * (scaled @ scaled.T) / np.square(scaled[train]).sum() * len(train)
    marks = np.eye(CLASSES)[y[train]] - 1 / CLASSES
    unit = np.trace(kernels[np.ix_(train, train)]) / len(train)
    tried = [
        KernelRidge(alpha=penalty * unit, kernel="precomputed")
        .fit(kernels[np.ix_(train, train)], marks)
        .predict(kernels[np.ix_(test, train)])
        for penalty in np.logspace(2, -4, 13)
    ]
    assert min(np.abs(one - drawn.scores).max() for one in tried) < 1e-6


def test_what_cannot_be_fused(tmp_path: Path) -> None:
    y, left, right = halves()
    a = write(tmp_path / "a.h5", left, y, "a")
    with pytest.raises(UsageError, match="1 backbone is given, and a fusion is of at least two"):
        fuse([a])
    with pytest.raises(UsageError, match="fusion 'mix' is not known; use concat, vote, stack, ridge"):
        fuse([a, a], ways=["mix"])  # pyright: ignore[reportArgumentType]
    fewer = write(tmp_path / "fewer.h5", right[:200], y[:200], "b")
    with pytest.raises(SpecMismatchError, match="features of 200 images and a of 240, not all the same"):
        fuse([a, fewer])
    other = write(tmp_path / "other.h5", right, (y + 1) % 3, "b")
    with pytest.raises(SpecMismatchError, match="b and a differ in the labels of some rows"):
        fuse([a, other])
    values = write(tmp_path / "values.h5", right, y, "b", labels=np.arange(240.0))
    with pytest.raises(LabelsError, match="'value', and a fusion takes one class an image"):
        fuse([values, values])
