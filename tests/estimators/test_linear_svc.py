"""LinearSVC and LinearSVCPath against liblinear, and against an objective written here with scipy's minimiser."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import scipy.optimize
import sklearn.svm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler

from embedkit.estimators import LinearSVC, LinearSVCPath, eigenrows, hinge_newton, path_solver
from tests.estimators.gaussians import CS, make_features


def objective(X, y, coef, intercept, C, weights=None):
    """LinearSVC's objective without the penalty of the intercept, summed over the machines; y = 0, 1, ..."""
    X, coef, intercept = (np.asarray(a, dtype=np.float64) for a in (X, coef, intercept))
    weights = np.ones(len(y)) if weights is None else weights
    signs = np.where(y[:, None] == (np.arange(len(coef)) if len(coef) > 1 else [1]), 1, -1)
    short = np.maximum(0, 1 - signs * (X @ coef.T + intercept))
    return C * float(weights @ np.square(short).sum(axis=1)) + float((coef**2).sum()) / 2


def liblinear(X, y, C, weights=None, **arguments):
    """Without an intercept it has the same objective."""
    model = sklearn.svm.LinearSVC(C=C, dual=False, tol=1e-12, max_iter=100_000, fit_intercept=False, **arguments)
    return model.fit(X.astype(np.float64), y, sample_weight=weights)


def lower_bound(X, y, coef, intercept, C):
    """The dual objective of a feasible point near a solution: no model has a smaller objective."""
    X, coef, intercept = (np.asarray(a, dtype=np.float64) for a in (X - X.mean(axis=0), coef, intercept))
    total = 0.0
    for k, w, b in zip(range(len(coef)) if len(coef) > 1 else [1], coef, intercept, strict=True):
        signs = np.where(y == k, 1, -1)
        alpha = 2 * C * np.maximum(0, 1 - signs * (X @ w + b))
        # A free intercept asks for equal sums on both sides.
        sides = alpha[signs > 0].sum(), alpha[signs < 0].sum()
        alpha[signs > 0] *= min(sides) / sides[0]
        alpha[signs < 0] *= min(sides) / sides[1]
        total += alpha.sum() - np.square((alpha * signs) @ X).sum() / 2 - np.square(alpha).sum() / (4 * C)
    return total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("n_samples", [300, 15])
def test_each_value_of_the_path_is_at_the_optimum(n_samples, n_classes, dtype, device):
    X, y = make_features(n_samples, n_classes=n_classes, dtype=dtype)
    path = LinearSVCPath(CS, cv=None, device=device).fit(X, y)
    assert path.coefs_.dtype == dtype
    assert path.coefs_.shape == (len(CS), 1 if n_classes == 2 else n_classes, X.shape[1])
    assert path.converged_.all()
    X = X.astype(np.float64)
    for C, coef, intercept, gap in zip(CS, path.coefs_, path.intercepts_, path.gaps_, strict=True):
        near = LinearSVC(C, tol=1e-10).fit(X, y)  # a bound from coefficients in float32 is valid, too, but loose
        bound = lower_bound(X, y, near.coef_, near.intercept_ + near.coef_ @ X.mean(axis=0), C)
        assert bound * (1 - 1e-12) <= objective(X, y, coef, intercept, C) <= bound * (1 + 3e-6)
        assert 0 <= gap <= 1e-6


@pytest.mark.parametrize("C", [1e-4, 0.3, 1e3])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_at_a_tight_tolerance_the_coefficients_are_liblinears(n_classes, C):
    X, y = make_features(n_classes=n_classes)
    X = X - X.mean(axis=0)
    ours, reference = LinearSVC(C, fit_intercept=False, tol=1e-14).fit(X, y), liblinear(X, y, C)
    assert ours.converged_
    np.testing.assert_allclose(ours.coef_, reference.coef_, rtol=1e-5, atol=1e-7)
    assert (ours.intercept_ == 0).all()
    np.testing.assert_allclose(ours.decision_function(X), reference.decision_function(X), rtol=1e-4, atol=1e-6)
    assert (ours.predict(X) == reference.predict(X)).all()


