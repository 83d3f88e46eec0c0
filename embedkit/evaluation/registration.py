"""Whether two pictures are one, re-encoded, resized or slightly cropped: told from 32 x 32 pixels of each alone.

A crop of a picture, squashed into the same square, is the picture scaled and shifted a little in each direction. So one
picture is laid over the other (Lucas and Kanade, 1981: the scales and shifts that leave the least squares, found by a
few steps of Gauss and Newton, first on blurred pixels), and what they then have in common is the correlation of their
details: neither of their brightness, which photographs of one shelf share, nor of single pixels, which resizing
changes.

Layer: evaluation; NumPy only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

SIDE = 32
MOST_MOVED = 0.16
"""Of scales and shifts, where the half side of a picture is 1: a crop by a tenth of one side moves both by a tenth."""

_COARSE_SIDE = 16
_COARSE_LIKENESS = 0.75
"""Least correlation of blurred grey pixels after the first registration; what is below is not looked at again. Of crops
by a twentieth it is above 0.9."""
_SOFTER = 0.0, 0.6
"""Standard deviations, in pixels, by which one of two pictures is blurred: a picture of 32 x 32 that was saved in half
its size has lost so much."""
_WORTH_ANOTHER_LOOK = 0.8
"""Least correlation of two pictures for which the other is moved, and either blurred: it grows by less than 0.05."""
_STEPS = 5
_LONGEST_STEP = 0.1
# Pairs of a block: some tens of megabytes.
_BLOCK = 256


def signatures(pixels: Float32) -> Float32:
    """Give what candidates are found by: blurred 8 x 8 pixels, less the mean of each colour, of length 1.

    Parameters
    ----------
    pixels : ndarray of shape (n, 3, 32, 32), float32

    Returns
    -------
    ndarray of shape (n, 192), float32
        Zeros for a picture of one colour.
    """
    small = _pooled(_blurred(pixels, 1.5), 8)
    centred = (small - small.mean((2, 3), keepdims=True)).reshape(len(pixels), -1)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)


def likeness(pixels: Float32, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> Float32:
    """Give the correlation of details of pairs of pictures, once they are laid over each other.

    Where that comes near, each is laid over the other, and each is blurred a little besides, as a picture is that was
    made smaller; the best counts, so that neither the order of two pictures nor their sharpness decides.

    Parameters
    ----------
    pixels : ndarray of shape (n, 3, 32, 32), float32
    first, second : ndarray of shape (n_pairs,), intp

    Returns
    -------
    ndarray of shape (n_pairs,), float32
        At most 1; 0 for pairs that do not come to lie over each other.
    """
    found = _laid_over(pixels, first, second, (0.0,))
    near = np.flatnonzero(found >= _WORTH_ANOTHER_LOOK)
    one, other = first[near], second[near]
    found[near] = np.maximum(_laid_over(pixels, one, other, _SOFTER), _laid_over(pixels, other, one, _SOFTER))
    return found


def _laid_over(
    pixels: Float32, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp], softer: tuple[float, ...]
) -> Float32:
    found = np.zeros(len(first), np.float32)
    for block in _blocks(len(first)):
        A, B = pixels[first[block]], pixels[second[block]]
        moved = np.zeros((len(A), 4), np.float32)
        coarse = [_pooled(_blurred(X.mean(1, keepdims=True), 2.0), _COARSE_SIDE)[:, 0] for X in (A, B)]
        moved, like = _registered(coarse[0], coarse[1], moved)
        near = np.flatnonzero((like >= _COARSE_LIKENESS) & (np.abs(moved) <= 2 * MOST_MOVED).all(axis=1))
        if not len(near):
            continue
        pair = A[near], B[near]
        fine = [_blurred(X.mean(1, keepdims=True), 1.0)[:, 0] for X in pair]
        moved, _ = _registered(fine[0], fine[1], moved[near])
        allowed = (np.abs(moved) <= MOST_MOVED).all(axis=1)
        details = [[_details(X, blur) for X in pair] for blur in softer]
        for softened in details:
            for one, other in ((softened[0], details[0][1]), (details[0][0], softened[1])):
                laid, seen = _moved(one, moved[:, None])
                like = np.where(allowed, _correlation(laid, other, seen[:, None]), 0)
                found[block][near] = np.maximum(found[block][near], like)
    return found


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, _BLOCK):
        yield slice(start, start + _BLOCK)


def _registered(A: Float32, B: Float32, moved: Float32) -> tuple[Float32, Float32]:
    """Move grey pictures of shape (n, side, side) over others; give the movements (n, 4) and the correlations (n,)."""
    side = A.shape[-1]
    across, down = np.gradient(A, axis=2) * (side / 2), np.gradient(A, axis=1) * (side / 2)
    at = _places(side)
    for _ in range(_STEPS):
        laid, seen = _moved(A, moved)
        slope_x, slope_y = _moved(across, moved)[0], _moved(down, moved)[0]
        # By how much a scale, a shift, contrast and brightness change what is seen.
        parts = [slope_x * at, slope_x, slope_y * at[:, None], slope_y, laid, np.ones_like(laid)]
        J = (np.stack(parts, axis=1) * seen[:, None]).reshape(len(A), 6, -1)
        squares = (J @ J.transpose(0, 2, 1)).astype(np.float64)
        size = np.trace(squares, axis1=1, axis2=2)[:, None, None]
        squares += (1e-6 * size + 1e-9) * np.eye(6)
        wanted = (J @ (B - laid).reshape(len(A), -1, 1)).astype(np.float64)
        solved = cast(npt.NDArray[np.float64], np.linalg.solve(squares, wanted))
        step = solved[:, :4, 0].clip(-_LONGEST_STEP, _LONGEST_STEP).astype(np.float32)
        moved = (moved + step).clip(-0.5, 0.5).astype(np.float32)
    laid, seen = _moved(A, moved)
    return moved, _correlation(laid[:, None], B[:, None], seen[:, None])


def _moved(A: Float32, moved: Float32) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """Give pictures (..., side, side) as they are seen scaled and shifted, and where that is inside of them."""
    across, seen_across = _weights(A.shape[-1], moved[..., 0], moved[..., 1])
    down, seen_down = _weights(A.shape[-1], moved[..., 2], moved[..., 3])
    seen = seen_down[..., :, None] & seen_across[..., None, :]
    laid = (down @ A @ np.swapaxes(across, -1, -2)).astype(np.float32, copy=False)
    return laid, seen[:, 0] if moved.ndim == 3 else seen


def _weights(side: int, scale: Float32, shift: Float32) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """Give the weights (..., side, side) of linear interpolation along one side, and which places are inside."""
    last = side - 1
    places = ((1 + scale)[..., None] * _places(side) + shift[..., None]) * (side / 2) + last / 2
    seen = (places >= -0.01) & (places <= last + 0.01)
    apart = np.abs(places.clip(0, last)[..., None] - np.arange(side, dtype=np.float32))
    return np.maximum(0, 1 - apart).astype(np.float32), seen


def _places(side: int) -> Float32:
    return ((np.arange(side) - (side - 1) / 2) / (side / 2)).astype(np.float32)


def _correlation(A: Float32, B: Float32, seen: npt.NDArray[np.bool_]) -> Float32:
    """Give the correlation of pictures (n, channels, side, side) where they are seen, less each channel's mean."""
    count = np.maximum(seen.sum((2, 3), keepdims=True), 1)
    parts = [np.where(seen, X - (X * seen).sum((2, 3), keepdims=True) / count, 0) for X in (A, B)]
    lengths = np.sqrt((parts[0] ** 2).sum((1, 2, 3)) * (parts[1] ** 2).sum((1, 2, 3)))
    return ((parts[0] * parts[1]).sum((1, 2, 3)) / np.maximum(lengths, 1e-6)).astype(np.float32)


def _blurred(X: Float32, width: float) -> Float32:
    """Blur by a Gaussian with this standard deviation in pixels."""
    side = X.shape[-1]
    places = np.arange(side, dtype=np.float64)
    weights = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
    K = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return K @ X @ K.T


def _details(X: Float32, blur: float) -> Float32:
    """Give what is left of pictures without their finest and without their coarse parts."""
    return _blurred(X, float(np.hypot(1.0, blur))) - _blurred(_blurred(X, 1.0), 3.0)


def _pooled(X: Float32, side: int) -> Float32:
    step = X.shape[-1] // side
    return X.reshape(*X.shape[:-2], side, step, side, step).mean((-3, -1))
