"""Affine maps, and how several of them become one.

Layer: deployment, its bottom. Imports numpy only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Affine:
    """x -> (x - centre) @ matrix.T + offset, in float64.

    The centre is kept apart, since features may lie far from 0 compared with how much they vary: ``x @ matrix.T`` alone
    would lose in float32 what the offset then takes away.

    Attributes
    ----------
    centre : float64 (d,)
    matrix : float64 (k, d)
    offset : float64 (k,)
    """

    centre: Floats
    matrix: Floats
    offset: Floats

    @classmethod
    def linear(cls, matrix: npt.ArrayLike, offset: npt.ArrayLike) -> Affine:
        """Return x -> x @ matrix.T + offset; a vector is a matrix of one row."""
        rows: Floats = np.atleast_2d(np.asarray(matrix, np.float64))
        return cls(np.zeros_like(rows[0]), rows, np.broadcast_to(np.asarray(offset, np.float64), len(rows)))

    @classmethod
    def of(cls, function: Callable[[Floats], npt.ArrayLike], centre: npt.ArrayLike) -> Affine:
        """Read an affine function off what it makes of the centre and of unit steps away from it.

        Parameters
        ----------
        function : callable
            float64 (n, d) to (n, k).
        centre : array-like of shape (d,)
        """
        middle = np.asarray(centre, np.float64)
        offset = np.asarray(function(middle[None]), np.float64)[0]
        # Steps as large as the centre is far from 0, so that adding one to the other loses nothing of it.
        steps = np.maximum(1.0, np.abs(middle))
        moved = np.asarray(function(middle + np.diag(steps)), np.float64)
        return cls(middle, ((moved - offset) / steps[:, None]).T, offset)

    def then(self, after: Affine) -> Affine:
        """Return the map that does this one first and `after` next."""
        return Affine(
            self.centre, after.matrix @ self.matrix, after.matrix @ (self.offset - after.centre) + after.offset
        )

    def rounded(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return centre, matrix and offset in float32; the offset makes up for the rounding of the centre."""
        centre = self.centre.astype(np.float32)
        offset = self.offset + self.matrix @ (centre - self.centre)
        return centre, self.matrix.astype(np.float32), offset.astype(np.float32)
