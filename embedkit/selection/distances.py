"""How far two sets of features lie apart: distances of distributions, each with what two halves of one set give.

All take features as they are; `embedkit gap` standardises them by all rows of both sets before. Tests shuffle which
rows belong to which set, so that their p-values are uniform where both are drawn from one distribution.

Layer: selection; above rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.selection.rows import Classes, Floats, class_means

MOST_COMPARED = 1000
"""Rows of each set that the tests look at; of more they draw so many."""

_HALVES = 5
_RIDGE = 1.0


class Tested(NamedTuple):
    """A distance, what it is where rows are shuffled between the sets, and how rarely that is as large.

    Attributes
    ----------
    value : float
    null : float
        Mean over shufflings.
    p_value : float
        Share of shufflings, the sets as they are counted in, that are at least as far apart; above 0, at most 1.
    """

    value: float
    null: float
    p_value: float


def proxy_a_distance(
    S: npt.ArrayLike, T: npt.ArrayLike, *, folds: int = 5, permutations: int = 199, seed: int = 0
) -> Tested:
    """How well a linear probe tells the sets apart, on rows that it has not seen: 2 (1 - 2 error).

    Ridge regression on the set, of standardised features, cross-validated. As many rows of each set, at most
    `MOST_COMPARED`. Folds do not depend on the sets and the fit is linear in them, so that all shufflings cost one fit.

    Parameters
    ----------
    S, T : array-like of shape (n, d) and (m, d)
    folds : int
    permutations : int
    seed : int
        Draws rows, folds and shufflings.

    Returns
    -------
    Tested
        2: told apart without an error; 1: three of four rows are; 0: as good as guessing. Of two halves of one set it
        is a little below 0, as `null` says, since a row left out makes its set rarer among the rest.

    Raises
    ------
    UsageError
        A set has fewer rows than folds, widths differ, a feature is not finite, or all are constant.

    References
    ----------
    Ben-David et al., A theory of learning from different domains, Machine Learning 79, 2010; as a number of a
    classifier in Glorot et al., Domain adaptation for large-scale sentiment classification, ICML 2011.
    """
    one, other = checked_sets(S, T)
    rng = np.random.default_rng(seed)
    n = min(len(one), len(other), MOST_COMPARED)
    if n < folds:
        raise UsageError(f"the smaller set has {n} rows, and {folds} folds need as many; name more images")
    rows = np.concatenate([_drawn(one, n, rng), _drawn(other, n, rng)])
    rows = standardised(rows)
    sides = np.repeat([1.0, -1.0], n)
    orders = [sides, *(rng.permutation(sides) for _ in range(permutations))]
    labels = np.stack(orders, axis=1)
    fold = rng.permutation(2 * n) % folds
    gram = rows @ rows.T / rows.shape[1]
    wrong = np.zeros(labels.shape[1])
    for number in range(folds):
        train, test = fold != number, fold == number
        inner, across = gram[np.ix_(train, train)], gram[np.ix_(test, train)]
        mean = inner.mean(axis=0)
        across = across - mean - across.mean(axis=1, keepdims=True) + mean.mean()
        inner = inner - mean - mean[:, None] + mean.mean()
        inner[np.diag_indices_from(inner)] += _RIDGE
        centred = labels[train] - labels[train].mean(axis=0)
        scores = cast(Floats, across @ np.linalg.solve(inner, centred))
        wrong += (scores * labels[test] <= 0).sum(axis=0)
    return _tested(2 * (1 - 2 * wrong / (2 * n)))


def mmd(S: npt.ArrayLike, T: npt.ArrayLike, *, permutations: int = 199, seed: int = 0) -> Tested:
    """Squared maximum mean discrepancy with a Gaussian kernel, without bias.

    The kernel is ``exp(-|a - b|^2 / (2 s^2))``, s the median distance of all pairs of rows of both sets. At most
    `MOST_COMPARED` rows of each set are compared, drawn at random.

    Parameters
    ----------
    S, T : array-like of shape (n, d) and (m, d), n and m at least 2
    permutations : int
    seed : int
        Draws rows and shufflings.

    Returns
    -------
    Tested
        From about 0, the same distribution (a little below by chance), to 2. Without a scale of its own: read the
        p-value, and compare values of one backbone.

    Raises
    ------
    UsageError
        See `checked_sets`.

    References
    ----------
    Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012: equation 3, section 8 for the median.
    """
    import scipy.spatial.distance

    one, other = checked_sets(S, T)
    rng = np.random.default_rng(seed)
    one, other = _drawn(one, MOST_COMPARED, rng), _drawn(other, MOST_COMPARED, rng)
    n, m = len(one), len(other)
    distance: Any = cast(Any, scipy.spatial.distance)
    squares: Floats = distance.pdist(np.concatenate([one, other]), "sqeuclidean")
    middle = float(np.median(squares)) or float(squares.mean())
    kernel: Floats = distance.squareform(np.exp(-squares / (2 * middle)))  # zero on the diagonal
    sides = np.repeat([True, False], [n, m])
    member = np.stack([sides, *(rng.permutation(sides) for _ in range(permutations))], axis=1).astype(np.float64)
    within = (member * (kernel @ member)).sum(axis=0)
    total = kernel.sum()
    across = member.T @ kernel.sum(axis=1) - within
    elsewhere = total - within - 2 * across
    return _tested(within / (n * (n - 1)) + elsewhere / (m * (m - 1)) - 2 * across / (n * m))


def frechet_distance(S: npt.ArrayLike, T: npt.ArrayLike) -> float:
    """Squared Frechet distance (Wasserstein-2) of the Gaussians with the sets' means and covariances.

    ``|mean_S - mean_T|^2 + trace(C_S + C_T - 2 (C_S C_T)^1/2)``.

    Parameters
    ----------
    S, T : array-like of shape (n, d) and (m, d), n and m at least 2

    Returns
    -------
    float
        0 or more; in squared units of the features, and grows with d. It is biased upward where rows are not many times
        d: read it beside what two halves give (`of_halves`).

    Raises
    ------
    UsageError
        See `checked_sets`.

    References
    ----------
    Dowson, Landau, The Frechet distance between multivariate normal distributions, Journal of Multivariate Analysis 12,
    1982; of image features (FID) Heusel et al., NeurIPS 2017, arXiv:1706.08500; bias: Chong, Forsyth, CVPR 2020.
    """
    one, other = checked_sets(S, T)
    left, right = _root(one), _root(other)
    # The eigenvalues of C_S C_T are the squared singular values of left right', for C_S = left' left.
    shared = float(np.linalg.svd(left @ right.T, compute_uv=False).sum())
    apart = float(np.square(one.mean(axis=0) - other.mean(axis=0)).sum())
    return max(apart + float(np.square(left).sum() + np.square(right).sum()) - 2 * shared, 0.0)


def coral_distance(S: npt.ArrayLike, T: npt.ArrayLike) -> float:
    """How much the covariances differ: ``|C_S - C_T|^2 / (4 d^2)``, of all entries.

    Parameters
    ----------
    S, T : array-like of shape (n, d) and (m, d), n and m at least 2

    Returns
    -------
    float
        0 or more, in units of the features to the fourth; blind to means, biased upward by few rows as
        `frechet_distance` is.

    Raises
    ------
    UsageError
        See `checked_sets`.

    References
    ----------
    Sun, Saenko, Deep CORAL: Correlation Alignment for Deep Domain Adaptation, 2016, arXiv:1607.01719, equation 1.
    """
    one, other = checked_sets(S, T)
    left, right = _root(one), _root(other)
    # |L'L - R'R|^2, of matrices with as many rows as there are images where these are fewer than features.
    own = np.square(left @ left.T).sum() + np.square(right @ right.T).sum()
    return max(float(own - 2 * np.square(left @ right.T).sum()), 0.0) / (4 * one.shape[1] ** 2)


def of_halves(distance: Any, S: npt.ArrayLike, T: npt.ArrayLike, *, seed: int = 0) -> float:
    """Give the mean of a distance over five random partings of both sets' rows into sets of the same sizes."""
    one, other = checked_sets(S, T)
    rows, rng = np.concatenate([one, other]), np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(_HALVES):
        order = rng.permutation(len(rows))
        found.append(float(distance(rows[order[: len(one)]], rows[order[len(one) :]])))
    return float(np.mean(found))


