"""Sums over rows of features, of any number: what one-pass estimators are fitted from.

Layer: probes; above probes.features and the estimators.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from embedkit.estimators import SufficientStatistics
from embedkit.evaluation import FeatureRows, Rows, Steps


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


def row_space(X: npt.NDArray[np.float32], components: int | None = None) -> tuple[Steps, npt.NDArray[np.float32]]:
    """Return steps that standardise fewer rows than features and rotate them into their own space, and the result.

    With all components distances and products stay the same, hence also linear models that are penalised by the length
    of their coefficients.
    """
    count = min(X.shape) if components is None else components
    steps: Steps = [("scale", StandardScaler()), ("pca", PCA(count, svd_solver="full", random_state=0))]
    rotated: Any = X
    with np.errstate(invalid="ignore"):  # PCA's shares of the variance of features that do not vary
        for _, step in steps:
            rotated = step.fit_transform(rotated)
    return steps, rotated
