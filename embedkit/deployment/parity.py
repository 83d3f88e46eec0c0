"""Whether an exported network does what the pipeline does.

Layer: deployment. Imports numpy; scikit-learn through the steps it is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.deployment.steps import Decision
from embedkit.errors import ModelExportError

TOLERANCE = 1e-3
"""Largest difference of a logit that is put down to rounding in float32, where logits are up to `LARGE`.

Of larger ones, float32 has no such digits: those of LDA on 891 photos reach 968, and the fitted pipeline itself gives
values 2e-3 apart for the same features in float32 and float64. There the bound grows with the largest logit.
"""

LARGE = 100.0

Outcome = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Logits (n, classes) and numbers of the predicted classes (n,)."""


def compare(
    steps: Any, decision: Decision, features: npt.NDArray[np.float32], outcome: Outcome, *, first: int = 0
) -> float:
    """Return the largest difference of a logit between fitted steps and an exported network.

    Parameters
    ----------
    steps : Pipeline
        The fitted steps behind the embedder.
    decision : Decision
        Theirs.
    features : float32 (n, d)
        The backbone's, of the images.
    outcome : (float32 (n, classes), int64 (n,))
        What the exported network makes of the same images.
    first : int
        The number of the first image, for the message.

    Raises
    ------
    ModelExportError
        A logit differs by more than rounding, or an image gets another class.
    """
    logits, predicted = outcome
    expected, slack = _expected_logits(steps, decision, features)
    if expected.ndim == 1 and logits.shape[1] == 2:
        logits = logits[:, 1] - logits[:, 0]
    difference = np.abs(logits.reshape(expected.shape) - expected)
    bound = TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0)) / LARGE)
    if not (difference <= bound + slack).all():
        raise ModelExportError(
            f"the exported network differs from the pipeline by up to {difference.max():.2g} in a logit, at most "
            f"{bound:.2g} is rounding; nothing was written; fit behind a StandardScaler, or with stronger "
            "regularisation"
        )
    if decision.kind != "values":
        wrong = np.flatnonzero(decision.classes[predicted] != steps.predict(features))
        if len(wrong):
            raise ModelExportError(
                f"the exported network gives {len(wrong)} of {len(predicted)} images another class than the pipeline, "
                f"image {first + int(wrong[0])} first, where two classes are within rounding; nothing was written"
            )
    return float(np.where(slack > 0, 0.0, difference).max(initial=0.0))


def _expected_logits(
    steps: Any, decision: Decision, features: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return scikit-learn's values, and by how much each may differ beside rounding.

    A pair of classes whose value is 0 to rounding may give its whole vote to either.
    """
    if decision.kind == "values":
        expected = np.asarray(steps.predict(features), np.float64)
        return expected, np.zeros_like(expected)
    expected = np.asarray(steps.decision_function(features), np.float64)
    slack = np.zeros_like(expected)
    if decision.kind == "pairs":
        last = steps.steps[-1][1]
        rows = steps[:-1].transform(features) if len(steps.steps) > 1 else features
        undecided = np.abs(rows @ last.coef_.T + last.intercept_) < TOLERANCE
        first, second = np.triu_indices(len(decision.classes), 1)
        np.add.at(slack.T, first, undecided.T)
        np.add.at(slack.T, second, undecided.T)
    return expected, slack
