"""What conformal estimators have in common: rows that are held out, and how rare a score is among theirs.

Layer: imports NumPy, embedkit.errors and its own room.

References
----------
V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, Springer, 2005.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import sklearn.utils
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64, Indices


def held_out_rows(
    y: NDArray[Any], share: float, random_state: Any, groups: NDArray[Any] | None = None
) -> tuple[Indices, Indices]:
    """Draw the rows that calibrate from the rest, which is fitted on; groups stay whole.

    One row of each class, drawn at random, always stays in the rest, so that no class is unknown to a fit.

    Returns
    -------
    rest, held_out : ndarray of intp, ascending

    Raises
    ------
    UsageError
        The share is none, or too few rows are left for one side.
    """
    if not 0 < share < 1:
        raise UsageError(f"calibration={share!r}, expected a share of the rows between 0 and 1")
    random = cast(Any, sklearn.utils).check_random_state(random_state)
    units = np.arange(len(y)) if groups is None else np.unique(_alone(groups), return_inverse=True)[1]
    order = random.permutation(int(units.max()) + 1)
    place = np.argsort(order)[units]  # of the unit of each row in the random order
    wanted = max(1, round(share * len(order)))
    kept = np.zeros(len(order), np.bool_)
    for label in np.unique(y):
        kept[units[y == label][place[y == label].argmax()]] = True
    free = order[~kept[order]][:wanted]
    chosen = np.isin(units, free)
    if not chosen.any() or chosen.all():
        raise UsageError(
            f"n_samples={len(y)} are too few to hold some out for calibration, beside one of each class; give more"
        )
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _alone(groups: NDArray[Any]) -> NDArray[Any]:
    """Give rows without a group (``""``) one of their own."""
    names = np.asarray(groups).astype(object)
    return np.array([f"group {name}" if name != "" else f"row {row}" for row, name in enumerate(names)])


def rarity(calibrated: Float64, scores: Float64) -> Float64:
    """Give conformal p-values: the share of rows at least as strange, the row itself among them.

    Parameters
    ----------
    calibrated : ndarray of shape (n_held_out,), ascending
        Scores of the rows held out; larger is stranger.
    scores : ndarray of any shape
    """
    at_least = len(calibrated) - np.searchsorted(calibrated, scores, side="left")
    return np.asarray((1.0 + at_least) / (1.0 + len(calibrated)), np.float64)
