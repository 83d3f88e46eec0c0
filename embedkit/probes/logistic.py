"""Logistic regression, alone, after PCA, and one against the rest for several labels: the whole path at once.

Layer: probes; above probes.outcomes and the estimators.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.multiclass import OneVsRestClassifier

from embedkit.estimators import LogisticRegression, LogisticRegressionPath, StreamingPCA
from embedkit.evaluation import FeatureRows, Rows, Split, Task
from embedkit.probes.outcomes import Outcome, Steps, best_of, fit_steps, predict
from embedkit.probes.sums import collected, row_space, standardised

# Inverse regularisation strengths. Standardised features of some hundred dimensions are separable: what is best lies
# far below scikit-learn's default of 1.
_CS = tuple(float(value) for value in np.logspace(-5, 2, 15))
_COMPONENTS = 128


def logistic(features: FeatureRows, task: Task, split: Split) -> Outcome:
    """Run logistic regression on standardised features."""
    train = np.concatenate([split.fit, split.select])
    with features.arranged(split.fit, split.select) as X:
        n_fit = len(split.fit)
        C, at_edge, converged = _chosen(X[:n_fit], X[n_fit:], task, split, standardize=True)
        final = LogisticRegression(C, standardize=True)
        converged &= fit_steps([("logistic", final)], X, task.y[train])
    return _outcome(C, at_edge, converged, [("logistic", final)], features, task, split)


def pca_logistic(features: FeatureRows, task: Task, split: Split) -> Outcome:
    """Run logistic regression on the first principal components of standardised features."""
    reduction = _reduction(features, split.fit)
    C, at_edge, converged = _chosen(
        _reduced(reduction, features, split.fit), _reduced(reduction, features, split.select), task, split
    )
    reduction, final = _reduction(features, split.train), LogisticRegression(C)
    converged &= fit_steps([("logistic", final)], _reduced(reduction, features, split.train), task.y[split.train])
    return _outcome(C, at_edge, converged, [*reduction, ("logistic", final)], features, task, split)


def one_against_rest(features: FeatureRows, task: Task, split: Split) -> Outcome:
    """Run one logistic regression a class on standardised features, with one C for all of them."""
    marks = cast(npt.NDArray[np.bool_], task.y)
    train = np.concatenate([split.fit, split.select])
    with features.arranged(split.fit, split.select) as X:
        n_fit = len(split.fit)
        scores = np.zeros((len(_CS), len(split.select), marks.shape[1]))
        converged = True
        for column in range(marks.shape[1]):
            y = marks[split.fit, column]
            if y.any() and not y.all():
                path, done = _path(X[:n_fit], y, standardize=True)
                converged &= done
                for number, C in enumerate(_CS):
                    scores[number, :, column] = path.model_at(C).decision_function(X[n_fit:])
        best = best_of([task.score(of_C, split.select) for of_C in scores])
        final = OneVsRestClassifier(cast(Any, LogisticRegression(_CS[best], standardize=True)))
        converged &= fit_steps([("logistic", final)], X, marks[train].astype(np.intp))
    at_edge = best in (0, len(_CS) - 1)
    return _outcome(_CS[best], at_edge, converged, [("logistic", final)], features, task, split)


def _chosen(
    X: npt.NDArray[np.float32],
    held_out: npt.NDArray[np.float32],
    task: Task,
    split: Split,
    *,
    standardize: bool = False,
) -> tuple[float, bool, bool]:
    """Return the C of best accuracy, whether it is an end of the grid, and whether all of the path converged."""
    path, converged = _path(X, task.y[split.fit], standardize, (held_out, task.y[split.select]))
    return float(path.best_C_), bool(path.at_edge_), converged


def _path(
    X: npt.NDArray[np.float32], y: npt.NDArray[Any], standardize: bool, validation: Any = None
) -> tuple[LogisticRegressionPath, bool]:
    path = LogisticRegressionPath(Cs=_CS, cv=None, refit=False, standardize=standardize)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the record says it
        path.fit(X, y, validation=validation)
    return path, bool(np.all(path.converged_))


def _reduction(features: FeatureRows, rows: Rows) -> Steps:
    """Return a fitted scaler and PCA."""
    components = min(_COMPONENTS, len(rows), features.shape[1])
    if len(rows) < features.shape[1] and not features.large:
        steps, _ = row_space(features.take(rows), components)
        return steps
    scale, scaled = standardised(collected(features, rows))
    return [*scale, ("pca", StreamingPCA(components).fit_statistics(scaled))]


def _reduced(reduction: Steps, features: FeatureRows, rows: Rows) -> npt.NDArray[np.float32]:
    """Transform rows (ascending) block by block; what comes out is small."""
    (_, scaler), (_, pca) = reduction
    reduced = np.empty((len(rows), pca.n_components_), np.float32)
    for span, X in features.batches(rows):
        reduced[span] = pca.transform(scaler.transform(X))
    return reduced


def _outcome(
    C: float, at_edge: bool, converged: bool, steps: Steps, features: FeatureRows, task: Task, split: Split
) -> Outcome:
    predicted = predict(steps, features, split.test, task)
    return Outcome(params={"C": C}, at_edge=at_edge, converged=converged, steps=steps, predicted=predicted)
