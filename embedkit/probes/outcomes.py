"""What one estimator gives on one split: the choice, the fitted steps, the predictions.

Layer: probes; above probes.features and probes.tasks.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.estimators.array_api import fit_on, fit_transform_on
from embedkit.probes.features import FeatureRows
from embedkit.probes.splits import Rows
from embedkit.probes.tasks import Predictions, Task

Steps = list[tuple[str, Any]]
Params = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One estimator on one split.

    Attributes
    ----------
    params : dict
        The chosen hyper-parameters; empty where there was nothing to choose.
    at_edge : bool
        One of them lies at an end of its grid.
    converged : bool
        Every fit reached its optimum.
    steps : list of (str, estimator)
        Fitted on the training rows; empty where they would have to hold features larger than memory.
    predictions : ndarray
        Of the test rows.
    """

    params: Params
    at_edge: bool
    converged: bool
    steps: Steps
    predictions: Predictions


def best_of(scores: Sequence[float]) -> int:
    """Return the position of the best score; of equals the first, which is to be the most regularised."""
    return int(np.argmax(scores))


def predict(steps: Steps, features: FeatureRows, rows: Rows, task: Task) -> Predictions:
    """Predict rows (ascending), block by block."""
    parts = [predict_array(steps, X, task) for _, X in features.batches(rows)]
    return np.concatenate(parts) if parts else task.y[rows]


def predict_array(steps: Steps, X: npt.NDArray[np.float32], task: Task) -> Predictions:
    """Predict features that are at hand: labels, values, or a score for each class."""
    features: Any = X
    for _, step in steps[:-1]:
        features = step.transform(features)
    final = steps[-1][1]
    if task.kind != "multilabel":
        return final.predict(features)
    for name in ("decision_function", "predict_proba"):
        if hasattr(final, name):
            return np.asarray(getattr(final, name)(features))
    return np.asarray(final.predict(features))


def fit_steps(steps: Steps, X: npt.NDArray[Any], y: npt.NDArray[Any], device: str | None = None) -> bool:
    """Fit steps one after the other; return whether all fits converged.

    With a device, steps that can are fitted on tensors there; see `embedkit.estimators.array_api`.
    """
    from sklearn.exceptions import ConvergenceWarning

    features: Any = X
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        # A class that no training row has, or all have: its score is constant, and the notes say so.
        warnings.filterwarnings("ignore", message=r"Label .* is present in all training examples")
        for _, step in steps[:-1]:
            features = fit_transform_on(device, step, features, y)
        fit_on(device, steps[-1][1], features, y)
    failed = [warning for warning in caught if issubclass(warning.category, ConvergenceWarning)]
    for warning in caught:
        if warning not in failed:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return not failed
