"""Sums over rows of features, of any number: what one-pass estimators are fitted from.

Layer: probes; above probes.features and the estimators.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedkit.estimators import SufficientStatistics
from embedkit.probes.features import FeatureRows
from embedkit.probes.splits import Rows


def collected(
    features: FeatureRows,
    rows: Rows,
    target: Literal["none", "classes", "values"] = "none",
    y: npt.NDArray[Any] | None = None,
) -> SufficientStatistics:
    """Collect the statistics of rows (ascending) in one pass; `y` has an entry for every row of the table."""
    statistics = SufficientStatistics(target)
    for span, X in features.batches(rows):
        statistics.update(X, None if y is None else y[rows[span]])
    return statistics


def standardised(statistics: SufficientStatistics) -> tuple[Any, SufficientStatistics]:
    """Return scikit-learn's StandardScaler of the rows seen, and the statistics of these rows scaled by it."""
    scaler: Any = statistics.standard_scaler()
    arrays = statistics.to_arrays()
    arrays["scatter"] /= np.outer(scaler.scale_, scaler.scale_)
    if statistics.target == "classes":
        arrays["class_means"] = (arrays["class_means"] - arrays["mean"]) / scaler.scale_
    if statistics.target == "values":
        arrays["cross"] /= scaler.scale_[:, None]
    arrays["mean"] = np.zeros_like(arrays["mean"])
    return scaler, SufficientStatistics.from_arrays(arrays)
