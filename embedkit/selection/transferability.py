"""Transferability scores: numbers that are to rank backbones by features and labels, without training anything.

They are comparable between backbones on the same rows, and mean little by themselves. Across architectures they predict
poorly (arXiv:2510.06448, 2503.18528, 2405.20420): they are shown beside probes, which decide.

Layer: selection; above rows. NumPy, SciPy and scikit-learn only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.selection.rows import checked, class_means, sample

Labels = Sequence[Any] | npt.NDArray[Any]


def log_me(X: npt.ArrayLike, y: Labels) -> float:
    """Log evidence of a Bayesian linear model of the classes, one against the rest, a row.

    The prior's and the noise's precision are those of the greatest evidence, by fixed points.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
        Classes, at least two.

    Returns
    -------
    float
        Mean over classes of log p(y | X) / n, natural logarithm; larger is better. Any real number: targets are 0 and 1
        and taken for Gaussian, so that it is a density. 0.76 says nothing by itself; between two backbones, a
        difference of 0.01 is a factor of exp(0.01 n) in evidence.

    Raises
    ------
    UsageError
        See `embedkit.selection.rows.checked`.

    References
    ----------
    You et al., LogME: Practical Assessment of Pre-trained Models for Transfer Learning, ICML 2021, arXiv:2102.11005;
    fixed points as in You et al., Ranking and Tuning Pre-trained Models, JMLR 2022, arXiv:2110.10545.
    """
    values, classes = checked(X, y)
    n = len(values)
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    sigma = np.square(singular)
    evidences: list[float] = []
    for place in range(int(classes.max()) + 1):
        target = (classes == place).astype(np.float64)
        projected = np.square(left.T @ target)
        outside = max(float(target @ target - projected.sum()), 0.0)
        evidences.append(_evidence(sigma, projected, outside, n))
    return float(np.mean(evidences)) / n


def _evidence(sigma: npt.NDArray[np.float64], projected: npt.NDArray[np.float64], outside: float, n: int) -> float:
    """Return the greatest log evidence over the precisions alpha (of the prior) and beta (of the noise)."""
    ratio, alpha, beta, norm, residual = 1.0, 1.0, 1.0, 0.0, 0.0
    for _ in range(1000):
        gamma = float((sigma / (sigma + ratio)).sum())
        norm = float((sigma * projected / np.square(ratio + sigma)).sum())
        residual = float((projected / np.square(1 + sigma / ratio)).sum()) + outside
        alpha = gamma / max(norm, 1e-300)
        beta = (n - gamma) / max(residual, 1e-300)
        before, ratio = ratio, min(max(alpha / beta, 1e-12), 1e12)
        if abs(ratio - before) <= 1e-10 * before:
            break
    return 0.5 * (
        len(sigma) * np.log(alpha)
        + n * np.log(beta)
        - float(np.log(alpha + beta * sigma).sum())
        - beta * residual
        - alpha * norm
        - n * np.log(2 * np.pi)
    )


def h_score(X: npt.ArrayLike, y: Labels) -> float:
    """How much of the features' spread, whitened, is between classes.

    trace(cov(X)^+ cov(E[X | y])), with the pseudo-inverse; from 0 to the smaller of d and the number of classes less 1,
    larger is better. With fewer rows than features it is near its greatest value whatever the labels say: use
    `shrinkage_h_score`.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)

    References
    ----------
    Bao et al., An Information-Theoretic Approach to Transferability in Task Transfer Learning, ICIP 2019.
    """
    values, classes = checked(X, y)
    centred = values - values.mean(axis=0)
    if len(values) < values.shape[1]:
        _, in_classes = _row_space(centred, classes)
        return float(in_classes.sum())
    means, counts = class_means(values, classes)
    total = centred.T @ centred
    between = (means - values.mean(axis=0)) * np.sqrt(counts)[:, None]
    inverse = cast(npt.NDArray[np.float64], np.linalg.pinv(total, rcond=1e-10, hermitian=True))
    return float(np.einsum("ij,jk,ik->", between, inverse, between))


def shrinkage_h_score(X: npt.ArrayLike, y: Labels) -> float:
    """`h_score` with a covariance that is shrunk as Ledoit and Wolf do, and the spread of means shrunk as much.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)

    Returns
    -------
    float
        From 0 to the number of classes less 1; larger is better.

    References
    ----------
    Ibrahim et al., Newer is not always better: Rethinking transferability metrics, their peculiarities, stability and
    performance, ECML PKDD 2022, arXiv:2110.06893.
    """
    import sklearn.covariance

    values, classes = checked(X, y)
    if len(values) < values.shape[1]:
        return _wide_shrinkage_h_score(values - values.mean(axis=0), classes)
    means, counts = class_means(values, classes)
    shrunk: tuple[npt.NDArray[np.float64], float] = cast(Any, sklearn.covariance).ledoit_wolf(values)
    covariance, shrinkage = shrunk
    between = (means - values.mean(axis=0)) * np.sqrt(counts / len(values))[:, None]
    inverse = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
    return float((1 - shrinkage) * np.einsum("ij,jk,ik->", between, inverse, between))


def _row_space(
    centred: npt.NDArray[np.float64], classes: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return eigenvalues of the scatter of fewer rows than features, and how much of each direction is between classes.

    With centred X = U S V', the means of the classes lie in V, where they are S U' e / m for the m rows that e marks:
    nothing as large as the covariance is needed.
    """
    values, left = np.linalg.eigh(centred @ centred.T)
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    sums = np.zeros((int(classes.max()) + 1, int(kept.sum())))
    np.add.at(sums, classes, left[:, kept])
    return values[kept], (np.square(sums) / np.bincount(classes)[:, None]).sum(axis=0)


