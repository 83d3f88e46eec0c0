"""The start of every rung: logistic regression on frozen features, as `embedkit probe` fits it.

Layer: adaptation. Imports the estimators.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from embedkit.adaptation.maps import Rows
from embedkit.estimators import LogisticRegression, LogisticRegressionPath

_CS = tuple(float(value) for value in np.logspace(-5, 2, 15))
_UNSEEN = -30.0
"""Logit of a class that no training row has: e^-30 is nothing, and tuning can move it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearHead:
    """A linear classifier on features: weight (classes, width), bias (classes,)."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return (n, classes) of features (n, width)."""
        return X @ self.weight.T + self.bias


def choose_penalty(
    X: npt.NDArray[np.float32], y: npt.NDArray[np.intp], fit: Rows, select: Rows, *, standardize: bool = True
) -> float:
    """Return the C of best accuracy on the selection rows; of equals that of least log-loss there."""
    path = LogisticRegressionPath(Cs=_CS, cv=None, refit=False, standardize=standardize)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        path.fit(X[fit], y[fit], validation=(X[select], y[select]))
    accuracy = np.asarray(path.scores_[0])
    equals = np.flatnonzero(accuracy == accuracy.max())
    known = np.isin(y[select], path.classes_)
    rows, targets = np.arange(int(known.sum())), np.searchsorted(path.classes_, y[select][known])
    losses: list[float] = []
    for place in equals:
        model: Any = path.model_at(path.Cs_[place])
        losses.append(float(-model.predict_log_proba(X[select][known])[rows, targets].mean()))
    return float(path.Cs_[equals[int(np.argmin(losses))]])


def fit_head(
    X: npt.NDArray[np.float32],
    y: npt.NDArray[np.intp],
    rows: Rows,
    C: float,
    classes: int,
    *,
    standardize: bool = True,
) -> LinearHead:
    """Fit logistic regression on rows, and write it as one output a class."""
    model = LogisticRegression(C, standardize=standardize)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[rows], y[rows])
    weight = np.zeros((classes, X.shape[1]), np.float32)
    bias = np.full(classes, _UNSEEN, np.float32)
    if len(model.classes_) == 2:  # one output; the softmax of (0, s) is the sigmoid of s
        weight[model.classes_[1]], bias[model.classes_[1]] = model.coef_[0], model.intercept_[0]
        bias[model.classes_[0]] = 0
    else:
        weight[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return LinearHead(weight=weight, bias=bias)
