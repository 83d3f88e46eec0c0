"""Several backbones for one data set: their features side by side, their votes, or a classifier of their opinions.

    concat   logistic regression on all features, standardised, each backbone's scaled to one total variance
    vote     the mean of the probabilities of one logistic regression a backbone
    ridge    ridge regression on the classes, of all features, with a penalty for each backbone, chosen by the squared
             error of rows left out one by one: regression with the weighted sum of one linear kernel a backbone
    stack    logistic regression on the log-probabilities of those, which for training rows come from fits that have not
             seen them (Wolpert, Stacked generalization, Neural Networks 5, 1992)

Each is judged by `embedkit.evaluation.evaluate` as any protocol is, on rows that no fit and no choice has seen.

Layer: adaptation. Imports evaluation and its own start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from embedkit.adaptation.start import choose_penalty, fit_head
from embedkit.estimators import block_ridge
from embedkit.evaluation import Outcome, Predicted, Protocol, Rows, Task, make_splits
from embedkit.results import Candidate

Way = Literal["concat", "vote", "stack", "ridge"]
WAYS: tuple[Way, ...] = ("concat", "vote", "stack", "ridge")

Block = npt.NDArray[np.float32]
_Chances = npt.NDArray[np.float64]

_FOLDS = 5
_UNKNOWN = -1e3
"""Score of a class that no row is of: below all others."""
_LEAST = 1e-6
"""Probability below which the logarithm says no more."""


def fusion_protocol(way: Way, blocks: Sequence[Block], groups: Sequence[str] | None = None) -> Protocol:
    """Return one way of fusing as what `evaluate` runs.

    Parameters
    ----------
    way : {"concat", "vote", "stack", "ridge"}
    blocks : sequence of float32 (n, d)
        Features of the same rows by each backbone.
    groups : sequence of str, optional
        Of the rows: no fold of ``"stack"`` goes through one.
    """
    runs: dict[Way, Callable[[Task], Outcome]] = {
        "concat": lambda task: _concat(blocks, task),
        "vote": lambda task: _vote(blocks, task),
        "stack": lambda task: _stack(blocks, groups, task),
        "ridge": lambda task: _ridge(blocks, task),
    }
    return Protocol(name="fusion", estimator=way, metric="accuracy", run=runs[way])


def _concat(blocks: Sequence[Block], task: Task) -> Outcome:
    y, classes, split = task.labels.targets, task.n_classes, task.split
    side = _side_by_side(blocks, split.fit)
    C = choose_penalty(side, y, split.fit, split.select, standardize=False)
    tried = _softmax(fit_head(side, y, split.fit, C, classes, standardize=False).logits(side[split.select]))
    side = _side_by_side(blocks, split.train)
    kept = _softmax(fit_head(side, y, split.train, C, classes, standardize=False).logits(side[split.test]))
    return _outcome(task, tried, kept, {"C": C})


def _vote(blocks: Sequence[Block], task: Task) -> Outcome:
    penalties = _penalties(blocks, task)
    tried = _opinions(blocks, penalties, task, task.split.fit, task.split.select).mean(axis=0)
    kept = _opinions(blocks, penalties, task, task.split.train, task.split.test).mean(axis=0)
    return _outcome(task, tried, kept, {})


def _stack(blocks: Sequence[Block], groups: Sequence[str] | None, task: Task) -> Outcome:
    y, classes, split = task.labels.targets, task.n_classes, task.split
    penalties = _penalties(blocks, task)

    def levels(rows: Rows, asked: Rows) -> tuple[Block, Block]:
        """Return what the second level learns from, and what it is asked of."""
        return (
            _as_features(_out_of_fold(blocks, penalties, groups, task, rows)),
            _as_features(_opinions(blocks, penalties, task, rows, asked)),
        )

    learnt, asked = levels(split.fit, split.select)
    both, places = np.concatenate([learnt, asked]), np.arange(len(learnt) + len(asked))
    fit, select = places[: len(learnt)], places[len(learnt) :]
    targets = np.concatenate([y[split.fit], y[split.select]])
    C = choose_penalty(both, targets, fit, select)
    tried = _softmax(fit_head(both, targets, fit, C, classes).logits(asked))
    learnt, asked = levels(split.train, split.test)
    kept = _softmax(fit_head(learnt, y[split.train], np.arange(len(learnt)), C, classes).logits(asked))
    return _outcome(task, tried, kept, {"C": C})


def _ridge(blocks: Sequence[Block], task: Task) -> Outcome:
    split = task.split
    tried, _ = _ridge_scores(blocks, task, split.fit, split.select)
    kept, emphases = _ridge_scores(blocks, task, split.train, split.test)
    params = {f"emphasis_{place + 1}": value for place, value in enumerate(emphases)}
    return _outcome(task, tried, kept, params, probabilities=False)


def _ridge_scores(blocks: Sequence[Block], task: Task, rows: Rows, asked: Rows) -> tuple[_Chances, list[float]]:
    known, numbers = np.unique(task.labels.targets[rows], return_inverse=True)
    trained, tested = ([block[some].astype(np.float64) for block in blocks] for some in (rows, asked))
    found, emphases = block_ridge(trained, numbers.astype(np.intp), tested)
    scores = np.full((len(asked), task.n_classes), _UNKNOWN)
    scores[:, known] = found
    return scores, emphases


def _side_by_side(blocks: Sequence[Block], rows: Rows) -> Block:
    """Standardise features by some rows, and scale each block to one total variance, that of the mean width."""
    width = float(np.mean([block.shape[1] for block in blocks]))
    scaled: list[Block] = []
    for block in blocks:
        mean, deviation = block[rows].mean(axis=0), block[rows].std(axis=0)
        deviation[deviation == 0] = 1
        scaled.append((block - mean) / deviation * np.float32(np.sqrt(width / block.shape[1])))
    return np.concatenate(scaled, axis=1)


def _penalties(blocks: Sequence[Block], task: Task) -> list[float]:
    y, split = task.labels.targets, task.split
    return [choose_penalty(block, y, split.fit, split.select) for block in blocks]


def _opinions(blocks: Sequence[Block], penalties: Sequence[float], task: Task, rows: Rows, asked: Rows) -> _Chances:
    """Return probabilities, (blocks, n_asked, classes), by classifiers fitted on rows."""
    y, classes = task.labels.targets, task.n_classes
    return np.stack(
        [
            _softmax(fit_head(block, y, rows, C, classes).logits(block[asked]))
            for block, C in zip(blocks, penalties, strict=True)
        ]
    )


def _out_of_fold(
    blocks: Sequence[Block], penalties: Sequence[float], groups: Sequence[str] | None, task: Task, rows: Rows
) -> _Chances:
    """Return probabilities of rows, in their order, by classifiers that have not seen them."""
    of_rows = None if groups is None else [groups[int(row)] for row in rows]
    found = np.zeros((len(blocks), len(rows), task.n_classes))
    folds = make_splits(task.labels.y[rows], None, groups=of_rows, folds=_FOLDS, random_state=task.random_state)
    for fold in folds:
        found[:, fold.test] = _opinions(blocks, penalties, task, rows[fold.train], rows[fold.test])
    return found


def _as_features(chances: _Chances) -> Block:
    """Write probabilities (blocks, n, classes) as features (n, blocks * classes)."""
    logs = np.log(np.maximum(chances, _LEAST)).astype(np.float32)
    return np.concatenate(list(logs), axis=1)


def _softmax(logits: npt.NDArray[np.float32]) -> _Chances:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _outcome(
    task: Task, tried: _Chances, kept: _Chances, params: dict[str, float], *, probabilities: bool = True
) -> Outcome:
    right = tried.argmax(axis=1) == task.labels.targets[task.split.select]
    predicted = Predicted(targets=kept.argmax(axis=1).astype(np.intp), scores=kept, are_probabilities=probabilities)
    return Outcome(
        draws=[predicted],
        params={**params},
        n_train=len(task.split.train),
        selected_on=task.split.selected_on,
        candidates=[Candidate(params={**params}, score=float(right.mean()))],
    )
