"""Linear classifiers, the whole path of penalties at once: logistic regression and support vector machines.

Logistic regression runs alone, after PCA, and one against the rest for several labels.

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

from embedkit.estimators import LinearSVCPath, LogisticRegression, LogisticRegressionPath, StreamingPCA, standardised
from embedkit.evaluation import FeatureRows, Outcome, Rows, Steps, Task
from embedkit.probes.steps import best_of, candidates_of, fit_steps, predict
from embedkit.probes.sums import collected, row_space

# Inverse regularisation strengths. Standardised features of some hundred dimensions are separable: what is best lies
# far below scikit-learn's default of 1.
_CS = tuple(float(value) for value in np.logspace(-5, 2, 15))
_COMPONENTS = 128

_Path = LogisticRegressionPath | LinearSVCPath


# The squared hinge loss is steeper where scores are small; from C = 1 on nothing changes where classes are separable.
_SVM_CS = tuple(float(value) for value in np.logspace(-5, 0, 11))


def logistic(task: Task) -> Outcome:
    """Run logistic regression on standardised features."""
    return _standardised(LogisticRegressionPath, _CS, "logistic", task)


def svm(task: Task) -> Outcome:
    """Run linear support vector machines with squared hinge loss, one against the rest, on standardised features."""
    outcome = _standardised(LinearSVCPath, _SVM_CS, "svm", task)
    outcome.params["loss"] = "squared_hinge"
    return outcome


def pca_logistic(task: Task) -> Outcome:
    """Run logistic regression on the first principal components of standardised features."""
    features, labels, split = task.features, task.labels, task.split
    reduction = _reduction(features, split.fit)
    held_out = _reduced(reduction, features, split.select), labels.y[split.select]
    path, converged = _path(
        LogisticRegressionPath(Cs=_CS, cv=None, refit=False),
        _reduced(reduction, features, split.fit),
        labels.y[split.fit],
        held_out,
    )
    best = _best_of(path, *held_out)
    reduction, final = _reduction(features, split.train), LogisticRegression(_CS[best])
    converged &= fit_steps([("logistic", final)], _reduced(reduction, features, split.train), labels.y[split.train])
    return _outcome(_CS, best, path.scores_[0], converged, [*reduction, ("logistic", final)], task)


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
                path, done = _path(LogisticRegressionPath(Cs=_CS, cv=None, standardize=True), X[:n_fit], y)
                converged &= done
                for number, C in enumerate(_CS):
                    scores[number, :, column] = path.model_at(C).decision_function(X[n_fit:])
        chosen_by = [labels.score(of_C, split.select) for of_C in scores]
        best = best_of(chosen_by)
        final = OneVsRestClassifier(cast(Any, LogisticRegression(_CS[best], standardize=True)))
        converged &= fit_steps([("logistic", final)], X, marks[train].astype(np.intp))
    return _outcome(_CS, best, chosen_by, converged, [("logistic", final)], task)


def _standardised(kind: type[_Path], Cs: Sequence[float], name: str, task: Task) -> Outcome:
    features, labels, split = task.features, task.labels, task.split
    train = np.concatenate([split.fit, split.select])
    with features.arranged(split.fit, split.select) as X:
        n_fit = len(split.fit)
        path, converged = _path(
            kind(Cs=Cs, cv=None, refit=False, standardize=True),
            X[:n_fit],
            labels.y[split.fit],
            (X[n_fit:], labels.y[split.select]),
        )
        best = _best_of(path, X[n_fit:], labels.y[split.select])
        final = kind.model_type(Cs[best], standardize=True)
        converged &= fit_steps([(name, final)], X, labels.y[train])
    return _outcome(Cs, best, path.scores_[0], converged, [(name, final)], task)


def _path(path: _Path, X: npt.NDArray[np.float32], y: npt.NDArray[Any], validation: Any = None) -> tuple[_Path, bool]:
    """Return the fitted path, with the C of best accuracy on held-out rows, and whether all of it converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the record says it
        path.fit(X, y, validation=validation)
    return path, bool(np.all(path.converged_))


def _best_of(path: _Path, X: npt.NDArray[np.float32], y: npt.NDArray[Any]) -> int:
    """Give the place of the C of best accuracy on the selection rows; of equals that of the least loss on them.

    On few rows many C name the same images right. The strongest penalty of these is sure of nothing; the loss that is
    minimised in the fit tells them apart.
    """
    accuracy = np.asarray(path.scores_[0])
    equals = np.flatnonzero(accuracy == accuracy.max())
    known = np.isin(y, path.classes_)
    if len(equals) == 1 or not known.any():
        return int(equals[0])
    targets = np.searchsorted(path.classes_, y[known])
    losses = [_loss(path.model_at(path.Cs_[place]), X[known], targets) for place in equals]
    return int(equals[int(np.argmin(losses))])


def _loss(model: Any, X: npt.NDArray[np.float32], targets: Rows) -> float:
    """Give the mean loss of rows: of logistic regression -log p, of support vector machines the squared hinge."""
    rows = np.arange(len(targets))
    if hasattr(model, "predict_proba"):
        of_truth = np.asarray(model.predict_proba(X)[rows, targets], np.float64)  # in float32 they can be 0
        return float(-np.log(np.maximum(of_truth, 1e-300)).mean())
    scores = np.asarray(model.decision_function(X), np.float64)
    scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    signs = -np.ones_like(scores)
    signs[rows, targets] = 1
    return float(np.square(np.clip(1 - signs * scores, 0, None)).sum(axis=1).mean())


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
    Cs: Sequence[float], best: int, scores: Sequence[float], converged: bool, steps: Steps, task: Task
) -> Outcome:
    split = task.split
    return Outcome(
        draws=[predict(steps, task.features, split.test, task.labels)],
        params={"C": Cs[best]},
        n_train=len(split.train),
        selected_on=split.selected_on,
        at_edge=best in (0, len(Cs) - 1),
        converged=converged,
        steps=steps,
        candidates=candidates_of("C", Cs, scores),
    )
