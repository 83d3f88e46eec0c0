"""What stands behind the features: one score a class, and where it is linear in the features, its weights.

Layer: explanation; above deployment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from embedkit.deployment import Affine, Decision, flattened, read_steps
from embedkit.errors import ModelExportError, UsageError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The fitted steps behind an embedder.

    Attributes
    ----------
    steps : list of (str, estimator)
    classes : list of str
        Empty for a regressor.
    weights : ndarray of shape (n_scores, n_features), float64, or None
        score = features @ weights.T + offset, one score a class; None where scores are not linear in the features.
    offset : ndarray of shape (n_scores,), float64, or None
    score : {"logit", "decision value", "probability", "value"}
        What a score is.
    """

    steps: list[tuple[str, Any]]
    classes: list[str]
    weights: Floats | None
    offset: Floats | None
    score: str

    def scores(self, features: npt.NDArray[np.float32]) -> Floats:
        """Give the scores of rows, shape (n, n_scores).

        Parameters
        ----------
        features : ndarray of shape (n, n_features), float32
        """
        if self.weights is not None and self.offset is not None:
            return features.astype(np.float64) @ self.weights.T + self.offset
        pipeline: Any = Pipeline(self.steps)
        if self.score == "value":
            return np.asarray(pipeline.predict(features), np.float64).reshape(len(features), -1)
        if self.score == "probability":
            return np.asarray(pipeline.predict_proba(features), np.float64)
        values = np.asarray(pipeline.decision_function(features), np.float64)
        return np.stack([-values, values], axis=1) if values.ndim == 1 else values


def head_of(steps: Sequence[tuple[str, Any]], width: int) -> Head:
    """Read the fitted steps behind an embedder.

    Parameters
    ----------
    steps : sequence of (str, estimator)
    width : int
        Number of features.

    Raises
    ------
    UsageError
        The last step neither predicts values nor scores classes.
    """
    kept = list(flattened(steps))
    if not kept:
        raise UsageError("the model ends with its embedder and predicts nothing; fit a classifier behind it")
    last = kept[-1][1]
    classes = [str(one) for one in getattr(last, "classes_", [])]
    linear = _linear(kept, width)
    if linear is not None:
        affine, decision = linear
        weights, offset = affine.matrix, affine.offset - affine.matrix @ affine.centre
        if decision.kind == "two classes":
            weights, offset = np.concatenate([-weights, weights]), np.concatenate([-offset, offset])
        kind = "value" if decision.kind == "values" else "logit" if hasattr(last, "predict_proba") else "decision value"
        return Head(steps=kept, classes=classes, weights=weights, offset=offset, score=kind)
    if not classes:
        kind = "value"
    elif hasattr(last, "decision_function"):
        kind = "decision value"
    elif hasattr(last, "predict_proba"):
        kind = "probability"
    else:
        raise UsageError(f"{type(last).__name__} gives no score for its classes, so that nothing says why it chose one")
    return Head(steps=kept, classes=classes, weights=None, offset=None, score=kind)


def _linear(steps: list[tuple[str, Any]], width: int) -> tuple[Affine, Decision] | None:
    try:
        operations, decision = read_steps(steps, width)
    except ModelExportError:
        return None
    if len(operations) != 1 or not isinstance(operations[0], Affine) or decision.kind == "pairs":
        return None
    return operations[0], decision
