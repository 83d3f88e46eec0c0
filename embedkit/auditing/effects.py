"""What findings are worth: the accuracy of the probes without the images that they name.

Copies and suspects are taken out of the training rows, and the same tested rows are named again: a paired test says
whether that matters. Suspects among the training rows are found without the tested ones.

Layer: auditing; above evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from embedkit.auditing.labels import Float32, OutOfFold, Ranking, Rows, deal, out_of_fold, probabilities
from embedkit.evaluation import mcnemar_test
from embedkit.results import Effect

_MOST_ROWS_OF_ALL_FOLDS = 5_000
"""Of larger tables without splits one fold is tested."""


def parts_of(y: Rows, split: Sequence[str] | None) -> list[tuple[Rows, Rows]]:
    """Give the (training, tested) rows: by the table's splits where it has a test split, else by folds."""
    if split is not None:
        tested = np.array([name.lower() == "test" for name in split], dtype=np.bool_)
        if tested.any() and not tested.all():
            return [(np.flatnonzero(~tested), np.flatnonzero(tested))]
    fold = deal(y, np.arange(len(y)))
    numbers = sorted(set(fold.tolist()))
    if len(y) > _MOST_ROWS_OF_ALL_FOLDS:
        numbers = numbers[:1]
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in numbers]


def without_copies(
    X: Float32, y: Rows, parts: Sequence[tuple[Rows, Rows]], pairs: Iterable[tuple[int, int]]
) -> list[Effect]:
    """Take the training rows out that are copies of tested ones.

    Parameters
    ----------
    pairs : iterable of (row, row)
        Copies, exact or near.
    """
    listed = list(pairs)

    def leaking(train: Rows, test: Rows) -> Rows:
        tested, trained = set(test.tolist()), set(train.tolist())
        return np.array(
            sorted({a for one, two in listed for a, b in ((one, two), (two, one)) if a in trained and b in tested}),
            dtype=np.intp,
        )

    return _compared("training images that are copies of tested ones", X, y, parts, leaking)


def without_suspects(
    X: Float32, y: Rows, parts: Sequence[tuple[Rows, Rows]], oof: OutOfFold, ranking: Ranking = "probes"
) -> list[Effect]:
    """Take suspected labels out of the training rows, or out of the tested ones."""

    def suspected(train: Rows, test: Rows) -> Rows:
        classes, codes = np.unique(y[train], return_inverse=True)
        return train[out_of_fold(X[train], codes, ranking=ranking).suspects()] if len(classes) > 1 else train[:0]

    effects = _compared("training images suspected by the training rows alone", X, y, parts, suspected)
    tested = np.concatenate([test for _, test in parts])
    doubted = np.intersect1d(tested, oof.suspects())
    if effects and len(doubted) and len(doubted) < len(tested):
        right = np.concatenate([_right(X, y, train, test) for train, test in parts])
        left = ~np.isin(tested, doubted)
        effects.append(
            Effect(
                without="tested images whose labels are suspected (by the same probes: it flatters)",
                removed=len(doubted),
                tested=len(tested),
                before=float(right.mean()),
                after=float(right[left].mean()),
            )
        )
    return effects


def _compared(
    said: str, X: Float32, y: Rows, parts: Sequence[tuple[Rows, Rows]], chosen: Callable[[Rows, Rows], Rows]
) -> list[Effect]:
    before: list[npt.NDArray[np.bool_]] = []
    after: list[npt.NDArray[np.bool_]] = []
    removed: set[int] = set()
    for train, test in parts:
        out = chosen(train, test)
        before.append(_right(X, y, train, test))
        after.append(before[-1] if not len(out) else _right(X, y, np.setdiff1d(train, out), test))
        removed |= set(out.tolist())
    if not removed:
        return []
    old, new = np.concatenate(before), np.concatenate(after)
    return [
        Effect(
            without=said,
            removed=len(removed),
            tested=len(old),
            before=float(old.mean()),
            after=float(new.mean()),
            p_value=mcnemar_test(new, old).p_value,
        )
    ]


def _right(X: Float32, y: Rows, train: Rows, test: Rows) -> npt.NDArray[np.bool_]:
    if len(np.unique(y[train])) < 2:
        return np.zeros(len(test), np.bool_)
    return probabilities(X, y, train, test, int(y.max()) + 1).argmax(axis=1) == y[test]