def _wide_shrinkage_h_score(centred: npt.NDArray[np.float64], classes: npt.NDArray[np.intp]) -> float:
    """Do what scikit-learn's `ledoit_wolf` and the trace do, for fewer rows than features."""
    n, d = centred.shape
    lengths = np.square(centred).sum(axis=1)
    values, in_classes = _row_space(centred, classes)
    mean = float(lengths.sum()) / (n * d)
    of_squares = float(np.square(values).sum()) / n**2
    apart = of_squares / d - mean**2
    noise = min((float(np.square(lengths).sum()) / n - of_squares) / (d * n), apart)
    shrinkage = noise / apart if noise > 0 else 0.0
    shrunk = (1 - shrinkage) * values / n + shrinkage * mean
    return float((1 - shrinkage) * (in_classes * values / n / shrunk).sum())


def transrate(X: npt.ArrayLike, y: Labels, *, epsilon: float = 1e-4) -> float:
    """Coding rate of all rows less the mean coding rate of the rows of a class.

    R(Z) = log det(I + Z' Z / (n epsilon)) / 2 of centred rows: the bits (here natural units) that they take at a
    distortion.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
    epsilon : float
        The distortion; positive. The score depends on the scale of the features against it.

    Returns
    -------
    float
        0 or more but for rounding, and grows with d; larger is better, among backbones of the same width.

    References
    ----------
    Huang et al., Frustratingly Easy Transferability Estimation, ICML 2022, arXiv:2106.09362; Algorithm 1, where the
    rate of a class is of the rows less the mean of *all* rows, and all classes count the same.
    """
    values, classes = checked(X, y)
    centred = values - values.mean(axis=0)
    of_classes = [_rate(centred[classes == place], epsilon) for place in range(int(classes.max()) + 1)]
    return _rate(centred, epsilon) - float(np.mean(of_classes))


def _rate(rows: npt.NDArray[np.float64], epsilon: float) -> float:
    n, d = rows.shape
    gram = rows @ rows.T if n < d else rows.T @ rows  # of equal non-zero eigenvalues
    return 0.5 * float(np.linalg.slogdet(np.eye(len(gram)) + gram / (n * epsilon))[1])


def gbc(X: npt.ArrayLike, y: Labels, *, dimensions: int = 64) -> float:
    """How little the classes overlap: minus the sum of Bhattacharyya coefficients of all pairs of classes.

    Classes are spherical Gaussians in the first principal components.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
    dimensions : int
        Principal components that are kept.

    Returns
    -------
    float
        From minus C (C - 1), all classes alike, to 0, none overlaps; larger is better.

    References
    ----------
    Pandy et al., Transferability Estimation using Bhattacharyya Class Separability, CVPR 2022, arXiv:2111.12780.
    """
    values, classes = checked(X, y)
    centred = values - values.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    reduced = centred @ axes[:dimensions].T
    means, counts = class_means(reduced, classes)
    spread = np.square(reduced - means[classes]).mean(axis=1)
    variances = np.maximum(np.bincount(classes, weights=spread) / counts, 1e-12)
    distances = np.square(means[:, None] - means[None]).sum(axis=2)
    middle = (variances[:, None] + variances[None]) / 2
    exponent = distances / (8 * middle) + reduced.shape[1] / 2 * np.log(
        middle / np.sqrt(variances[:, None] * variances[None])
    )
    overlap = np.exp(-exponent)
    return -float(overlap.sum() - np.trace(overlap))


def parc(X: npt.ArrayLike, y: Labels, *, most_rows: int = 2000, seed: int = 0) -> float:
    """Whether images of one class are alike: Spearman correlation of the distances of features and of labels.

    Distances are 1 - Pearson correlation, of standardised features and of labels as 0 and 1.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
    most_rows : int
        A stratified sample of so many rows is compared pair by pair.
    seed : int
        Draws the sample.

    Returns
    -------
    float
        -1 to 1, larger is better; 0 where features do not know the classes.

    References
    ----------
    Bolya et al., Scalable Diverse Model Selection for Accessible Transfer Learning, NeurIPS 2021, arXiv:2111.06977.
    """
    import scipy.stats

    values, classes = checked(X, y)
    if len(values) > most_rows:
        rows = sample(classes, most_rows, seed)
        values, classes = values[rows], classes[rows]
    deviation = values.std(axis=0)
    standardised = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    pairs = np.triu_indices(len(values), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_features = np.nan_to_num(np.corrcoef(standardised))[pairs]
    same = classes[pairs[0]] == classes[pairs[1]]
    if np.ptp(of_features) == 0 or same.all() or not same.any():
        return 0.0
    # Labels as 0 and 1 correlate by 1 within a class, by one other number between classes: ranks are all that counts.
    return float(cast(Any, scipy.stats).spearmanr(of_features, same).statistic)
