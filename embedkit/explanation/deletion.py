"""Does a map find what matters? Places are covered, those first that it holds for the most important.

If the map is right, the score falls faster than when places are covered in random order (Petsiuk et al. 2018,
arXiv:1806.07421).

Layer: explanation; above occlusion. NumPy only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedkit.explanation.occlusion import Scores, covered

FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
RANDOM_ORDERS = 4


def deletion_curve(
    pixels: npt.NDArray[np.uint8], contributions: npt.NDArray[np.float64], scores: Scores, *, seed: int = 0
) -> tuple[list[float], list[float], list[float]]:
    """Give the score as more and more places are covered.

    Parameters
    ----------
    pixels : ndarray of shape (3, height, width), uint8
    contributions : ndarray of shape (rows, columns), float64
    scores : callable
    seed : int
        Draws the random orders.

    Returns
    -------
    fractions : list of float
        Of the places that are covered, 0 to 1.
    by_map, at_random : list of float
        The score at each, those first that contribute most, and the mean over random orders.
    """
    places = contributions.size
    rng = np.random.default_rng(seed)
    orders = [
        np.argsort(-contributions, axis=None, kind="stable"),
        *(rng.permutation(places) for _ in range(RANDOM_ORDERS)),
    ]
    covers = np.zeros((len(orders), len(FRACTIONS), places), bool)
    for order, cover in zip(orders, covers, strict=True):
        for step, fraction in enumerate(FRACTIONS):
            cover[step, order[: round(fraction * places)]] = True
    found = scores(covered(pixels, covers.reshape(-1, *contributions.shape))).reshape(len(orders), len(FRACTIONS))
    return list(FRACTIONS), found[0].tolist(), found[1:].mean(axis=0).tolist()
