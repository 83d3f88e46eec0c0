"""Whether further labels pay: accuracy of smaller parts of the labels, continued.

Layer: labelling; above evaluation and the estimators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import scipy.optimize
from sklearn.model_selection import KFold

from embedkit.evaluation import mean_interval
from embedkit.labelling.few import fitted_on_few

_FOLDS, _REPEATS = 5, 5
_SHARES = (0.25, 0.5, 0.75, 1.0)
LEAST_ROWS = 20
"""Labels below which nothing is said."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What labels have brought and will bring.

    Attributes
    ----------
    accuracy : float
        Out of fold, of the labelled images.
    gain : float
        What `more` labels are expected to add to it.
    interval : (float, float)
        95 % over draws of folds and parts.
    more : int
    """

    accuracy: float
    gain: float
    interval: tuple[float, float]
    more: int


def outlook(X: npt.NDArray[np.float32], y: npt.NDArray[np.str_], more: int) -> Outlook | None:
    """Say what further labels are expected to bring, by the errors of classifiers that see a part of the labels.

    The error of n labels is taken as a + b / sqrt(n), a and b not negative, fitted to a quarter, half, three quarters
    and all of the rows of each fit. Images that were chosen for being hard are among those tested, so the accuracy is
    rather too low.

    Parameters
    ----------
    X : ndarray of shape (n_labels, n_features), float32
    y : ndarray of shape (n_labels,), str

    Returns
    -------
    Outlook or None
        None of fewer than 20 labels, or of one class.
    """
    n = len(y)
    if n < LEAST_ROWS or len(np.unique(y)) < 2 or more < 1:
        return None
    accuracies, gains = list[float](), list[float]()
    for repeat in range(_REPEATS):
        random = np.random.default_rng(repeat)
        wrong: dict[float, list[float]] = {share: [] for share in _SHARES}
        sizes: dict[float, list[int]] = {share: [] for share in _SHARES}
        for train, test in cast(Any, KFold(_FOLDS, shuffle=True, random_state=repeat)).split(X):
            train = random.permutation(train)
            for share in _SHARES:
                part = train[: max(2, round(share * len(train)))]
                wrong[share].append(_error(X[part], y[part], X[test], y[test]))
                sizes[share].append(len(part))
        at = np.array([float(np.mean(sizes[share])) for share in _SHARES])
        errors = np.array([float(np.mean(wrong[share])) for share in _SHARES])
        (_, slope), _ = cast(Any, scipy.optimize).nnls(np.column_stack([np.ones(len(at)), at**-0.5]), errors)
        accuracies.append(1 - float(errors[-1]))
        gains.append(float(slope) * (n**-0.5 - (n + more) ** -0.5))
    return Outlook(float(np.mean(accuracies)), float(np.mean(gains)), mean_interval(gains), more)


def _error(
    X: npt.NDArray[np.float32], y: npt.NDArray[np.str_], X_test: npt.NDArray[np.float32], y_test: npt.NDArray[np.str_]
) -> float:
    if len(np.unique(y)) < 2:
        return float((y_test != y[0]).mean())
    return float((fitted_on_few(X, y).predict(X_test) != y_test).mean())
