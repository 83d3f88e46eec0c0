"""Logistic regression, alone, after PCA, and one against the rest for several labels: the whole path at once.

Layer: probes; above probes.outcomes and the estimators.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.multiclass import OneVsRestClassifier

from embedkit.estimators import LogisticRegression, LogisticRegressionPath, StreamingPCA
from embedkit.evaluation import FeatureRows, Outcome, Rows, Split, Steps, TableLabels, Task
from embedkit.probes.steps import best_of, candidates_of, fit_steps, predict
from embedkit.probes.sums import collected, row_space, standardised

# Inverse regularisation strengths. Standardised features of some hundred dimensions are separable: what is best lies
# far below scikit-learn's default of 1.
_CS = tuple(float(value) for value in np.logspace(-5, 2, 15))
_COMPONENTS = 128


def logistic(task: Task) -> Outcome:
    """Run logistic regression on standardised features."""
    features, labels, split = task.features, task.labels, task.split
    train = np.concatenate([split.fit, split.select])
    with features.arranged(split.fit, split.select) as X:
        n_fit = len(split.fit)
        path, converged = _chosen(X[:n_fit], X[n_fit:], labels, split, standardize=True)
        final = LogisticRegression(float(path.best_C_), standardize=True)
        converged &= fit_steps([("logistic", final)], X, labels.y[train])
    return _outcome(path.best_index_, path.scores_[0], converged, [("logistic", final)], task)


def pca_logistic(task: Task) -> Outcome:
    """Run logistic regression on the first principal components of standardised features."""
    features, labels, split = task.features, task.labels, task.split
    reduction = _reduction(features, split.fit)
    path, converged = _chosen(
        _reduced(reduction, features, split.fit), _reduced(reduction, features, split.select), labels, split
    )
    reduction, final = _reduction(features, split.train), LogisticRegression(float(path.best_C_))
    converged &= fit_steps([("logistic", final)], _reduced(reduction, features, split.train), labels.y[split.train])
    return _outcome(path.best_index_, path.scores_[0], converged, [*reduction, ("logistic", final)], task)


def one_against_rest(task: Task) -> Outcome:
    """Run one logistic regression a class on standardised features, with one C for all of them."""
    features, labels, split = task.features, task.labels, task.split
    marks = cast(npt.NDArray[np.bool_], labels.y)
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
        chosen_by = [labels.score(of_C, split.select) for of_C in scores]
        best = best_of(chosen_by)
        final = OneVsRestClassifier(cast(Any, LogisticRegression(_CS[best], standardize=True)))
        converged &= fit_steps([("logistic", final)], X, marks[train].astype(np.intp))
    return _outcome(best, chosen_by, converged, [("logistic", final)], task)


def _chosen(
    X: npt.NDArray[np.float32],
    held_out: npt.NDArray[np.float32],
    labels: TableLabels,
    split: Split,
    *,
    standardize: bool = False,
) -> tuple[LogisticRegressionPath, bool]:
    """Return the path with the C of best accuracy chosen, and whether all of it converged."""
    return _path(X, labels.y[split.fit], standardize, (held_out, labels.y[split.select]))


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


def _outcome(best: int, scores: Sequence[float], converged: bool, steps: Steps, task: Task) -> Outcome:
    split = task.split
    return Outcome(
        draws=[predict(steps, task.features, split.test, task.labels)],
        params={"C": _CS[best]},
        n_train=len(split.train),
        selected_on=split.selected_on,
        at_edge=best in (0, len(_CS) - 1),
        converged=converged,
        steps=steps,
        candidates=candidates_of("C", _CS, scores),
    )
