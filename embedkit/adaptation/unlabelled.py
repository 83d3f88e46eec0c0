"""Rows without a label beside labelled ones: pseudo-labels by several backbones, and scikit-learn's own ways beside.

    labelled         the mean of the probabilities of one logistic regression a backbone, on labelled rows alone
    agreed           the same, fitted on unlabelled rows too that all backbones, so fitted, name alike
    averaged         the same, fitted on all unlabelled rows, each with the class that every backbone names, sharing its
                     weight (Zhang and others, Revisiting semi-supervised learning in the era of foundation models,
                     arXiv 2503.09707, where backbones are tuned, not frozen)
    self-training    `sklearn.semi_supervised.SelfTrainingClassifier` of that logistic regression, a backbone each
    label-spreading  `sklearn.semi_supervised.LabelSpreading` on the 7 nearest rows by cosine, a backbone each

The first is the floor. Penalties are chosen on labelled rows and are the same for all: what a way gains, it gains from
unlabelled rows. Each is judged by `embedkit.evaluation.evaluate`, on labelled rows that no fit and no choice has seen.

Layer: adaptation. Imports evaluation, the estimators and its own start.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from embedkit.adaptation.start import choose_penalty
from embedkit.estimators import LogisticRegression
from embedkit.evaluation import Outcome, Predicted, Protocol, Rows, Task
from embedkit.results import Candidate

Use = Literal["labelled", "agreed", "averaged", "self-training", "label-spreading"]
USES: tuple[Use, ...] = ("agreed", "averaged", "self-training", "label-spreading")

_NEIGHBOURS = 7
_OPEN = -1
"""scikit-learn's class of rows without a label."""

Block = npt.NDArray[np.float32]
_Chances = npt.NDArray[np.float64]
_Codes = npt.NDArray[np.intp]


def unlabelled_protocol(use: Use, blocks: Sequence[Block], unlabelled: Sequence[Block]) -> Protocol:
    """Return one way of using rows without a label as what `evaluate` runs.

    Parameters
    ----------
    use : {"labelled", "agreed", "averaged", "self-training", "label-spreading"}
    blocks : sequence of float32 (n, d)
        Features of the labelled rows by each backbone.
    unlabelled : sequence of float32 (m, d)
        Features of the others.
    """
    return Protocol(
        name="unlabelled",
        estimator=use,
        metric="accuracy",
        run=lambda task: _Learner(task, blocks, unlabelled).run(use),
    )


