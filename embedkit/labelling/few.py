"""A classifier on few labels.

Layer: labelling; above the estimators.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.estimators import LogisticRegression


def fitted_on_few(X: npt.NDArray[np.float32], y: npt.NDArray[Any]) -> LogisticRegression:
    """Fit logistic regression on rows as `in_few_directions` gives them."""
    with warnings.catch_warnings():
        # Few labels of many classes are what is asked for here.
        warnings.filterwarnings("ignore", message="The number of unique classes is greater")
        return LogisticRegression(C=1.0).fit(X, y)
