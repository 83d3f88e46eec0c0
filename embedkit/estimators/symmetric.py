"""Symmetric matrices: scatter of rows, eigendecomposition.

Layer: imports NumPy, SciPy and estimators.arrays.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import scipy.linalg
import scipy.linalg.blas

from embedkit.estimators.arrays import Float64


def scatter_of(centred: Float64, weights: Float64) -> Float64:
    """Compute sum_i w_i x_i x_i' of centred rows (n, d); by symmetry, half of the products."""
    scaled = centred if (weights == 1).all() else centred * np.sqrt(weights)[:, None]
    upper = cast(Float64, cast(Any, scipy.linalg.blas).dsyrk(1.0, scaled.T))
    return upper + np.triu(upper, 1).T


def eigh(matrix: Float64) -> tuple[Float64, Float64]:
    """Decompose a positive semi-definite matrix: eigenvalues (descending, not negative) and eigenvectors."""
    eigenvalues, vectors = cast(tuple[Float64, Float64], cast(Any, scipy.linalg).eigh(matrix))
    return np.maximum(eigenvalues[::-1], 0.0), np.ascontiguousarray(vectors[:, ::-1])
