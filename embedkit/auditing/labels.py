"""Labels that the rest of the data speaks against: out-of-fold probabilities of cheap probes, and their margin.

Which labels are suspected is decided by confident learning: an image is one of another class if its probability of that
class is at least what images of that class have on average. Suspects are ordered by the odds of the two classes in
probabilities averaged over probes; cleanlab's scores of the same probabilities find no more (benchmarks/audit.py).

Layer: auditing; above evaluation and the estimators.

References
----------
C. G. Northcutt, L. Jiang, I. L. Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR 70, 2021.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedkit.estimators import (
    AdaptiveNeighborsClassifier,
    KNeighborsClassifier,
    LogisticRegression,
    RobustLogisticRegression,
    StreamingLDA,
)

Ranking = Literal["probes", "wann", "robust", "all"]
RANKINGS: tuple[Ranking, ...] = ("probes", "wann", "robust", "all")
"""Whose probabilities rank suspects: neighbours, discriminant analysis and logistic regression; weighted adaptive
neighbours; robust logistic regression; or all five, averaged."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

FOLDS = 5
_C, _Q, _SHRINKAGE, _NEIGHBOURS = 0.01, 0.7, 0.5, 20
_LEAST_NEIGHBOURS = 3  # the authors' 11 is more than many classes have images
MOST_ITERATED = 50_000
"""Rows up to which logistic regression is one of the probes; the others take one pass."""

_MOST_FEATURES = 256
_ROWS_A_FEATURE = 4
"""Components are scaled to one variance: as many of them as rows would leave all rows equally far apart."""

_LEAST = 1e-6  # a probability below this says no more than "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """What probes that have not seen a row say of it.

    Attributes
    ----------
    probabilities : ndarray of shape (n, n_classes), float64
    y : ndarray of shape (n,), intp
        The classes given.
    checked : ndarray of shape (n,), bool
        Rows whose class has members in other folds; nothing is known of the others.
    """

    probabilities: Float64
    y: Rows
    checked: npt.NDArray[np.bool_]

    @property
    def predicted(self) -> Rows:
        """The likeliest class of each row."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which rows are named as they are labelled."""
        return self.predicted == self.y

    @property
    def other(self) -> Rows:
        """The likeliest class but the given one."""
        rest = self.probabilities.copy()
        rest[np.arange(len(rest)), self.y] = -1
        return rest.argmax(axis=1)

    @property
    def doubt(self) -> Float64:
        """The share of the likeliest other class in the sum of it and the given one, 0 to 1; 0 where unchecked."""
        rows = np.arange(len(self.y))
        own, other = self.probabilities[rows, self.y], self.probabilities[rows, self.other]
        return np.where(self.checked, other / (own + other), 0.0)

    def suspects(self) -> Rows:
        """Return the rows that confident learning counts as of another class, the most doubtful first."""
        rows = np.arange(len(self.y))
        sums = np.zeros(self.probabilities.shape[1])
        np.add.at(sums, self.y, self.probabilities[rows, self.y])
        usual = sums / np.maximum(np.bincount(self.y, minlength=len(sums)), 1)
        beyond = self.probabilities >= np.where(usual > 0, usual, np.inf)
        beyond[rows, self.y] = False
        # The class must also be likelier than the given one: a rare class has a low usual probability.
        found = np.flatnonzero(beyond.any(axis=1) & (self.doubt > 0.5))
        return found[np.argsort(-self.doubt[found], kind="stable")]


