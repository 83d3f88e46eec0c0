"""Intervals of scores, tests between models, and the ranks they allow: pure functions on arrays.

Shares have intervals in closed form, finite and of positive width also where everything or nothing is right. Two
models on the same images are compared pairwise, several comparisons are corrected together, and what cannot be told
apart shares a rank.

Layer: probes; imports NumPy, SciPy and embedkit.errors.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import scipy.special

from embedkit.errors import UsageError

Float64 = npt.NDArray[np.float64]
Array = TypeVar("Array", bound=npt.NDArray[Any])

_special = cast(Any, scipy.special)  # not typed throughout
_FEW_OF_SHARE = 3


class PairedTest(NamedTuple):
    """Two models on the same rows.

    Attributes
    ----------
    p_value : float
        Two-sided.
    difference : float
        Mean of the first less mean of the second.
    """

    p_value: float
    difference: float


class Friedman(NamedTuple):
    """Several models on several data sets.

    Attributes
    ----------
    statistic : float
        Chi-square distributed with n_models - 1 degrees of freedom when no model is better than another.
    p_value : float
    average_ranks : ndarray of shape (n_models,), float64
        1 is best; ties share the mean of their ranks.
    """

    statistic: float
    p_value: float
    average_ranks: Float64


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give the Wilson score interval of a proportion.

    Its coverage is near the nominal one on average, also for few rows; near 0 and 1 it is below (`share_interval`).

    Parameters
    ----------
    successes, n : int
        Rows that are right, and rows; 0 <= successes <= n, n >= 1.
    confidence : float
        Between 0 and 1.

    Raises
    ------
    UsageError
        Counts or confidence out of range.

    References
    ----------
    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    """
    _check_counts(successes, n, confidence)
    z = float(_special.ndtri(0.5 + confidence / 2))
    p, scale = successes / n, 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == n else min(1.0, centre + half)


