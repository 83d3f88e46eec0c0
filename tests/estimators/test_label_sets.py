"""Several labels an image, by name."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier

from embedkit.errors import UsageError
from embedkit.estimators import LabelSetClassifier


@pytest.mark.parametrize(
    "estimator",
    [OneVsRestClassifier(LogisticRegression()), RidgeClassifier(), Ridge(), KNeighborsClassifier(3)],
    ids=lambda one: type(one).__name__,
)
def test_marks_are_those_of_the_estimator_and_labels_have_names(estimator):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 5))
    marks = X[:, :3] + 0.3 * rng.normal(size=(80, 3)) > 0
    fitted = clone(LabelSetClassifier(estimator, ["cat", "dog", "newt"])).fit(X[:60], marks[:60])
    alone = clone(estimator).fit(X[:60], marks[:60].astype(int))
    expected = alone.predict(X[60:]) > 0.5
    np.testing.assert_array_equal(fitted.predict(X[60:]), expected)
    np.testing.assert_array_equal(fitted.decision_function(X[60:]) > 0, expected)
    assert fitted.classes_.tolist() == ["cat", "dog", "newt"]
    assert (fitted.predict(X[60:]) == marks[60:]).mean() > 0.75
    with pytest.raises(UsageError, match="a column for each of 3 labels"):
        fitted.fit(X, marks[:, :2])


def test_by_share_as_many_rows_have_a_label_as_in_training():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    marks = X[:, :2] > [1.0, -1.0]
    fitted = LabelSetClassifier(Ridge(1e6), ["rare", "common"], by_share=True).fit(X, marks)
    assert not (fitted.estimator_.predict(X)[:, 0] > 0.5).any()  # shrunk to the mean
    np.testing.assert_array_equal(fitted.predict(X).sum(axis=0), marks.sum(axis=0))
    assert (fitted.predict(X) == marks).mean() > 0.9
    every = np.stack([np.ones(200, bool), np.zeros(200, bool)], axis=1)
    np.testing.assert_array_equal(
        LabelSetClassifier(Ridge(), ["a", "b"], by_share=True).fit(X, every).predict(X), every
    )