class _Learner:
    """One split: labelled rows of which some are learnt from, and unlabelled rows."""

    def __init__(self, task: Task, blocks: Sequence[Block], unlabelled: Sequence[Block]) -> None:
        self.task, self.y, self.classes = task, task.labels.targets, task.n_classes
        self.blocks, self.unlabelled = blocks, unlabelled
        split = task.split
        self.penalties = [choose_penalty(block, self.y, split.fit, split.select) for block in blocks]

    def run(self, use: Use) -> Outcome:
        split = self.task.split
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            tried, _ = self._asked(use, split.fit, split.select)
            kept, used = self._asked(use, split.train, split.test)
        right = tried.argmax(axis=1) == self.y[split.select]
        params: dict[str, Any] = {"C": self.penalties[0] if len(self.penalties) == 1 else self.penalties}
        if use != "labelled":
            params["pseudo_labels"] = used
        return Outcome(
            draws=[Predicted(targets=kept.argmax(axis=1).astype(np.intp), scores=kept, are_probabilities=True)],
            params=params,
            n_train=len(split.train),
            selected_on=split.selected_on,
            candidates=[Candidate(params=params, score=float(right.mean()))],
        )

    def _asked(self, use: Use, rows: Rows, asked: Rows) -> tuple[_Chances, int]:
        """Learn from labelled rows and unlabelled ones; return probabilities of others, and how many got a label."""
        scaled = [_scaled(block, rows, beside) for block, beside in zip(self.blocks, self.unlabelled, strict=True)]
        known = [(block[rows], block[asked], beside) for block, beside in scaled]
        if use in ("self-training", "label-spreading"):
            way = self._self_trained if use == "self-training" else self._spread
            fits = [
                way(block, self.y[rows], beside, others, C)
                for (block, others, beside), C in zip(known, self.penalties, strict=True)
            ]
        else:
            votes = self._votes(known, rows) if use != "labelled" else np.empty((0, 0), np.intp)
            fits = [
                self._fitted(others, C, *_with_votes(block, self.y[rows], beside, votes, agreed=use == "agreed"))
                for (block, others, beside), C in zip(known, self.penalties, strict=True)
            ]
        return np.mean([chances for chances, _ in fits], axis=0), max(used for _, used in fits)

    def _fitted(
        self, asked: Block, C: float, X: Block, y: _Codes, weights: npt.NDArray[np.float64], used: int
    ) -> tuple[_Chances, int]:
        return self._chances(LogisticRegression(C).fit(X, y, sample_weight=weights), asked), used

    def _votes(self, known: Sequence[tuple[Block, Block, Block]], rows: Rows) -> _Codes:
        """Return the class that each backbone, fitted on labelled rows, gives unlabelled rows: (backbones, m)."""
        fitted = [
            LogisticRegression(C).fit(block, self.y[rows])
            for (block, _, _), C in zip(known, self.penalties, strict=True)
        ]
        return np.stack([model.predict(beside) for model, (_, _, beside) in zip(fitted, known, strict=True)])

    def _self_trained(self, X: Block, y: _Codes, beside: Block, asked: Block, C: float) -> tuple[_Chances, int]:
        from sklearn.semi_supervised import SelfTrainingClassifier

        model: Any = SelfTrainingClassifier(cast(Any, LogisticRegression(C)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The number of unique classes")
            model.fit(np.concatenate([X, beside]), np.concatenate([y, np.full(len(beside), _OPEN)]))
        return self._chances(model, asked), int((model.transduction_[len(X) :] != _OPEN).sum())

    def _spread(self, X: Block, y: _Codes, beside: Block, asked: Block, C: float) -> tuple[_Chances, int]:
        from sklearn.semi_supervised import LabelSpreading

        both = _unit(np.concatenate([X, beside]))
        model: Any = LabelSpreading(kernel="knn", n_neighbors=min(_NEIGHBOURS, len(both) - 1), max_iter=100)
        with np.errstate(invalid="ignore", divide="ignore"):  # rows that no label reaches
            model.fit(both, np.concatenate([y, np.full(len(beside), _OPEN)]))
            chances = self._chances(model, _unit(asked))
        reached = model.label_distributions_[len(X) :].sum(axis=1) > 0
        return np.where(np.isfinite(chances), chances, 1 / self.classes), int(reached.sum())

    def _chances(self, model: Any, asked: Block) -> _Chances:
        found = np.zeros((len(asked), self.classes))
        found[:, model.classes_] = model.predict_proba(asked)
        return found


def _scaled(block: Block, rows: Rows, beside: Block) -> tuple[Block, Block]:
    """Standardise both by the labelled rows that are learnt from, so that all ways see the same features."""
    mean, deviation = block[rows].mean(axis=0), block[rows].std(axis=0)
    deviation[deviation == 0] = 1
    return (block - mean) / deviation, (beside - mean) / deviation


def _with_votes(
    X: Block, y: _Codes, beside: Block, votes: _Codes, *, agreed: bool
) -> tuple[Block, _Codes, npt.NDArray[np.float64], int]:
    """Put unlabelled rows behind labelled ones, once a vote; return features, classes, weights, their number."""
    if not votes.size:
        return X, y, np.ones(len(y)), 0
    if agreed:
        alike = (votes == votes[0]).all(axis=0)
        added = int(alike.sum())
        return np.concatenate([X, beside[alike]]), np.concatenate([y, votes[0, alike]]), np.ones(len(y) + added), added
    weights = np.full(votes.size, 1 / len(votes))
    return (
        np.concatenate([X, *[beside] * len(votes)]),
        np.concatenate([y, votes.ravel()]),
        np.concatenate([np.ones(len(y)), weights]),
        len(beside),
    )


def _unit(X: Block) -> Block:
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    return (X / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)