def test_a_free_intercept_is_the_limit_of_a_constant_feature_that_is_hardly_penalised():
    X, y = make_features(n_classes=3, separation=0.5)
    ours = LinearSVC(0.1, tol=1e-12).fit(X, y)
    constant = np.column_stack([X - X.mean(axis=0), np.full(len(X), 1e4)])
    theirs = liblinear(constant, y, 0.1)
    np.testing.assert_allclose(ours.coef_, theirs.coef_[:, :-1], atol=1e-4)
    moved = LinearSVC(0.1, tol=1e-12).fit(X + 100, y)
    np.testing.assert_allclose(ours.coef_, moved.coef_, atol=1e-5)


@pytest.mark.parametrize("class_weight", [None, {0: 5.0, 1: 0.5}, "balanced"])
def test_weights_mean_what_they_mean_in_scikit_learn(class_weight):
    X, y = make_features(n_classes=2)
    kept = (y > 0) | (np.arange(len(y)) % 3 == 0)
    X, y = X[kept] - X.mean(axis=0), y[kept]
    ours = LinearSVC(2.0, fit_intercept=False, tol=1e-14, class_weight=class_weight).fit(X, y)
    np.testing.assert_allclose(ours.coef_, liblinear(X, y, 2.0, class_weight=class_weight).coef_, atol=1e-5)
    weights = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    ours = LinearSVC(2.0, fit_intercept=False, tol=1e-14).fit(X, y, weights)
    np.testing.assert_allclose(ours.coef_, liblinear(X, y, 2.0, weights).coef_, atol=1e-5)
    repeated = np.repeat(np.arange(len(y)), weights.astype(int))
    free, of_repeated = LinearSVC(tol=1e-13).fit(X, y, weights), LinearSVC(tol=1e-13).fit(X[repeated], y[repeated])
    np.testing.assert_allclose(free.coef_, of_repeated.coef_, atol=1e-5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    n_classes=st.integers(2, 4),
    n_samples=st.integers(8, 60),
    n_features=st.integers(1, 30),
    log_C=st.floats(-4, 4),
    max_iter=st.integers(1, 15),
    seed=st.integers(0, 1000),
)
def test_the_gap_bounds_the_distance_from_the_optimum(n_classes, n_samples, n_features, log_C, max_iter, seed):
    X, y = make_features(n_samples, n_features, n_classes, seed=seed)
    C = 10**log_C
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        rough = LinearSVC(C, max_iter=max_iter).fit(X, y)
    exact = LinearSVC(C, tol=1e-11).fit(X, y)
    assert exact.converged_
    best = objective(X, y, exact.coef_, exact.intercept_, C)
    reached = objective(X, y, rough.coef_, rough.intercept_, C)
    # As of logistic regression, the part of the intercepts is an estimate.
    assert (reached - best) / reached <= 10 * rough.gap_ + 1e-9


@pytest.mark.parametrize("products", [0, hinge_newton.PRODUCTS_BYTES])
@pytest.mark.parametrize("in_memory", [0, eigenrows.IN_MEMORY_BYTES])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_ways_of_a_step_of_newton_are_one(monkeypatch, products, in_memory, fit_intercept):
    monkeypatch.setattr(hinge_newton, "PRODUCTS_BYTES", products)
    monkeypatch.setattr(eigenrows, "IN_MEMORY_BYTES", in_memory)
    for n_samples, n_features in ((400, 10), (60, 40)):
        X, y = make_features(n_samples, n_features, 3, separation=0.5, dtype=np.float32)
        path = LinearSVCPath(CS, cv=None, tol=1e-9, fit_intercept=fit_intercept).fit(X, y)
        monkeypatch.setattr(path_solver, "SOON", 1000)
        by_gradients = LinearSVCPath(CS[:3], cv=None, tol=1e-9, fit_intercept=fit_intercept).fit(X, y)
        monkeypatch.undo()
        assert path.converged_.all()
        np.testing.assert_allclose(path.coefs_[:3], by_gradients.coefs_, rtol=1e-2, atol=1e-5)
        for C, coef, intercept in zip(CS, path.coefs_, path.intercepts_, strict=True):
            exact = LinearSVC(C, tol=1e-9, fit_intercept=fit_intercept).fit(X.astype(np.float64), y)
            best = objective(X, y, exact.coef_, exact.intercept_, C)
            assert objective(X, y, coef, intercept, C) / best - 1 <= 1e-6


@given(st.integers(1, 30), st.floats(0.01, 3), st.integers(0, 10_000))
def test_the_best_step_is_scipys(n, square, seed):
    random = np.random.default_rng(seed)
    margins, changes = random.normal(1, 1, n), random.normal(0.3, 1, n) * (random.random(n) > 0.2)
    weights = random.dirichlet(np.ones(n))

    def value(t, cross):
        return weights @ np.square(np.maximum(0, 1 - margins - t * changes)) + cross * t + square / 2 * t * t

    # A direction of descent, as Newton's is.
    cross = float(2 * weights * changes @ np.maximum(0, 1 - margins)) - 0.1 * (square + 0.1)
    step = hinge_newton._best_step(margins, changes, weights, cross, square)
    found = scipy.optimize.minimize_scalar(value, bounds=(0, 1e4), args=(cross,), options={"xatol": 1e-10})
    assert value(step, cross) <= found.fun + 1e-9


def test_features_mapped_from_a_file_are_those_in_memory(tmp_path, monkeypatch):
    X, y = make_features(n_classes=3, dtype=np.float32)
    np.save(tmp_path / "X.npy", X)
    expected = LinearSVCPath(CS, cv=3, tol=1e-9).fit(X, y)
    monkeypatch.setattr(eigenrows, "IN_MEMORY_BYTES", 0)
    mapped = LinearSVCPath(CS, cv=3, tol=1e-9).fit(np.load(tmp_path / "X.npy", mmap_mode="r"), y)
    assert mapped.converged_.all()
    np.testing.assert_allclose(mapped.coefs_, expected.coefs_, rtol=1e-2, atol=1e-5)
    assert (mapped.predict(X) == expected.predict(X)).all()


def test_repeated_rows_with_different_labels_come_to_an_end():
    random = np.random.default_rng(3)
    X = 100 * random.standard_normal((24, 28))[random.integers(0, 24, 73)]
    y = random.integers(0, 7, 73)
    model = LinearSVC(100.0).fit(X, y)
    assert model.converged_
    assert model.n_iter_[0] < 400


def test_standardised_inside_it_is_a_pipeline_with_the_scaler():
    X, y = make_features(n_classes=3)
    X[:, 4] = 7.0
    X = X * np.logspace(-3, 3, X.shape[1])
    scaled = StandardScaler().fit_transform(X)
    inside = LinearSVC(0.5, standardize=True, tol=1e-12).fit(X, y)
    outside = LinearSVC(0.5, tol=1e-12).fit(scaled, y)
    np.testing.assert_allclose(inside.decision_function(X), outside.decision_function(scaled), atol=1e-5)


def test_an_unfinished_fit_warns_and_is_marked():
    X, y = make_features()
    with pytest.warns(ConvergenceWarning, match=r"LinearSVC did not converge on the data for C = 10.*max_iter \(2\)"):
        model = LinearSVC(10.0, max_iter=2).fit(X, y)
    assert not model.converged_


@pytest.mark.parametrize("n_classes", [2, 3])
def test_folds_score_as_separate_fits_do(n_classes):
    X, y = make_features(n_samples=150, n_classes=n_classes, separation=0.5)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    path = LinearSVCPath(CS, cv=folds, tol=1e-14).fit(X, y)
    expected = np.transpose([cross_val_score(LinearSVC(C, tol=1e-14), X, y, cv=folds) for C in CS])
    np.testing.assert_allclose(path.scores_, expected, atol=1e-9)
    assert path.best_index_ == expected.mean(axis=0).argmax()
    assert isinstance(path.model_at(CS[2]), LinearSVC)
    assert not hasattr(path, "predict_proba")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(path)).decision_function(X), path.decision_function(X))
