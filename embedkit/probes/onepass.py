"""Estimators from one pass over the features: ridge and linear discriminant analysis, on standardised features.

The pass collects the sums of the rows that candidates are fitted on, and every candidate follows from one
decomposition of them. Where there are fewer rows than features, the rows' own space takes the place of the features:
nothing is lost, and what is decomposed is small.

Layer: probes; above probes.outcomes, probes.sums and the estimators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.estimators import (
    StreamingLDA,
    StreamingRidge,
    StreamingRidgeClassifier,
    SufficientStatistics,
    standardised,
)
from embedkit.evaluation import FeatureRows, Outcome, PredictedLabels, Rows, Split, Steps, TableLabels, Task
from embedkit.probes.steps import best_of, candidates_of, predict
from embedkit.probes.sums import collected, row_space
from embedkit.results import Candidate

# Penalties, the strongest first. The scatter of standardised features has eigenvalues of the order of the number of
# rows: the grid reaches from hardly any shrinkage of a hundred rows to nearly all of a million.
_ALPHAS = tuple(float(value) for value in np.logspace(8, -2, 21))
# From the nearest class mean to the covariance as it is: there is nothing beyond.
_SHRINKAGES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 1e-3, 0.0)


def ridge(task: Task) -> Outcome:
    """Run ridge regression, or for classes least squares on +1 and -1."""
    features, labels, split = task.features, task.labels, task.split
    estimator = StreamingRidgeClassifier if labels.kind == "class" else StreamingRidge
    sums = _Sums(features, labels, split)
    steps, statistics = sums.of_fit()
    path = estimator(_ALPHAS).fit_statistics(statistics)

    def score(fitted: Any, X: Any, y: Any) -> float:
        return labels.score_of(fitted.predict(X), y)

    path.select(_transformed(steps, features.take(split.select)), labels.y[split.select], score)
    steps, statistics = sums.of_train()
    final = estimator(path.best_alpha_).fit_statistics(statistics)
    if labels.kind == "value":
        final.coef_, final.intercept_ = final.coef_.reshape(-1), float(np.squeeze(final.intercept_))
    steps = [*steps, ("ridge", final)]
    candidates = candidates_of("alpha", path.alphas_.tolist(), path.scores_.tolist())
    return _outcome({"alpha": path.best_alpha_}, bool(path.at_edge_), candidates, steps, task)


def lda(task: Task) -> Outcome:
    """Run linear discriminant analysis, its covariance shrunk towards a sphere."""
    features, labels, split = task.features, task.labels, task.split
    sums = _Sums(features, labels, split)
    steps, statistics = sums.of_fit()
    held_out = _transformed(steps, features.take(split.select))
    scores = [labels.score(said, split.select) for said in _lda_path(statistics, held_out)]
    best = best_of(scores)
    steps, statistics = sums.of_train()
    final = StreamingLDA(shrinkage=_SHRINKAGES[best]).fit_statistics(statistics)
    steps = [*steps, ("lda", final)]
    candidates = candidates_of("shrinkage", _SHRINKAGES, scores)
    return _outcome({"shrinkage": _SHRINKAGES[best]}, False, candidates, steps, task)


def _outcome(params: dict[str, Any], at_edge: bool, candidates: list[Candidate], steps: Steps, task: Task) -> Outcome:
    split = task.split
    return Outcome(
        draws=[predict(steps, task.features, split.test, task.labels)],
        params=params,
        n_train=len(split.train),
        selected_on=split.selected_on,
        at_edge=at_edge,
        steps=steps,
        candidates=candidates,
    )


class _Sums:
    """Sums of the rows of a split, of standardised features or of their row space."""

    def __init__(self, features: FeatureRows, labels: TableLabels, split: Split) -> None:
        self._features, self._split = features, split
        self._target: Any = "classes" if labels.kind == "class" else "values"
        self._y: Any = labels.y if labels.kind == "class" else labels.y.astype(np.float64)
        self._wide = not features.large and len(split.train) < features.shape[1]
        self._of_fit: SufficientStatistics | None = None

    def of_fit(self) -> tuple[Steps, SufficientStatistics]:
        """Return the transformers of the rows that candidates are fitted on, and the sums of what they give."""
        if self._wide:
            return self._in_row_space(self._split.fit)
        self._of_fit = self._collected(self._split.fit)
        return standardised(self._of_fit)

    def of_train(self) -> tuple[Steps, SufficientStatistics]:
        """Return the same of all training rows, after `of_fit`."""
        if self._of_fit is None:
            return self._in_row_space(self._split.train)
        return standardised(self._of_fit.merge(self._collected(self._split.select)))

    def _collected(self, rows: Rows) -> SufficientStatistics:
        return collected(self._features, rows, self._target, self._y)

    def _in_row_space(self, rows: Rows) -> tuple[Steps, SufficientStatistics]:
        steps, X = row_space(self._features.take(rows))
        return steps, SufficientStatistics(self._target).update(X, self._y[rows])


def _transformed(steps: Steps, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    transformed: Any = X
    for _, step in steps:
        transformed = step.transform(transformed)
    return transformed


def _lda_path(statistics: SufficientStatistics, X: npt.NDArray[np.float32]) -> list[PredictedLabels]:
    """Classify rows with every shrinkage: all covariances have the same eigenvectors.

    The discriminant of class k is m_k' S^-1 x - m_k' S^-1 m_k / 2 + log p_k with the shrunk covariance
    S = (1 - s) C + s trace(C) / d, as in scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s)`.
    """
    means = statistics.class_means
    apart = np.sqrt(statistics.class_n)[:, None] * (means - statistics.mean)
    values, vectors = np.linalg.eigh((statistics.scatter - apart.T @ apart) / statistics.n)
    values = np.maximum(values, 0.0)
    rotated_means, rotated = (means - statistics.mean) @ vectors, (X - statistics.mean) @ vectors
    priors = np.log(statistics.class_n / statistics.n)
    found: list[PredictedLabels] = []
    for shrinkage in _SHRINKAGES:
        shrunk = (1 - shrinkage) * values + shrinkage * values.mean()
        usable = shrunk > 1e-8 * shrunk.max(initial=0.0)  # without shrinkage: as a pseudo-inverse
        weighted = rotated_means * np.divide(1.0, shrunk, out=np.zeros_like(shrunk), where=usable)
        scores = rotated @ weighted.T - 0.5 * (weighted * rotated_means).sum(axis=1) + priors
        found.append(statistics.classes[scores.argmax(axis=1)])
    return found
