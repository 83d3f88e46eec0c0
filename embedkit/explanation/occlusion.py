"""Which places matter, by covering them: for features and heads that cannot be taken apart.

A window over two places by two slides over the image in steps of one place and shows the mean colour of the crop
instead; what the score loses is shared by the places that were covered (Zeiler and Fergus 2014, arXiv:1311.2901).

Layer: explanation. NumPy only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

GRID = 8
"""Places along each side."""

Scores = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float64]]
"""(n, 3, height, width) pixels -> (n,) scores of the class that is explained."""


def occlusion_map(pixels: npt.NDArray[np.uint8], scores: Scores, grid: int = GRID) -> npt.NDArray[np.float64]:
    """Give the mean loss of the score when a place is covered.

    Parameters
    ----------
    pixels : ndarray of shape (3, height, width), uint8
    scores : callable
    grid : int
        Places along each side.

    Returns
    -------
    ndarray of shape (grid, grid), float64
    """
    starts = range(-1, grid)
    windows = [(row, column) for row in starts for column in starts]
    covers = np.zeros((len(windows), grid, grid), bool)
    for cover, (row, column) in zip(covers, windows, strict=True):
        cover[max(row, 0) : row + 2, max(column, 0) : column + 2] = True
    lost = scores(pixels[None])[0] - scores(covered(pixels, covers))
    return np.tensordot(lost, covers, axes=1) / covers.sum(axis=0)


def covered(pixels: npt.NDArray[np.uint8], covers: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Show the mean colour of an image in some places of it.

    Parameters
    ----------
    pixels : ndarray of shape (3, height, width), uint8
    covers : ndarray of shape (n, rows, columns), bool

    Returns
    -------
    ndarray of shape (n, 3, height, width), uint8
    """
    _, height, width = pixels.shape
    rows = np.array([row * covers.shape[1] // height for row in range(height)])
    columns = np.array([column * covers.shape[2] // width for column in range(width)])
    colour = np.rint(pixels.reshape(3, -1).mean(axis=1)).astype(np.uint8)
    hidden = covers[:, rows][:, :, columns]
    return np.where(hidden[:, None], colour[:, None, None], pixels[None])