def class_gaps(S: Floats, of_s: Classes, T: Floats, of_t: Classes, classes: int) -> list[float | None]:
    """Squared distance of each class's means in the two sets, by the variance of the class within them.

    What sampling alone adds is taken off, so that it is about 0 (also below) for a class without a gap.

    Parameters
    ----------
    S, T : ndarray of shape (n, d) and (m, d)
    of_s, of_t : ndarray of int, shape (n,) and (m,)
        The class of each row, from 0.
    classes : int

    Returns
    -------
    list of float or None
        1: the means are as far apart as the class is wide (root mean square). None where a set has fewer than two rows.
    """
    found: list[float | None] = []
    for place in range(classes):
        one, other = S[of_s == place], T[of_t == place]
        if min(len(one), len(other)) < 2:
            found.append(None)
            continue
        spreads = [float(rows.var(axis=0, ddof=1).sum()) for rows in (one, other)]
        apart = float(np.square(one.mean(axis=0) - other.mean(axis=0)).sum())
        unbiased = apart - spreads[0] / len(one) - spreads[1] / len(other)
        within = sum(spreads) / 2
        found.append(unbiased / within if within > 0 else None)
    return found


def debiased_cka(X: npt.ArrayLike, Y: npt.ArrayLike) -> float:
    """Linear centred kernel alignment of two descriptions of the same n things, without bias.

    `embedkit gap` gives it the means of the classes in either domain: do the classes lie to each other alike? Rows of
    two domains are not the same images, so that nothing else can be aligned.

    Parameters
    ----------
    X, Y : array-like of shape (n, d) and (n, k), n at least 4

    Returns
    -------
    float
        1: alike but for rotation and scale; about 0, also below: unrelated.

    Raises
    ------
    UsageError
        Fewer than four things, or other things in either.

    References
    ----------
    Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, arXiv:1905.00414; the estimator
    of Song et al., Feature Selection via Dependence Maximization, JMLR 13, 2012, as Nguyen et al., ICLR 2021,
    arXiv:2010.15327, take it.
    """
    one, other = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    if len(one) != len(other) or len(one) < 4:
        raise UsageError(f"{len(one)} and {len(other)} things; an alignment needs the same ones, at least four")
    left, right = _gram(one), _gram(other)
    scale = _hsic(left, left) * _hsic(right, right)
    return _hsic(left, right) / float(np.sqrt(scale)) if scale > 0 else 0.0


