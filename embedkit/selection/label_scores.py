"""Scores from what a network says of the images in its own classes: LEEP, NCE; and N-LEEP, which makes such classes up.

Layer: selection; above rows. NumPy and scikit-learn only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.selection.rows import checked, sample

_MOST_CLUSTERED = 10_000

Labels = Sequence[Any] | npt.NDArray[Any]


def leep(probabilities: npt.ArrayLike, y: Labels) -> float:
    """Mean log likelihood of the classes by what the network's own classes say of them.

    Parameters
    ----------
    probabilities : array-like of shape (n, k)
        Of the network's k classes; each row adds up to 1.
    y : array-like of shape (n,)

    Returns
    -------
    float
        At most 0, natural logarithm; larger is better. log(1 / C) is guessing among C classes of equal size.

    Raises
    ------
    UsageError
        A row does not add up to 1, or holds a negative number.

    References
    ----------
    Nguyen et al., LEEP: A New Measure to Evaluate Transferability of Learned Representations, ICML 2020,
    arXiv:2002.12462.
    """
    theta, classes = checked(probabilities, y)
    if (theta < 0).any() or not np.allclose(theta.sum(axis=1), 1, atol=1e-3):
        raise UsageError("leep takes probabilities: rows of numbers of at least 0 that add up to 1")
    joint = np.zeros((int(classes.max()) + 1, theta.shape[1]))
    np.add.at(joint, classes, theta)
    marginal = joint.sum(axis=0)
    conditional = np.divide(joint, marginal, out=np.zeros_like(joint), where=marginal > 0)
    return float(np.log(np.maximum((conditional[classes] * theta).sum(axis=1), 1e-300)).mean())


def nce(source: Sequence[Any] | npt.NDArray[Any], y: Labels) -> float:
    """Minus the conditional entropy of the classes, given the network's own class of each image.

    Parameters
    ----------
    source : array-like of shape (n,)
        The class that the network names.
    y : array-like of shape (n,)

    Returns
    -------
    float
        From -log(C) to 0, natural logarithm; larger is better. 0 where each of the network's classes holds one class
        only, which many classes of one image each do by themselves.

    References
    ----------
    Tran et al., Transferability and Hardness of Supervised Classification Tasks, ICCV 2019, arXiv:1908.08142.
    """
    _, named = np.unique(np.asarray(source), return_inverse=True)
    column, classes = checked(named[:, None], y)  # of many rows a sample, the same of both
    named = column[:, 0].astype(np.intp)
    counts = np.zeros((int(classes.max()) + 1, int(named.max()) + 1))
    np.add.at(counts, (classes, named), 1.0)
    joint = counts / counts.sum()
    marginal = np.broadcast_to(joint.sum(axis=0), joint.shape)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / marginal[seen])).sum())


def n_leep(
    X: npt.ArrayLike, y: Labels, *, components: int | None = None, variance: float = 0.8, seed: int = 0
) -> float:
    """`leep` with the clusters of a Gaussian mixture in the place of the network's classes.

    Parameters
    ----------
    X : array-like of shape (n, d)
    y : array-like of shape (n,)
    components : int, optional
        Clusters; by default five a class, as in the paper, and at most a fifth of the rows.
    variance : float
        Share of the variance that is kept by PCA before.
    seed : int
        Starts the mixture, and draws the 10,000 rows that it is fitted on where there are more.

    Returns
    -------
    float
        At most 0; larger is better.

    References
    ----------
    Li et al., Ranking Neural Checkpoints, CVPR 2021, arXiv:2011.11200.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    values, classes = checked(X, y)
    clusters = components or max(2, min(5 * (int(classes.max()) + 1), len(values) // 5))
    pca: Any = PCA(n_components=variance, svd_solver="full")
    reduced = cast(npt.NDArray[np.float64], pca.fit_transform(values))
    mixture: Any = GaussianMixture(
        clusters, covariance_type="diag", random_state=seed, reg_covar=1e-6 * float(reduced.var()) + 1e-12
    )
    few = reduced if len(reduced) <= _MOST_CLUSTERED else reduced[sample(classes, _MOST_CLUSTERED, seed)]
    return leep(mixture.fit(few).predict_proba(reduced), classes)
