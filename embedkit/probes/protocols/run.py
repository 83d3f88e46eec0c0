"""What a run of a protocol on a table gives: the record, and the predictions that comparisons need.

Layer: probes.protocols; above probes.records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import Float64
from embedkit.results import ProbeResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """A protocol on a table.

    Attributes
    ----------
    result : ProbeResult
    tested : ndarray of shape (n_test,), intp
        Rows of the table that were judged.
    predictions : ndarray of shape (n_test,), or (n_test, n_draws) for protocols of several draws
        Labels (object or str), values (float64), or for several labels a row marks of shape (n_test, n_classes), bool.
    per_image : ndarray of shape (n_test,), float64
        What paired tests compare, larger is better: 1 or 0 for right or wrong (over several draws, or several labels a
        row, their mean); for values minus the squared error.
    """

    result: ProbeResult
    tested: npt.NDArray[np.intp]
    predictions: npt.NDArray[Any]
    per_image: Float64
