"""Images with nothing to see, too dark, too small, oddly shaped, or with a part missing; and images unlike all others.

Layer: auditing; above images (what they look like) and the estimators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from embedkit.estimators import NearestRows
from embedkit.images import Looks
from embedkit.results import Finding, FindingKind, Skipped

_BLANK_VARIATION = 3.0
"""Standard deviation of every channel, 0 to 255, below which there is nothing to see."""

_DARK_BRIGHTNESS, _DARK_CONTRAST = 24.0, 24.0
_TINY_SIDE, _TINY_SHARE = 32, 0.125
"""A side below this, or below this share of the usual one."""

_ODD_ASPECT = 2.5
"""How many times longer or wider than the usual shape."""

_NEIGHBOURS = 10
_FAR_SCALES, _MOST_OUTLIERS = 4.0, 0.02
"""Robust standard deviations beyond the median, and the largest share of the images that is reported."""


def appearance(keys: Sequence[str], looks: Looks) -> list[Finding]:
    """Judge images by what they look like.

    Parameters
    ----------
    keys : sequence of str of length n
    looks : Looks
        Of the same images.
    """
    short = np.fmin(looks.width, looks.height)
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.log(looks.width / looks.height)
    usual_short, usual_shape = _median(short), _median(shape)
    blank = looks.variation < _BLANK_VARIATION
    dark = ~blank & (looks.brightness < _DARK_BRIGHTNESS) & (looks.contrast < _DARK_CONTRAST)
    tiny = (short < _TINY_SIDE) | (short < _TINY_SHARE * usual_short)
    odd = np.abs(shape - usual_shape) > np.log(_ODD_ASPECT)
    filled = ~blank & (looks.filled > 0)
    found: list[Finding] = []

    def add(kind: FindingKind, rows: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], said: str) -> None:
        listed = np.flatnonzero(rows)
        for row in cast("list[int]", listed[np.argsort(-scores[listed], kind="stable")].tolist()):
            size = f"{looks.width[row]:.0f} x {looks.height[row]:.0f}"
            words = said.format(
                size=size,
                brightness=looks.brightness[row],
                variation=looks.variation[row],
                filled=100 * looks.filled[row],
                usual=usual_short,
                ratio=float(np.exp(abs(shape[row] - usual_shape))),
            )
            found.append(Finding(kind, keys[row], "", float(scores[row]), words))

    add("blank", blank, 1 - looks.variation / _BLANK_VARIATION, "colours vary by {variation:.1f} of 255")
    add("dark", dark, 1 - looks.brightness / 255, "mean brightness {brightness:.0f} of 255")
    with np.errstate(divide="ignore", invalid="ignore"):
        add("tiny", tiny, 1 - short / usual_short, "{size} pixels; the short side is usually {usual:.0f}")
    add("aspect", odd, np.abs(shape - usual_shape), "{size} pixels: {ratio:.1f} times as long as the usual shape")
    add("truncated", filled, looks.filled, "the lowest {filled:.0f} % are the grey that decoders fill gaps with")
    add("truncated", looks.cut & ~filled, np.where(looks.cut, 0.5, 0.0), "the file lacks the mark at its end")
    return found


def unreadable(failures: Sequence[Skipped]) -> list[Finding]:
    """Report the images without features whose file ends too early."""
    return [Finding("truncated", key, "", 1.0, reason) for key, reason in failures if "truncated" in reason]


def outliers(keys: Sequence[str], X: npt.NDArray[np.float32]) -> list[Finding]:
    """Find images whose features are far from all others.

    The distance is the mean of 1 - cosine to the ten nearest after subtracting the mean; far is what lies more than
    four robust standard deviations above the median of its logarithm.

    Parameters
    ----------
    keys : sequence of str of length n
    X : ndarray of shape (n, n_features), float32
    """
    k = min(_NEIGHBOURS, len(X) - 1)
    if k < 1:
        return []
    centred = X - X.mean(axis=0)
    distances, near = NearestRows(centred, "cosine").search(centred, k + 1)
    own = near == np.arange(len(X))[:, None]
    own[~own.any(axis=1), -1] = True  # among equal copies a row may miss itself
    away = np.log(np.maximum(distances[~own].reshape(len(X), k).mean(axis=1, dtype=np.float64), 1e-6))
    nearest = near[~own].reshape(len(X), k)[:, 0]
    middle = float(np.median(away))
    scale = 1.4826 * float(np.median(np.abs(away - middle)))
    if scale <= 0:
        return []
    score = (away - middle) / scale
    order = np.argsort(-score, kind="stable")[: max(1, int(_MOST_OUTLIERS * len(X)))]
    return [
        Finding(
            "outlier",
            keys[row],
            keys[int(nearest[row])],
            float(score[row]),
            f"mean cosine to its {k} nearest images {1 - np.exp(away[row]):.2f}; usual {1 - np.exp(middle):.2f}",
        )
        for row in cast("list[int]", order.tolist())
        if score[row] > _FAR_SCALES
    ]


def _median(values: npt.NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan
