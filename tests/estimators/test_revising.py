"""Rows, classes and sites that come and go: what is left is the batch fit of what is left."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedkit.errors import UsageError
from embedkit.estimators import StreamingLDA, StreamingRidgeClassifier, SufficientStatistics

KINDS = [StreamingRidgeClassifier, StreamingLDA]
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def make(n_samples=240, n_features=6, n_classes=5, seed=0, offset=3.0):
    random = np.random.default_rng(seed)
    y = np.array([f"class {number}" for number in random.permutation(np.arange(n_samples) % n_classes)])
    centres = random.standard_normal((n_classes, n_features))
    places = np.unique(y, return_inverse=True)[1]
    return centres[places] + random.standard_normal((n_samples, n_features)) + offset, y


def exact_scatter(X):
    """In extended precision, from the rows themselves."""
    rows = X.astype(np.longdouble)
    centred = rows - rows.mean(axis=0)
    return centred.T @ centred


def assert_same(one: SufficientStatistics, other: SufficientStatistics):
    for name, value in other.to_arrays().items():
        if name != "drift":
            found = one.to_arrays()[name]
            if value.dtype.kind == "f":
                np.testing.assert_allclose(found, value, rtol=1e-8, atol=1e-8, err_msg=name)
            else:
                np.testing.assert_array_equal(found, value, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS), by_class=st.booleans())
def test_any_stream_of_additions_and_removals_is_the_batch_of_what_is_left(data, kind, by_class):
    X, y = make()
    there = np.zeros(len(X), bool)
    there[:120] = True
    model = kind(by_class=by_class).fit(X[:120], y[:120])
    steps = ["add", "forget", "merge", *(["remove"] if by_class else [])]
    for step in data.draw(st.lists(st.sampled_from(steps), min_size=1, max_size=8)):
        rows = np.flatnonzero(there if step == "forget" else ~there)
        rows = data.draw(st.permutations(rows.tolist()))[: data.draw(st.integers(1, 40))]
        if step == "remove" and len(np.unique(y[there])) > 2:
            label = data.draw(st.sampled_from(sorted(set(y[there]))))
            model.remove_class(label)
            there &= y != label
        elif step == "forget" and there.sum() > 60 and len(set(y[np.setdiff1d(np.flatnonzero(there), rows)])) > 1:
            model.forget(X[rows], y[rows])
            there[rows] = False
        elif step == "add" and rows:
            model.partial_fit(X[rows], y[rows])
            there[rows] = True
        elif step == "merge" and len(set(y[rows])) > 1 and len(rows) > 5:
            model.merge(kind(by_class=by_class).fit(X[rows], y[rows]))
            there[rows] = True
    batch = kind(by_class=by_class).fit(X[there], y[there])
    np.testing.assert_array_equal(model.classes_, batch.classes_)
    np.testing.assert_allclose(model.coef_, batch.coef_, **CLOSE)
    np.testing.assert_allclose(model.intercept_, batch.intercept_, **CLOSE)
    assert_same(model.statistics_, batch.statistics_)


@settings(max_examples=60, deadline=None)
@given(
    offset=st.sampled_from([0.0, 1.0, 1e3, 1e6]),
    spread=st.sampled_from([1e-3, 1.0, 1e3]),
    left=st.integers(3, 60),
    size=st.integers(5, 70),
    seed=st.integers(0, 5),
)
def test_rounding_stays_below_the_drift_that_is_stated(offset, spread, left, size, seed):
    X = make(200, seed=seed)[0] * spread + offset
    statistics = SufficientStatistics()
    for start in range(0, 200, size):
        statistics.update(X[start : start + size])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # little may be left beside so large a mean
        for start in range(left, 200, size):
            statistics.forget(X[start : start + size])
    assert statistics.n == left
    error = float(np.abs(statistics.scatter - exact_scatter(X[:left])).max())
    assert error <= statistics.drift
    assert statistics.drift <= 1e6 * max(error, np.finfo(float).eps * np.diag(exact_scatter(X)).max())


def test_where_little_is_left_of_much_it_is_said():
    X, y = make(60)
    large = X + np.random.default_rng(0).standard_normal(X.shape) * 1e8
    statistics = SufficientStatistics("classes").update(X, y).update(large, y)
    with pytest.warns(RuntimeWarning, match="fit again from the rows that are left"):
        statistics.forget(large, y)
    assert np.abs(statistics.scatter - exact_scatter(X)).max() <= statistics.drift


@pytest.mark.parametrize("kind", KINDS)
def test_sites_add_up_in_any_order_and_one_may_leave_again(kind):
    X, y = make()
    sites = [kind().fit(X[part::3], y[part::3]) for part in range(3)]
    whole = kind().fit(X, y)
    merged = copy.deepcopy(sites[2]).merge(sites[0].statistics_).merge(sites[1])
    np.testing.assert_allclose(merged.coef_, whole.coef_, **CLOSE)
    without = merged.fit_statistics(merged.statistics_.copy().subtract(sites[1].statistics_))
    rest = np.arange(len(X)) % 3 != 1
    np.testing.assert_allclose(without.coef_, kind().fit(X[rest], y[rest]).coef_, **CLOSE)
    assert sites[1].statistics_.n == len(X) / 3


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_taken_away_as_they_were_given(kind):
    X, y = make()
    weights = np.random.default_rng(0).uniform(0.1, 3, len(X))
    statistics = SufficientStatistics("classes", by_class=True).update(X, y, weights)
    gone = y == "class 2"
    assert_same(
        statistics.copy().forget(X[gone], y[gone], weights[gone]),
        SufficientStatistics("classes", by_class=True).update(X[~gone], y[~gone], weights[~gone]),
    )
    assert_same(statistics.copy().remove_class("class 2"), statistics.copy().forget(X[gone], y[gone], weights[gone]))
    assert statistics.forget(X, y, weights).n == 0


def test_values_are_forgotten_too():
    X, _ = make()
    y = np.column_stack([X @ np.arange(6.0), np.sin(X[:, 0])])
    assert_same(
        SufficientStatistics("values").update(X, y).forget(X[:100], y[:100]),
        SufficientStatistics("values").update(X[100:], y[100:]),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model, X, y: model.remove_class("class 1"), "was not kept: forget the rows of the class"),
        (lambda model, X, y: model.remove_class("class 9"), "no class 'class 9' to remove"),
        (lambda model, X, y: model.forget(X[:5], ["other"] * 5), "no row of class 'other' was seen"),
        (lambda model, X, y: model.forget(np.vstack([X, X]), [*y, *y]), "480 rows cannot be taken away from 240"),
        (lambda model, X, y: model.forget(X[:100], ["class 0"] * 100), "100 rows of class 'class 0' cannot be taken"),
        (lambda model, X, y: model.forget(X[:99] * 1e3, y[:99]), "vary more than all that were seen"),
        (lambda model, X, y: model.forget(X[y != "class 0"], y[y != "class 0"]), "at least 2 classes"),
        (lambda model, X, y: model.forget(X, y), "at least 2 classes"),
        (lambda model, X, y: model.merge(3), "expected SufficientStatistics"),
        (lambda model, X, y: model.merge(type(model)().fit(X[:, :4], y)), "of 4 features"),
        (lambda model, X, y: model.merge(type(model)(by_class=True).fit(X, y)), "with and without the scatter"),
        (lambda model, X, y: type(model)().remove_class("class 1"), "has seen no rows"),
    ],
)
def test_what_cannot_be_taken_away_changes_nothing(kind, change, message):
    X, y = make()
    model = kind().fit(X, y)
    before, known = model.coef_.copy(), model.statistics_.to_arrays()
    with pytest.raises(UsageError, match=message):
        change(model, X, y)
    np.testing.assert_array_equal(model.coef_, before)
    for name, value in model.statistics_.to_arrays().items():
        np.testing.assert_array_equal(value, known[name])


def test_statistics_of_before_are_read():
    X, y = make()
    known = SufficientStatistics("classes").update(X, y)
    old = {
        name: value for name, value in known.to_arrays().items() if name not in ("by_class", "class_scatter", "drift")
    }
    assert_same(SufficientStatistics.from_arrays(old), known)
    with pytest.raises(UsageError, match="by_class keeps the scatter of classes"):
        SufficientStatistics("values", by_class=True)
