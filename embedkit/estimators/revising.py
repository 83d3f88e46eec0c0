"""What classifiers from sufficient statistics can take back: rows, whole classes, and what other sites have seen.

Layer: imports embedkit.errors and its own room.
"""

from __future__ import annotations

from typing import Any, Self, cast

from embedkit.errors import UsageError
from embedkit.estimators.sufficient_statistics import SufficientStatistics, continued
from embedkit.estimators.validation import checked_features_and_labels


class RevisableClassifier:
    """Beside `partial_fit`: `forget`, `remove_class` and `merge`, after each of which the model is solved again.

    The model and its statistics change together, or an error leaves both as they were.
    """

    statistics_: SufficientStatistics

    def forget(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit without rows that were fitted on: the same as `fit` on all the others.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional
            As they were fitted on.

        Raises
        ------
        UsageError
            They cannot have been among the rows seen, or too little is left to fit on.
        """
        features, labels = checked_features_and_labels(self, X, y, reset=False)
        return self._revised(self._statistics().forget(features, labels, sample_weight))

    def remove_class(self, label: Any) -> Self:
        """Fit without any row of a class: the same as `fit` on those of the others.

        Raises
        ------
        UsageError
            There is no such class, too little is left, or the scatter of each class was not kept (``by_class=True``):
            then `forget` its rows.
        """
        return self._revised(self._statistics().remove_class(label))

    def merge(self, other: Any) -> Self:
        """Fit on what another model, or its statistics, has seen as well: the same as `fit` on all rows of both.

        Parameters
        ----------
        other : estimator with ``statistics_``, or SufficientStatistics
            Of the same features; it stays as it is.

        Raises
        ------
        UsageError
            It has no statistics, or they are of other features.
        """
        theirs = other.statistics_ if hasattr(other, "statistics_") else other
        return self._revised(self._statistics().merge(theirs))

    def _statistics(self) -> SufficientStatistics:
        known = continued(self, "classes")
        if not known.n:
            raise UsageError(f"this {type(self).__name__} has seen no rows; fit it first")
        return known.copy()

    def _revised(self, statistics: SufficientStatistics) -> Self:
        cast(Any, self).fit_statistics(statistics)
        self.statistics_ = statistics
        return self