def shifted_shares(confusion: npt.ArrayLike, predicted: npt.ArrayLike) -> Floats:
    """Estimate the shares of classes in a set without labels from what a probe of another set says of it.

    BBSE: the probe's confusion in the source times the weights of the classes gives the shares that it predicts in the
    target; the weights, none negative, are solved for by least squares. It supposes that images *within* a class look
    alike in both.

    Parameters
    ----------
    confusion : array-like of shape (c, c)
        Of source rows that the probe has not seen: how many of the true class (column) are named as (row).
    predicted : array-like of shape (c,)
        How many rows of the target are named as each class.

    Returns
    -------
    ndarray of shape (c,), float64
        Estimated shares in the target; their sum is 1.

    References
    ----------
    Lipton, Wang, Smola, Detecting and Correcting for Label Shift with Black Box Predictors, ICML 2018,
    arXiv:1802.03916.
    """
    import scipy.optimize

    counts, found = np.asarray(confusion, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    joint = counts / counts.sum()
    weights = cast(Floats, cast(Any, scipy.optimize).nnls(joint, found / found.sum())[0])
    shares = weights * joint.sum(axis=0)
    return shares / shares.sum() if shares.sum() > 0 else found / found.sum()


def means_alike(S: Floats, of_s: Classes, T: Floats, of_t: Classes, classes: int) -> float | None:
    """Give `debiased_cka` of the means of classes that have rows in both sets; None for fewer than four classes."""
    if classes < 4:
        return None
    return debiased_cka(class_means(S, of_s)[0], class_means(T, of_t)[0])


def standardised(rows: Floats) -> Floats:
    """Give features of mean 0 and deviation 1 by these rows, without those that are constant in them."""
    _require_finite(rows)
    deviation = rows.std(axis=0)
    kept = deviation > 1e-12 * np.abs(rows).max(axis=0, initial=1.0)
    if not kept.any():
        raise UsageError("all features are constant over both sets: nothing can be told by them; use another backbone")
    return (rows[:, kept] - rows[:, kept].mean(axis=0)) / deviation[kept]


def checked_sets(S: npt.ArrayLike, T: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return two sets of features in float64.

    Raises
    ------
    UsageError
        Widths differ, a set has fewer than two rows, a feature is not finite, or all are constant.
    """
    one, other = np.asarray(S, dtype=np.float64), np.asarray(T, dtype=np.float64)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise UsageError(
            f"features of shapes {one.shape} and {other.shape}; expected (n, d) and (m, d) of one backbone"
        )
    if min(len(one), len(other)) < 2:
        raise UsageError(f"{len(one)} and {len(other)} rows; a distance needs at least two in each set")
    _require_finite(one)
    _require_finite(other)
    if (np.ptp(one, axis=0) == 0).all() and (one[0] == other).all():
        raise UsageError("all features are constant over both sets: nothing can be told by them; use another backbone")
    return one, other


def _require_finite(rows: Floats) -> None:
    if not np.isfinite(rows).all():
        raise UsageError("some features are not finite; extract again, or leave these rows out")


def _tested(values: Floats) -> Tested:
    """Judge the first value by the others; those that equal it but for rounding are as large."""
    value, others = float(values[0]), values[1:]
    as_large = int((others >= value - 1e-12).sum())
    return Tested(value, float(others.mean()), (as_large + 1) / (len(others) + 1))


def _drawn(rows: Floats, most: int, rng: np.random.Generator) -> Floats:
    return rows if len(rows) <= most else rows[np.sort(rng.choice(len(rows), most, replace=False))]


def _root(rows: Floats) -> Floats:
    """Give a matrix R with R' R the covariance, of no more rows than needed."""
    centred = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
    return centred if len(rows) <= rows.shape[1] else cast(Floats, np.linalg.qr(centred, mode="r"))


def _gram(rows: Floats) -> Floats:
    centred = rows - rows.mean(axis=0)
    gram = centred @ centred.T
    np.fill_diagonal(gram, 0.0)
    return gram


def _hsic(one: Floats, other: Floats) -> float:
    n = len(one)
    corner = float(one.sum() * other.sum()) / ((n - 1) * (n - 2))
    mixed = float(one.sum(axis=0) @ other.sum(axis=0)) * 2 / (n - 2)
    return float((one * other).sum() + corner - mixed) / (n * (n - 3))
