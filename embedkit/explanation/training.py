"""Which training images speak for a prediction, and which against it.

At the optimum of a linear model with an L2 penalty the coefficients are a sum over the training rows: w = -k sum_i r_i
z_i, where r_i is the derivative of the loss of row i by its score, and z_i its features less their mean. So the score
of an image is a sum over training images of -k r_i z_i z, plus a constant: how much each of them says for the class
(representer points, Yeh et al. 2018, arXiv:1811.09720). Whether the fitted coefficients are such a sum is checked, not
assumed: of other penalties, weights of classes or rows that were not fitted on, nothing is said.

Layer: explanation. NumPy and scikit-learn's tags only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEAST_COSINE = 0.999
"""Between the fitted coefficients and the sum over training rows; of models with another objective it is far below."""


def training_contributions(
    estimator: Any, X: npt.NDArray[Any], y: npt.NDArray[Any], x: npt.NDArray[Any], place: int
) -> Floats | None:
    """Give what each training row adds to the score of an image.

    Parameters
    ----------
    estimator : fitted linear classifier or regressor
    X : ndarray of shape (n_rows, n_features)
        The rows that it was fitted on, as it took them.
    y : ndarray of shape (n_rows,)
        Labels, or values.
    x : ndarray of shape (n_features,)
    place : int
        Of the class in ``classes_``; 0 for a regressor.

    Returns
    -------
    ndarray of shape (n_rows,), float64, or None
        They add up to the score less a constant, which is the same for all images. None where the coefficients are no
        such sum.
    """
    coefficients = np.atleast_2d(np.asarray(getattr(estimator, "coef_", np.empty((0, 0))), np.float64))
    if coefficients.shape[-1:] != (X.shape[1],) or not len(coefficients):
        return None
    derivatives = _derivatives(estimator, np.asarray(X, np.float64), y)
    if derivatives is None:
        return None
    middle = np.asarray(X, np.float64).mean(axis=0)
    scale = np.asarray(X, np.float64).std(axis=0) if getattr(estimator, "standardize", False) else np.ones(X.shape[1])
    scale = np.where(scale > 0, scale, 1.0)
    rows, image = (np.asarray(X, np.float64) - middle) / scale, (np.asarray(x, np.float64) - middle) / scale
    one_for_two = len(coefficients) == 1 and hasattr(estimator, "classes_")  # the score of the second class
    row, sign = (0, 1.0 if place else -1.0) if one_for_two else (place, 1.0)
    w, r = sign * (coefficients * scale)[row], sign * derivatives[:, row]
    summed = r @ rows
    lengths = np.linalg.norm(summed) * np.linalg.norm(w)
    if not lengths or -(summed @ w) / lengths < LEAST_COSINE:
        return None
    factor = -(summed @ w) / (summed @ summed)
    return -factor * r * (rows @ image)


def _derivatives(estimator: Any, X: Floats, y: npt.NDArray[Any]) -> Floats | None:
    """Return the derivative of each row's loss by its scores, shape (n_rows, n_scores), up to a factor."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return (np.asarray(estimator.predict(X), np.float64) - np.asarray(y, np.float64)).reshape(len(X), -1)
    targets = np.searchsorted(classes, np.asarray(y))
    if (targets >= len(classes)).any() or (np.asarray(classes)[targets] != np.asarray(y)).any():
        return None
    signs = np.where(np.arange(len(classes)) == targets[:, None], 1.0, -1.0)
    if hasattr(estimator, "predict_proba"):
        residuals = np.asarray(estimator.predict_proba(X), np.float64) - (signs > 0)
    else:
        scores = np.asarray(estimator.decision_function(X), np.float64)
        scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
        # Squared hinge of LinearSVC where a margin of 1 is all it asks for, squared error of a ridge classifier.
        hinge = "SVC" in type(estimator).__name__
        residuals = -signs * np.clip(1 - signs * scores, 0, None) if hinge else scores - signs
    return residuals[:, 1:] if len(classes) == 2 else residuals
