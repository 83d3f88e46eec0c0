"""Centred features in the eigenbasis of their Gram matrix: the coordinates in which a linear model is easy to fit.

A linear model on X and one on T = (X - mean) V have the same optimum for every penalty of the form ||W||^2 as long as
V is orthonormal and spans the rows: W_X = W_T V', and the intercept takes up the mean. In these coordinates the Gram
matrix is diagonal, so a preconditioner costs nothing to apply, directions without any variance fall away, and n < d
needs n columns only. Nothing is lost: this is a change of variables, not an approximation.

Standardisation is folded in the same way: with T = ((X - mean) / deviation) V the penalty is the one of standardised
features, and the model is still one of X.

Layer: imports NumPy, SciPy, estimators.arrays and estimators.symmetric.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import scipy.linalg

from embedkit.estimators.arrays import Float64, Floats, Indices, release_pages
from embedkit.estimators.symmetric import eigh, scatter_of

IN_MEMORY_BYTES = 2 * 2**30
"""Above this size of X the rows are not copied; they are centred block by block in every pass instead."""

NULL_DIRECTION = 1e-26
"""Eigenvalues below this fraction of the largest are rounding (a standard deviation of 1e-13 of the largest)."""

BLOCK_ROWS = 4096


@dataclass(frozen=True)
class EigenRows:
    """Rows of features in reduced coordinates.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, p)
        T itself (then `offset` and `lift` are None), or the features as given, to be centred on the fly.
    offset : ndarray of shape (d,) or None
        What is subtracted from a block of `rows` before use.
    lift : ndarray of shape (d, r) or None
        Turns coefficients (k, r) into those of `rows`.
    mean : ndarray of shape (d,), float64
        The (weighted) mean feature; zeros if the features were not centred.
    deviation : ndarray of shape (d,), float64
        What centred features are divided by; ones if they were not standardised.
    basis : ndarray of shape (d, r), float64
        Orthonormal columns V.
    eigenvalues : ndarray of shape (r,), float64
        Weighted mean of T**2 by column.
    index : ndarray of shape (m,), intp, or None
        The rows that are used, where they are not copied.
    """

    rows: Floats
    offset: Floats | None
    lift: Float64 | None
    mean: Float64
    deviation: Float64
    basis: Float64
    eigenvalues: Float64
    index: Indices | None = None

    def take(self, index: Indices) -> EigenRows:
        """Give some of the rows, in the same coordinates (the eigenvalues stay those of all rows)."""
        if self.offset is None:
            return replace(self, rows=self.rows[index])
        return replace(self, index=index if self.index is None else self.index[index])

    def without_rows(self) -> EigenRows:
        """Give the coordinates alone."""
        return replace(self, rows=np.empty((0, self.raised_width), self.rows.dtype), index=None)

    def block(self, span: slice, dtype: np.dtype[Any]) -> Floats:
        """Return a block of rows to multiply with `raised` coefficients, centred, of the given type."""
        block = (self.rows[span] if self.index is None else self.rows[self.index[span]]).astype(dtype, copy=False)
        if self.offset is None:
            return block
        centred = block - self.offset.astype(dtype, copy=False)
        release_pages(self.rows)
        return centred

    def selected(self) -> Floats:
        """Return all rows that are used, neither centred nor converted."""
        return self.rows if self.index is None else self.rows[self.index]

    @property
    def raised_width(self) -> int:
        """Number of columns of a block."""
        return self.rows.shape[1]

    def raised(self, coefficients: Float64) -> Float64:
        """Turn coefficients (k, r) into those that a block is multiplied with."""
        return coefficients if self.lift is None else coefficients @ self.lift.T

    def lowered(self, gradient: Float64) -> Float64:
        """Turn a gradient with respect to `raised` coefficients into one of shape (k, r)."""
        return gradient if self.lift is None else gradient @ self.lift

    def reduced(self, features: Floats) -> Floats:
        """Bring other rows of features, float32 or float64 (n, d), into these coordinates, (n, r)."""
        return (((features.astype(np.float64) - self.mean) / self.deviation) @ self.basis).astype(features.dtype)

    def features_model(self, coefficients: Float64, intercepts: Float64) -> tuple[Float64, Float64]:
        """Turn a model of T into the same model of the features: coefficients (k, d), intercepts (k,)."""
        original = coefficients @ self.basis.T / self.deviation
        return original, intercepts - original @ self.mean


def eigen_rows(features: Floats, weights: Float64, *, center: bool, standardize: bool = False) -> EigenRows:
    """Bring features into the eigenbasis of their weighted Gram matrix.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features), float32 or float64
    weights : ndarray of shape (n_samples,), float64, summing to 1
        Weights of the mean and of the Gram matrix.
    center : bool
        Whether the mean is subtracted (a model with an intercept).
    standardize : bool
        Whether centred features are divided by their standard deviation; a feature without any stays as it is.
    """
    n_rows, width = features.shape
    mean = np.zeros(width)
    if center:
        for block, span in _blocks(features):
            mean += weights[span] @ block
    deviation = _deviations(features, weights, mean) if standardize else np.ones(width)
    if n_rows < width:
        return _from_few_rows(features, weights, mean, deviation)
    eigenvalues, basis = eigh(_gram(features, weights, mean, deviation))
    if features.nbytes > IN_MEMORY_BYTES:
        lift = basis / deviation[:, None]
        return EigenRows(features, mean.astype(features.dtype), lift, mean, deviation, basis, eigenvalues)
    rotated = np.empty((n_rows, len(eigenvalues)), features.dtype)
    for block, span in _blocks(features):
        # In float64: each column keeps its own relative accuracy, however small its eigenvalue.
        rotated[span] = ((block - mean) / deviation) @ basis
    return _without_null_directions(rotated, weights, mean, deviation, basis)


def _from_few_rows(features: Floats, weights: Float64, mean: Float64, deviation: Float64) -> EigenRows:
    """N < d: an orthonormal basis of the row space first, by QR, which loses no small direction."""
    centred: Float64 = (features.astype(np.float64) - mean) / deviation
    q, r = cast(tuple[Float64, Float64], cast(Any, scipy.linalg).qr(centred.T, mode="economic", overwrite_a=True))
    rows, n_rows = np.ascontiguousarray(r.T), len(features)
    _, rotation = eigh(_gram(rows, weights, np.zeros(n_rows), np.ones(n_rows)))
    rotated = (rows @ rotation).astype(features.dtype)
    basis: Float64 = q @ rotation
    return _without_null_directions(rotated, weights, mean, deviation, basis)


def _without_null_directions(
    rotated: Floats, weights: Float64, mean: Float64, deviation: Float64, basis: Float64
) -> EigenRows:
    # Measured on the columns themselves: more accurate for small directions than the eigenvalues of the Gram matrix.
    eigenvalues = np.zeros(rotated.shape[1])
    for block, span in _blocks(rotated):
        eigenvalues += weights[span] @ np.square(block)
    kept = eigenvalues > NULL_DIRECTION * eigenvalues.max(initial=0.0)
    if not kept.all():
        rotated, basis, eigenvalues = rotated[:, kept], basis[:, kept], eigenvalues[kept]
    return EigenRows(np.ascontiguousarray(rotated), None, None, mean, deviation, basis, eigenvalues)


def _deviations(features: Floats, weights: Float64, mean: Float64) -> Float64:
    variance = np.zeros(len(mean))
    for block, span in _blocks(features):
        variance += weights[span] @ np.square(block - mean)
    # What rounding leaves of a constant feature is no deviation (the bound of scikit-learn's StandardScaler).
    eps, n_rows = np.finfo(np.float64).eps, len(features)
    constant = variance <= n_rows * eps * variance + np.square(n_rows * mean * eps)
    return np.where(constant, 1.0, np.sqrt(variance))


def _gram(features: Floats, weights: Float64, mean: Float64, deviation: Float64) -> Float64:
    gram = np.zeros((features.shape[1], features.shape[1]))
    for block, span in _blocks(features):
        gram += scatter_of((block - mean) / deviation, weights[span])
    return gram


def _blocks(features: Floats) -> Iterator[tuple[Float64, slice]]:
    for start in range(0, len(features), BLOCK_ROWS):
        span = slice(start, start + BLOCK_ROWS)
        block = features[span].astype(np.float64)
        release_pages(features)
        yield block, span
