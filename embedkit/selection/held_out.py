"""Cheap probes of few rows: each row is predicted by fits that have not seen it, nor chosen a penalty on it.

Layer: selection; above rows. NumPy; scikit-learn where logistic regression is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from embedkit.estimators import class_weights, fitted_weights, standardising
from embedkit.selection.rows import Classes, Floats

Probe = Literal["ridge", "knn", "logistic"]
PROBES: tuple[Probe, ...] = ("ridge", "knn", "logistic")

REPEATS = 5
"""Of two halves: T. G. Dietterich, Approximate statistical tests for comparing supervised classification learning
algorithms, Neural Computation 10, 1998. A half holds few near copies of what is judged, where a tenth leaves all."""
_NEIGHBOURS = (10, 5, 3, 1)

_LOGISTIC_C = 100.0
"""Of features that are standardised and divided by the root of their number: weak, since a strong penalty names the
commonest of many classes."""


def folds_of(classes: Classes, groups: Classes, *, folds: int = 2, seed: int = 0) -> Classes:
    """Assign rows to folds: each class is spread over as many as it can be, no group is in two.

    Parameters
    ----------
    classes : ndarray of shape (n,)
    groups : ndarray of shape (n,)
        Numbers; rows of one number stay together (copies of an image, a patient).
    folds : int
    seed : int

    Returns
    -------
    ndarray of shape (n,)
        0 to folds - 1.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(int(groups.max()) + 1)
    members = np.bincount(groups, minlength=len(order))
    order = order[np.argsort(-members[order], kind="stable")]
    first = np.unique(groups, return_index=True)
    class_of = np.zeros(len(order), np.intp)
    class_of[first[0]] = classes[first[1]]
    of_group = np.zeros(len(order), np.intp)
    held = np.zeros((int(classes.max()) + 1, folds))
    sizes = np.zeros(folds)
    for group in order[members[order] > 0]:
        of_class = held[class_of[group]]
        # The fold with the fewest rows of the class, of equals the smallest one.
        fold = int(np.lexsort((rng.random(folds), sizes, of_class))[0])
        of_group[group] = fold
        of_class[fold] += members[group]
        sizes[fold] += members[group]
    return of_group[groups]


def held_out_rows(
    X: npt.ArrayLike, classes: Classes, groups: Classes, *, probe: Probe = "ridge", seed: int = 0
) -> npt.NDArray[np.float64]:
    """Return how often each row is named right by probes fitted on the other half of the rows, in five cuts.

    Parameters
    ----------
    X : array-like of shape (n, d)
    classes, groups : ndarray of shape (n,)
        As in `folds_of`.
    probe : {"ridge", "knn", "logistic"}
    seed : int

    Returns
    -------
    ndarray of shape (n,)
        0 to 1; the mean is the accuracy.
    """
    cuts = [folds_of(classes, groups, seed=seed + number) for number in range(REPEATS)]
    return np.mean([right_of(X, classes, cut, probe) for cut in cuts], axis=0)


def right_of(X: npt.ArrayLike, classes: Classes, folds: Classes, probe: Probe = "ridge") -> npt.NDArray[np.bool_]:
    """Say which rows are named right by a probe that was fitted on the other folds.

    The ridge's penalty, or the number of neighbours, is chosen by leaving one out within these other folds.

    Parameters
    ----------
    X : array-like of shape (n, d)
    classes : ndarray of shape (n,)
    folds : ndarray of shape (n,)
    probe : {"ridge", "knn", "logistic"}
        Ridge regression on the classes, of standardised features; the vote of the nearest by cosine; logistic
        regression of standardised features, whose penalty is the same for all.

    Returns
    -------
    ndarray of shape (n,), bool
    """
    values = np.asarray(X, np.float64)
    named = np.full(len(values), -1, np.intp)
    predict = _NAMED_BY[probe]
    for fold in np.unique(folds):
        test = folds == fold
        known, numbers = np.unique(classes[~test], return_inverse=True)
        if len(known) > 1:
            named[test] = known[predict(values[~test], numbers, values[test])]
        elif len(known):
            named[test] = known[0]
    return named == classes


def name_by_ridge(train: Floats, classes: Classes, test: Floats) -> Classes:
    """Least squares on the classes, all classes weighing alike: else a strong penalty names the commonest only.

    Parameters
    ----------
    train : ndarray of shape (n, d)
    classes : ndarray of shape (n,)
        Numbers from 0, each there.
    test : ndarray of shape (m, d)

    Returns
    -------
    ndarray of shape (m,)
        A number each.
    """
    weights, targets = class_weights(classes)
    centre, scale = standardising(train, weights)
    rows = (train - centre) / scale * np.sqrt(weights)[:, None]
    coefficients, _ = fitted_weights(rows, targets, weights)
    return ((test - centre) / scale @ coefficients).argmax(axis=1)


def _knn(train: Floats, classes: Classes, test: Floats) -> Classes:
    train, test = _unit(train), _unit(test)
    own = train @ train.T
    np.fill_diagonal(own, -np.inf)
    most = min(_NEIGHBOURS[0], len(train) - 1)
    near = np.argsort(-own, axis=1, kind="stable")[:, :most]
    counts = [k for k in _NEIGHBOURS if k <= most] or [most]
    scores = [float((_vote(classes[near[:, :k]]) == classes).mean()) for k in counts]
    k = counts[int(np.argmax(scores))]
    return _vote(classes[np.argsort(-(test @ train.T), axis=1, kind="stable")[:, :k]])


def _logistic(train: Floats, classes: Classes, test: Floats) -> Classes:
    from embedkit.estimators import LogisticRegression

    centre, scale = standardising(train, np.ones(len(train)))
    scale = scale * np.sqrt(train.shape[1])
    fitted = LogisticRegression(C=_LOGISTIC_C, tol=1e-3).fit((train - centre) / scale, classes)
    return fitted.predict((test - centre) / scale)


_NAMED_BY: dict[Probe, Callable[[Floats, Classes, Floats], Classes]] = {
    "ridge": name_by_ridge,
    "knn": _knn,
    "logistic": _logistic,
}


def _vote(others: Classes) -> Classes:
    """Return the class with the most votes in each row; of equals that of the nearest."""
    votes = (others[:, :, None] == others[:, None, :]).sum(axis=2)
    return others[np.arange(len(others)), votes.argmax(axis=1)]


def _unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
