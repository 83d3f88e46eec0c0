"""A metric of some rows, and how much each of them moves it.

Layer: evaluation; NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from embedkit.evaluation.predictions import Float64


class Estimate(NamedTuple):
    """A metric of some rows.

    Attributes
    ----------
    value : float
        NaN where the metric is not defined.
    influence : ndarray of shape (n_rows,), float64, or None
        None where it would say nothing: the metric has no slope, or is not defined.
    bias : float
        What the value exceeds that of many rows by, as the jackknife finds it (M. H. Quenouille, Notes on bias in
        estimation, Biometrika 43, 1956); 0 where it is small.
    """

    value: float
    influence: Float64 | None = None
    bias: float = 0.0


UNDEFINED = Estimate(float("nan"))


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Average over what is defined; undefined of nothing."""
    if not estimates:
        return UNDEFINED
    influences = [one.influence for one in estimates if one.influence is not None]
    influence = sum(influences[1:], influences[0]) / len(estimates) if len(influences) == len(estimates) else None
    value, bias = (float(part) for part in np.mean([(one.value, one.bias) for one in estimates], axis=0))
    return Estimate(value, influence, bias)