def share_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give the interval of a proportion that embedkit prints.

    Wilson's, but where all rows but one to three are right, or wrong: there it covers too little (84 % at worst), and
    the end near the edge is the one-sided limit of a Poisson count. Its coverage is at least 92.7 % for 50 rows or
    more.

    Parameters and errors are those of `wilson_interval`.

    References
    ----------
    L. D. Brown, T. T. Cai, A. DasGupta, Interval estimation for a binomial proportion, Statistical Science 16, 2001,
    section 4.1.1.

    Examples
    --------
    >>> [round(end, 3) for end in share_interval(49, 50)]
    [0.895, 0.999]
    """
    low, high = wilson_interval(successes, n, confidence)
    right, wrong = successes, n - successes
    if 1 <= right <= min(_FEW_OF_SHARE, n // 2):
        low = min(low, float(_special.gammaincinv(right, 1 - confidence)) / n)
    if 1 <= wrong <= min(_FEW_OF_SHARE, n // 2):
        high = max(high, 1 - float(_special.gammaincinv(wrong, 1 - confidence)) / n)
    return low, high


def clopper_pearson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give the exact interval of a proportion: its coverage is never below the nominal one.

    Parameters and errors are those of `wilson_interval`.

    References
    ----------
    C. J. Clopper, E. S. Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
    Biometrika 26, 1934.
    """
    _check_counts(successes, n, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(_special.betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(_special.betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def mean_interval(values: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Give Student's interval of a mean, over seeds or repeated splits.

    Splits of one data set overlap, so that their scores are less independent than the interval supposes.

    Parameters
    ----------
    values : array-like of shape (n,), n >= 2
    confidence : float
        Between 0 and 1.
    """
    sample = _vector(values, "values")
    _check_confidence(confidence)
    if len(sample) < 2:
        raise UsageError(f"an interval of a mean needs at least 2 values, got {len(sample)}; repeat with more seeds")
    half = float(_special.stdtrit(len(sample) - 1, 0.5 + confidence / 2)) * sample.std(ddof=1) / np.sqrt(len(sample))
    return float(sample.mean() - half), float(sample.mean() + half)


def mcnemar_test(right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> PairedTest:
    """Compare two classifiers on the same rows by the exact McNemar test.

    Only rows on which exactly one of the two is right count; under the hypothesis each is as likely.

    Parameters
    ----------
    right_a, right_b : array-like of shape (n_samples,), bool
        Whether each row is classified rightly.

    References
    ----------
    Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
    Psychometrika 12, 1947; T. G. Dietterich, Approximate statistical tests for comparing supervised classification
    learning algorithms, Neural Computation 10, 1998.
    """
    a, b = _pair(np.asarray(right_a, dtype=np.bool_), np.asarray(right_b, dtype=np.bool_))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    fewer = min(only_a, only_b)
    # Binomial tail; doubled, and at most 1 (the middle counts twice when the two are equal).
    p_value = min(1.0, 2 * float(_special.bdtr(fewer, only_a + only_b, 0.5))) if only_a + only_b else 1.0
    return PairedTest(p_value, (only_a - only_b) / len(a))


def paired_permutation_test(
    values_a: npt.ArrayLike, values_b: npt.ArrayLike, *, n_resamples: int = 10_000, random_state: int = 0
) -> PairedTest:
    """Compare the means of two models' values on the same rows by exchanging them at random.

    All exchanges are tried if there are no more of them than `n_resamples`; otherwise a random sample, to which the
    observed order is added so that the p-value is never 0.

    Parameters
    ----------
    values_a, values_b : array-like of shape (n,)
        Any score of each row, such as its log-loss.
    n_resamples : int
    random_state : int
        Equal seeds give equal p-values.

    References
    ----------
    R. A. Fisher, The Design of Experiments, 1935; B. Phipson, G. K. Smyth, Permutation p-values should never be zero,
    Statistical Applications in Genetics and Molecular Biology 9, 2010.
    """
    a, b = _pair(_vector(values_a, "values_a"), _vector(values_b, "values_b"))
    differences = a - b
    differences_that_count = np.abs(differences[differences != 0])
    n = len(differences_that_count)
    observed = abs(float(differences.sum()))
    # Sums that equal the observed one but for rounding count as equal.
    threshold = observed - 1e-12 * float(differences_that_count.sum())
    if 2.0**n <= n_resamples:
        orders: npt.NDArray[np.int64] = np.arange(2**n, dtype=np.int64)[:, None]
        exchanged = np.bitwise_and(np.right_shift(orders, np.arange(n, dtype=np.int64)), 1)
        sums = (1.0 - 2.0 * exchanged) @ differences_that_count
        p_value = float((np.abs(sums) >= threshold).mean())
    else:
        random = np.random.default_rng(random_state)
        as_extreme = 0
        for start in range(0, n_resamples, 256):
            count = min(256, n_resamples - start)
            signs = 2 * random.integers(0, 2, (count, n), dtype=np.int8) - 1
            as_extreme += int((np.abs(signs @ differences_that_count) >= threshold).sum())
        p_value = (as_extreme + 1) / (n_resamples + 1)
    return PairedTest(p_value, float(differences.mean()))


def holm_correction(p_values: npt.ArrayLike) -> Float64:
    """Adjust p-values of several tests so that the chance of any false rejection is controlled.

    Parameters
    ----------
    p_values : array-like of shape (n,), between 0 and 1

    Returns
    -------
    ndarray of shape (n,), float64
        In the same order; reject where at most the level wanted.

    References
    ----------
    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    p = _vector(p_values, "p_values")
    if len(p) and (p.min() < 0 or p.max() > 1):
        raise UsageError(f"p-values lie between 0 and 1, got {p.min():g} to {p.max():g}")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)) if len(p) else p
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def friedman_test(scores: npt.ArrayLike) -> Friedman:
    """Test whether any of several models differs from the others over several data sets.

    Parameters
    ----------
    scores : array-like of shape (n_datasets, n_models)
        Larger is better; at least 2 data sets and 3 models.

    References
    ----------
    M. Friedman, The use of ranks to avoid the assumption of normality implicit in the analysis of variance, JASA 32,
    1937, with the correction for ties; J. Demšar, Statistical comparisons of classifiers over multiple data sets,
    JMLR 7, 2006.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 3 or not np.isfinite(table).all():
        raise UsageError(f"scores of shape {table.shape}: expected finite ones of >= 2 data sets and >= 3 models")
    n, k = table.shape
    ranks = np.stack([_ranks(-row) for row in table])
    average = ranks.mean(axis=0)
    # Ties narrow the spread of the ranks; without them this is 12 n / (k (k + 1)) times the sum.
    spread = ((ranks - (k + 1) / 2) ** 2).sum() / (n * (k - 1))
    statistic = n * float(((average - (k + 1) / 2) ** 2).sum() / spread) if spread > 0 else 0.0
    return Friedman(statistic, float(_special.chdtrc(k - 1, statistic)), average)


def nemenyi_critical_difference(n_models: int, n_datasets: int, alpha: float = 0.05) -> float:
    """Give the difference of average ranks from which on two models differ, after a significant Friedman test.

    Parameters
    ----------
    n_models, n_datasets : int
        At least 2.
    alpha : float
        Level, between 0 and 1.

    References
    ----------
    P. B. Nemenyi, Distribution-free multiple comparisons, 1963; J. Demšar, JMLR 7, 2006, section 3.2.2.
    """
    from scipy.stats import studentized_range

    if n_models < 2 or n_datasets < 2:
        raise UsageError(f"a critical difference needs 2 models and 2 data sets, got {n_models} and {n_datasets}")
    _check_confidence(1 - alpha)
    q = float(cast(Any, studentized_range).ppf(1 - alpha, n_models, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(n_models * (n_models + 1) / (6 * n_datasets)))


def rank_groups(values: npt.ArrayLike, differ: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Give models that cannot be told apart the same number, 1 for the best.

    From the best value down, a model joins the group as long as it does not differ from the group's best; the first
    that does opens the next group. So each group holds models that its leader has not beaten. "Cannot be told apart"
    is not transitive: two models of one group may differ from each other.

    Parameters
    ----------
    values : array-like of shape (n_models,)
        Larger is better. For average ranks give their negatives.
    differ : array-like of shape (n_models, n_models), bool
        Whether two models differ significantly; symmetric.

    Returns
    -------
    ndarray of shape (n_models,), intp
        In the order of `values`.
    """
    scores, different = _vector(values, "values"), np.asarray(differ, dtype=np.bool_)
    if different.shape != (len(scores), len(scores)) or (different != different.T).any():
        raise UsageError(f"differ has shape {different.shape}, expected a symmetric one for {len(scores)} models")
    groups = np.zeros(len(scores), dtype=np.intp)
    leader, group = -1, 0
    for model in np.argsort(-scores, kind="stable"):
        if leader < 0 or different[leader, model]:
            leader, group = int(model), group + 1
        groups[model] = group
    return groups


def _ranks(values: Float64) -> Float64:
    """Rank from 1 for the smallest; equal values share the mean of their ranks."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[codes]


def _vector(values: npt.ArrayLike, name: str) -> Float64:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise UsageError(f"{name} has shape {vector.shape}, expected one dimension of finite numbers")
    return vector


def _pair(a: Array, b: Array) -> tuple[Array, Array]:
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise UsageError(f"values of shapes {a.shape} and {b.shape}, expected one for each of the same rows")
    return a, b


def _check_counts(successes: int, n: int, confidence: float) -> None:
    if not 0 <= successes <= n or n < 1:
        raise UsageError(f"{successes} of {n} rows right: expected at least one row, and not more right than there are")
    _check_confidence(confidence)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise UsageError(f"confidence={confidence!r}, expected a number between 0 and 1")