def reduced(X: Float32, *, random_state: int = 0) -> Float32:
    """Bring wide features to at most 256 principal components, and a quarter of the rows, for probes of a moment."""
    if X.shape[1] <= _MOST_FEATURES:
        return X
    from sklearn.decomposition import PCA

    # No label is looked at, so that it may be of all rows.
    components = max(1, min(_MOST_FEATURES, len(X) // _ROWS_A_FEATURE))
    pca: Any = PCA(components, svd_solver="randomized", random_state=random_state)
    found = pca.fit_transform(X).astype(np.float32, copy=False)
    # Rows with many copies span fewer dimensions: the rest is rounding, which scaling would blow up.
    least = pca.singular_values_[0] * np.finfo(np.float32).eps * max(X.shape)
    return found[:, : max(1, int((pca.singular_values_ > least).sum()))]


def out_of_fold(
    X: Float32,
    y: Rows,
    units: Sequence[Any] | None = None,
    *,
    ranking: Ranking = "probes",
    random_state: int = 0,
) -> OutOfFold:
    """Ask probes about rows that they have not seen, and average their probabilities.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), float32
    y : ndarray of shape (n,), intp
        Class numbers from 0 on.
    units : sequence of length n, optional
        Rows of one unit (copies, a group) come into one fold.
    ranking : {"probes", "wann", "robust", "all"}
    random_state : int
    """
    n_classes = int(y.max()) + 1
    numbers = np.arange(len(y)) if units is None else np.unique(np.array(units), return_inverse=True)[1].reshape(-1)
    fold = deal(y, numbers, random_state)
    total = np.full((len(y), n_classes), _LEAST)
    for number in range(FOLDS):
        train, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(held_out) and len(np.unique(y[train])) > 1:
            total[held_out] += probabilities(X, y, train, held_out, n_classes, ranking)
    members = np.zeros((n_classes, FOLDS), np.intp)
    np.add.at(members, (y, fold), 1)
    elsewhere = members.sum(axis=1)[y] - members[y, fold]
    return OutOfFold(probabilities=total / total.sum(axis=1, keepdims=True), y=y, checked=elsewhere > 0)


def probabilities(
    X: Float32, y: Rows, train: Rows, held_out: Rows, n_classes: int, ranking: Ranking = "probes"
) -> Float64:
    """Fit the probes on some rows, and give their summed probabilities of others, of shape (n_held_out, n_classes)."""
    total = np.zeros((len(held_out), n_classes))
    for probe, taken in _probes(X, y, train, ranking):
        fit_quietly(probe, taken[train], y[train])
        total[:, probe.classes_] += probe.predict_proba(taken[held_out])
    return total


def fit_quietly(estimator: Any, X: npt.NDArray[Any], y: Rows) -> Any:
    """Fit, and let scikit-learn not wonder about many classes of few images each, which are usual here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")
        warnings.filterwarnings("ignore", "the objective still fell")
        return estimator.fit(X, y)


def _probes(X: Float32, y: Rows, train: Rows, ranking: Ranking) -> list[tuple[Any, Float32]]:
    """Return estimators that are not yet fitted, and the features that each takes."""
    mean, scale = X[train].mean(axis=0, dtype=np.float64), X[train].std(axis=0, dtype=np.float64)
    centred = (X - mean.astype(np.float32)).astype(np.float32, copy=False)
    least = np.finfo(np.float32).eps * np.abs(X[train]).max(axis=0)
    scaled = centred / np.where(scale > least, scale, 1).astype(np.float32)
    probes: list[tuple[Any, Float32]] = []
    if ranking in ("probes", "all"):
        probes.append((KNeighborsClassifier(min(_NEIGHBOURS, len(train)), weights="softmax"), centred))
        if len(train) > len(np.unique(y[train])):
            probes.append((StreamingLDA(shrinkage=_SHRINKAGE), scaled))
        if len(y) <= MOST_ITERATED:
            probes.append((LogisticRegression(_C), scaled))
    if ranking in ("wann", "all"):
        probes.append((AdaptiveNeighborsClassifier(_LEAST_NEIGHBOURS), centred))
    if ranking == "robust" or ranking == "all" and len(y) <= MOST_ITERATED:
        # A row of which nothing is known weighs (1 / classes)^q there, so that C has to make up for many classes.
        probes.append((RobustLogisticRegression(_C * len(np.unique(y)) ** _Q, q=_Q), scaled))
    return probes


def deal(y: Rows, units: Rows, random_state: int = 0) -> Rows:
    """Deal the units of each class out in turn, in random order; a unit belongs to the class of its first row."""
    _, first = np.unique(units, return_index=True)
    random = np.random.default_rng(random_state)
    order = random.permutation(len(first))
    order = order[np.argsort(y[first[order]], kind="stable")]
    dealt = np.empty(len(first), np.intp)
    dealt[order] = np.arange(len(first)) % FOLDS
    return dealt[units]
