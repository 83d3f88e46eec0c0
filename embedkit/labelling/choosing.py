"""Which images to label next: typical ones of clusters first, then those that a classifier hesitates about.

Layer: labelling; above the estimators.

References
----------
G. Hacohen, A. Dekel, D. Weinshall, Active learning on a budget: opposite strategies suit high and low budgets, ICML
2022 (typical images). F. Zhdanov, Diverse mini-batch active learning, 2019 (uncertain ones, one of each cluster).
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from embedkit.estimators import NearestRows
from embedkit.labelling.few import fitted_on_few

Rows = npt.NDArray[np.intp]
Float32 = npt.NDArray[np.float32]

MOST_CANDIDATES = 20_000
"""Of more unlabelled images, so many are drawn at random and looked at."""

_COMPONENTS = 128
_NEIGHBOURS = 10
_HESITANT = 5  # times the budget: as many of the least certain images are clustered
_LARGE = 5000  # rows from which clusters are found in parts


class Choice(NamedTuple):
    """A row to label, and why."""

    row: int
    reason: str


def in_few_directions(X: npt.NDArray[Any]) -> Float32:
    """Give rows of length sqrt(128) or less on at most 128 principal components of standardised features."""
    with np.errstate(invalid="ignore"):  # PCA's shares of the variance of features that do not vary
        scaled: Any = cast(Any, StandardScaler()).fit_transform(X)
        reduced: Any = cast(Any, PCA(min(_COMPONENTS, *X.shape), random_state=0)).fit_transform(scaled)
    lengths = np.linalg.norm(reduced, axis=1, keepdims=True)
    return (reduced / np.where(lengths > 0, lengths, 1.0) * np.sqrt(reduced.shape[1])).astype(np.float32)


def choose(
    X: Float32, y: npt.NDArray[Any], candidates: Rows, budget: int, *, random_state: int = 0
) -> tuple[list[Choice], str]:
    """Choose rows to label.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), float32
        As `in_few_directions` gives them.
    y : ndarray of shape (n_rows,), str
        ``""`` where there is no label. Rows that are neither labelled nor candidates have no part.
    candidates : ndarray of intp
        Rows without a label.
    budget : int
        At most so many are chosen.

    Returns
    -------
    choices : list of Choice
        The most telling first.
    strategy : {"typical", "uncertain"}
    """
    budget, labelled = min(budget, len(candidates)), np.flatnonzero(y != "")
    strategy = "uncertain" if len(np.unique(y[labelled])) > 1 else "typical"
    if not budget:
        return [], strategy
    if strategy == "typical":
        found = _typical(X, labelled, candidates, budget, random_state)
    else:
        found = _uncertain(X, y, labelled, candidates, budget, random_state)
    return _filled(found, candidates, budget, random_state), strategy


def _typical(X: Float32, labelled: Rows, candidates: Rows, budget: int, random_state: int) -> list[Choice]:
    """Take the most typical row of each cluster without a label, the largest clusters first."""
    pool = np.concatenate([labelled, candidates])
    clusters = _clusters(X[pool], min(len(labelled) + budget, len(pool)), None, random_state)
    known = set(clusters[: len(labelled)].tolist())
    members = {cluster: candidates[clusters[len(labelled) :] == cluster] for cluster in np.unique(clusters).tolist()}
    order = sorted((cluster for cluster, rows in members.items() if len(rows)), key=lambda one: -len(members[one]))
    order = [*(one for one in order if one not in known), *(one for one in order if one in known)]
    return [
        Choice(_most_typical(X, rows), f"typical of {len(rows)} that are alike" if len(rows) > 1 else "unlike others")
        for rows in (members[cluster] for cluster in order[:budget])
    ]


def _most_typical(X: Float32, rows: Rows) -> int:
    """Return the row whose nearest neighbours in its cluster are nearest."""
    rows = rows[:MOST_CANDIDATES]
    k = min(_NEIGHBOURS + 1, len(rows))
    distances, _ = NearestRows(X[rows], "euclidean").search(X[rows], k)
    return int(rows[distances.mean(axis=1).argmin()])


def _uncertain(
    X: Float32, y: npt.NDArray[Any], labelled: Rows, candidates: Rows, budget: int, random_state: int
) -> list[Choice]:
    """Take, of the rows between whose two likeliest classes least is to choose, one of each cluster."""
    model = fitted_on_few(X[labelled], y[labelled])
    probabilities = model.predict_proba(X[candidates])
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    best = np.take_along_axis(probabilities, order, axis=1)
    margins = best[:, 0] - best[:, 1]
    hesitant = np.argsort(margins, kind="stable")[: _HESITANT * budget]
    rows = X[candidates[hesitant]]
    clusters = _clusters(rows, min(budget, len(rows)), 1 - margins[hesitant] + 1e-6, random_state)
    chosen: list[int] = []
    for cluster in np.unique(clusters).tolist():
        inside = np.flatnonzero(clusters == cluster)
        centre = np.average(rows[inside], axis=0, weights=1 - margins[hesitant[inside]] + 1e-6)
        chosen.append(int(hesitant[inside[np.square(rows[inside] - centre).sum(axis=1).argmin()]]))
    return [
        Choice(
            int(candidates[place]),
            f"{model.classes_[order[place, 0]]} ({100 * best[place, 0]:.0f} %) or "
            f"{model.classes_[order[place, 1]]} ({100 * best[place, 1]:.0f} %)",
        )
        for place in sorted(chosen, key=lambda one: float(margins[one]))
    ]


def _clusters(X: Float32, count: int, weights: npt.NDArray[Any] | None, random_state: int) -> npt.NDArray[np.intp]:
    kind: Any = KMeans if len(X) <= _LARGE else MiniBatchKMeans
    model = kind(count, n_init=1, max_iter=50, random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters: the rest is filled
        return np.asarray(model.fit(X, sample_weight=weights).labels_, np.intp)


def _filled(choices: list[Choice], candidates: Rows, budget: int, random_state: int) -> list[Choice]:
    """Add rows at random where clusters gave fewer than the budget."""
    taken = {one.row for one in choices}
    rest = np.array([row for row in candidates.tolist() if row not in taken], np.intp)
    drawn = np.random.default_rng(random_state).permutation(rest)[: budget - len(choices)]
    return [*choices, *(Choice(int(row), "drawn at random: the others are as these") for row in drawn)]
