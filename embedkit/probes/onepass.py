"""Estimators from one pass over the features: ridge and linear discriminant analysis, on standardised features.

The pass collects the sums of the rows that candidates are fitted on, every candidate follows from them, and a pass over
the selection rows turns them into those of the final fit.

Layer: probes; above probes.outcomes, probes.sums and the estimators.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embedkit.estimators import StreamingLDA, StreamingRidge, StreamingRidgeClassifier, SufficientStatistics
from embedkit.probes.features import FeatureRows
from embedkit.probes.outcomes import Outcome, best_of, predict
from embedkit.probes.splits import Rows, Split
from embedkit.probes.sums import collected, standardised
from embedkit.probes.tasks import Task

# Penalties, the strongest first. The scatter of standardised features has eigenvalues of the order of the number of
# rows: the grid reaches from hardly any shrinkage of a hundred rows to nearly all of a million.
_ALPHAS = tuple(float(value) for value in np.logspace(8, -2, 21))
# From the nearest class mean to the covariance as it is: there is nothing beyond.
_SHRINKAGES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 1e-3, 0.0)


def ridge(features: FeatureRows, task: Task, split: Split) -> Outcome:
    """Run ridge regression, or for classes least squares on +1 and -1."""
    estimator = StreamingRidgeClassifier if task.kind == "class" else StreamingRidge
    sums = _sums(features, task, split.fit)
    scaler, scaled = standardised(sums)
    path = estimator(_ALPHAS).fit_statistics(scaled)
    held_out = scaler.transform(features.take(split.select))

    def score(fitted: Any, X: Any, y: Any) -> float:
        return task.score_of(fitted.predict(X), y)

    path.select(held_out, task.y[split.select], score)
    scaler, scaled = standardised(sums.merge(_sums(features, task, split.select)))
    final = estimator(path.best_alpha_).fit_statistics(scaled)
    if task.kind == "value":
        final.coef_, final.intercept_ = final.coef_.reshape(-1), float(np.squeeze(final.intercept_))
    steps = [("scale", scaler), ("ridge", final)]
    predictions = predict(steps, features, split.test, task)
    return Outcome(
        params={"alpha": path.best_alpha_}, at_edge=path.at_edge_, converged=True, steps=steps, predictions=predictions
    )


def lda(features: FeatureRows, task: Task, split: Split) -> Outcome:
    """Run linear discriminant analysis, its covariance shrunk towards a sphere."""
    sums = _sums(features, task, split.fit)
    scaler, scaled = standardised(sums)
    held_out = scaler.transform(features.take(split.select))
    candidates = [StreamingLDA(shrinkage=value).fit_statistics(scaled) for value in _SHRINKAGES]
    best = best_of([task.score(candidate.predict(held_out), split.select) for candidate in candidates])
    scaler, scaled = standardised(sums.merge(_sums(features, task, split.select)))
    final = StreamingLDA(shrinkage=_SHRINKAGES[best]).fit_statistics(scaled)
    steps = [("scale", scaler), ("lda", final)]
    predictions = predict(steps, features, split.test, task)
    return Outcome(
        params={"shrinkage": _SHRINKAGES[best]}, at_edge=False, converged=True, steps=steps, predictions=predictions
    )


def _sums(features: FeatureRows, task: Task, rows: Rows) -> SufficientStatistics:
    if task.kind == "class":
        return collected(features, rows, "classes", task.y)
    values: Any = task.y.astype(np.float64)
    return collected(features, rows, "values", values)
