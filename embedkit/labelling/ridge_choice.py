"""The penalty of ridge from statistics alone: generalised cross-validation, which needs no rows.

Layer: labelling; above the estimators.

References
----------
G. H. Golub, M. Heath, G. Wahba, Generalized cross-validation as a method for choosing a good ridge parameter,
Technometrics 21(2), 1979.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedkit.errors import LabelsError
from embedkit.estimators import SufficientStatistics

ALPHAS = tuple(float(value) for value in np.logspace(8, -2, 21))
"""Penalties, the strongest first."""


def chosen_alpha(statistics: SufficientStatistics, alphas: tuple[float, ...] = ALPHAS) -> tuple[float, list[float]]:
    """Return the penalty with the least score of generalised cross-validation, and the scores of all.

    The score is n RSS / (n - df)^2, summed over the classes' targets of +1 and -1, with df the effective number of
    parameters, the intercept among them. It stands for the squared error of leaving each row out in turn.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of target "classes".
    alphas : tuple of float
        Positive; of equal scores the first is taken.
    """
    n, counts = statistics.n, statistics.class_n
    if len(counts) < 2:
        raise LabelsError(f"statistics of {len(counts)} class, expected at least 2; add a site with others")
    cross = 2 * (counts[:, None] * (statistics.class_means - statistics.mean)).T
    values, vectors = np.linalg.eigh(statistics.scatter)
    values = np.maximum(values, 0.0)
    projected = np.square(vectors.T @ cross).sum(axis=1)
    total = float((4 * counts * (1 - counts / n)).sum())
    scores = [_score(float(alpha), values, projected, total, n) for alpha in alphas]
    return alphas[int(np.argmin(scores))], scores


def _score(
    alpha: float, values: npt.NDArray[np.float64], projected: npt.NDArray[np.float64], total: float, n: float
) -> float:
    shrunk = values + alpha
    residual = total - float((projected * (values + 2 * alpha) / np.square(shrunk)).sum())
    free = n - 1 - float((values / shrunk).sum())
    return n * max(residual, 0.0) / free**2 if free > 1e-9 * n else float("inf")
