"""Statistics of standardised features from those of the features as they are, without another pass.

Layer: imports NumPy and its own room.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedkit.estimators.sufficient_statistics import SufficientStatistics


def standardised(statistics: SufficientStatistics) -> tuple[list[tuple[str, Any]], SufficientStatistics]:
    """Return scikit-learn's StandardScaler of the rows seen, as a step, and the statistics of these rows scaled."""
    scaler: Any = statistics.standard_scaler()
    arrays = statistics.to_arrays()
    arrays["scatter"] /= np.outer(scaler.scale_, scaler.scale_)
    with np.errstate(over="ignore"):
        arrays["drift"] = arrays["drift"] / scaler.scale_.min() ** 2
    if statistics.by_class:
        arrays["class_scatter"] /= np.outer(scaler.scale_, scaler.scale_)
    if statistics.target == "classes":
        arrays["class_means"] = (arrays["class_means"] - arrays["mean"]) / scaler.scale_
    if statistics.target == "values":
        arrays["cross"] /= scaler.scale_[:, None]
    arrays["mean"] = np.zeros_like(arrays["mean"])
    return [("scale", scaler)], SufficientStatistics.from_arrays(arrays)
