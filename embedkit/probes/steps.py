"""Steps of a Pipeline: fitted one after the other, and asked for predictions block by block.

Layer: probes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.estimators import fit_on, fit_transform_on
from embedkit.evaluation import FeatureRows, Predicted, PredictedLabels, Rows, Steps, TableLabels, joined, spread
from embedkit.results import Candidate

Params = dict[str, Any]


def best_of(scores: Sequence[float]) -> int:
    """Return the position of the best score; of equals the first, which is to be the most regularised."""
    return int(np.argmax(scores))


def predict(steps: Steps, features: FeatureRows, rows: Rows, labels: TableLabels) -> Predicted:
    """Predict rows (ascending), block by block."""
    parts = [_predicted(steps, X, labels) for _, X in features.batches(rows)]
    return joined(parts) if parts else Predicted(targets=labels.targets[rows])


def predict_array(steps: Steps, X: npt.NDArray[np.float32], labels: TableLabels) -> PredictedLabels:
    """Predict features that are at hand: labels, values, or a score for each class."""
    final, features = steps[-1][1], _transformed(steps, X)
    return _marked(final, features)[0] if labels.kind == "multilabel" else final.predict(features)


def _transformed(steps: Steps, X: npt.NDArray[np.float32]) -> Any:
    features: Any = X
    for _, step in steps[:-1]:
        features = step.transform(features)
    return features


def _predicted(steps: Steps, X: npt.NDArray[np.float32], labels: TableLabels) -> Predicted:
    final, features = steps[-1][1], _transformed(steps, X)
    if labels.kind == "multilabel":
        scores, threshold = _marked(final, features)
        return Predicted(targets=scores > threshold, scores=scores)
    said = final.predict(features)
    if labels.kind == "value":
        return Predicted(targets=np.asarray(said, dtype=np.float64))
    scores, are_probabilities = _scores(final, features) if labels.scored else (None, False)
    if scores is not None:
        absent = 0.0 if are_probabilities else -np.inf
        scores = spread(scores, labels.encode(final.classes_), len(labels.classes), absent)
    return Predicted(targets=labels.encode(said), scores=scores, are_probabilities=are_probabilities)


def _marked(final: Any, features: Any) -> tuple[npt.NDArray[np.float64], float]:
    """Return scores of several labels, and above which score a row has one."""
    for name, threshold in (("decision_function", 0.0), ("predict_proba", 0.5)):
        if hasattr(final, name):
            return np.asarray(getattr(final, name)(features), dtype=np.float64), threshold
    return np.asarray(final.predict(features), dtype=np.float64), 0.5  # marks, or a regression on them


def _scores(final: Any, features: Any) -> tuple[npt.NDArray[Any] | None, bool]:
    """Return scores of the classes that a classifier knows, or None, and whether they are probabilities."""
    if hasattr(final, "predict_proba"):
        return np.asarray(final.predict_proba(features)), True
    if not hasattr(final, "decision_function") or _scores_pairs(final):
        return None, False
    scores = np.asarray(final.decision_function(features))
    return (np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores), False


def _scores_pairs(final: Any) -> bool:
    """Whether the scores are of pairs of classes, not of classes."""
    params = cast(dict[str, Any], final.get_params())
    return any(name.rpartition("__")[2] == "decision_function_shape" and params[name] == "ovo" for name in params)


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


def candidates_of(name: str, values: Sequence[float], scores: Sequence[float]) -> list[Candidate]:
    """Say how the values of one hyper-parameter did on the rows that choose."""
    return [Candidate(params={name: value}, score=float(one)) for value, one in zip(values, scores, strict=True)]
