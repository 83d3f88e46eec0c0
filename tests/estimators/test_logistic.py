"""LogisticRegression and LogisticRegressionPath against scikit-learn's solvers and an objective written here."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import sklearn.linear_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import log_expit, log_softmax
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import PredefinedSplit, StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from embedkit.errors import DeviceError, UsageError
from embedkit.estimators import LogisticRegression, LogisticRegressionPath, eigenrows
from embedkit.estimators.eigenrows import EigenRows
from embedkit.estimators.linear_problem import LinearPath
from tests.estimators.gaussians import CS, make_features


def objective(X, y, coef, intercept, C, weights=None):
    """scikit-learn's objective, in float64, from its documentation: C sum_i s_i loss_i + ||W||^2 / 2."""
    X, coef, intercept = (np.asarray(a, dtype=np.float64) for a in (X, coef, intercept))
    weights = np.ones(len(y)) if weights is None else weights
    scores = X @ coef.T + intercept
    if scores.shape[1] == 1:
        losses = -log_expit(np.where(y == 1, 1, -1) * scores[:, 0])
    else:
        losses = -log_softmax(scores, axis=1)[np.arange(len(y)), y]
    return C * float(weights @ losses) + float((coef**2).sum()) / 2


def optimum(X, y, C, weights=None, **arguments):
    """scikit-learn's own optimum, at a tolerance where its solver still converges."""
    reference = sklearn.linear_model.LogisticRegression(
        C=C, solver="newton-cg", tol=1e-10, max_iter=100_000, **arguments
    )
    with warnings.catch_warnings():
        # Its line search gives up once rounding hides the decrease: as good as it gets.
        warnings.simplefilter("ignore")
        reference.fit(X.astype(np.float64), y, sample_weight=weights)
    return reference


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_each_value_of_the_path_is_at_scikit_learns_optimum(n_classes, dtype, device):
    X, y = make_features(n_classes=n_classes, dtype=dtype)
    path = LogisticRegressionPath(CS, cv=None, device=device).fit(X, y)
    assert path.coefs_.dtype == dtype
    assert path.coefs_.shape == (len(CS), 1 if n_classes == 2 else n_classes, X.shape[1])
    assert path.converged_.all()
    for C, coef, intercept, gap in zip(CS, path.coefs_, path.intercepts_, path.gaps_, strict=True):
        reference = optimum(X, y, C)
        best = objective(X, y, reference.coef_, reference.intercept_, C)
        reached = objective(X, y, coef, intercept, C)
        assert -1e-9 <= reached / best - 1 <= 1e-6
        assert 0 <= gap <= 1e-6


@pytest.mark.parametrize("n_classes", [2, 5])
def test_at_a_tight_tolerance_the_coefficients_are_scikit_learns(n_classes):
    X, y = make_features(n_classes=n_classes)
    ours, reference = LogisticRegression(0.3, tol=1e-14).fit(X, y), optimum(X, y, 0.3)
    assert ours.converged_
    np.testing.assert_allclose(ours.coef_, reference.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, reference.intercept_, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), reference.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.predict_log_proba(X), reference.predict_log_proba(X), atol=1e-5)
    np.testing.assert_allclose(ours.decision_function(X), reference.decision_function(X), atol=1e-5)
    assert (ours.predict(X) == reference.predict(X)).all()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "arguments", [{"fit_intercept": False}, {"class_weight": {0: 5.0, 1: 0.5}}, {"class_weight": "balanced"}]
)
def test_arguments_mean_what_they_mean_in_scikit_learn(n_classes, arguments):
    X, y = make_features(n_classes=n_classes)
    X, y = X[30:][: 120 + y[30] :], y[30:][: 120 + y[30] :]
    kept = (y > 0) | (np.arange(len(y)) % 3 == 0)  # unbalanced
    X, y = X[kept] - X.mean(axis=0), y[kept]
    ours, reference = LogisticRegression(2.0, tol=1e-14, **arguments).fit(X, y), optimum(X, y, 2.0, **arguments)
    np.testing.assert_allclose(ours.coef_, reference.coef_, atol=2e-6)
    np.testing.assert_allclose(ours.intercept_, reference.intercept_, atol=2e-6)


def test_sample_weights_are_scikit_learns_and_zero_is_absence():
    X, y = make_features(n_classes=3)
    weights = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    ours = LogisticRegression(2.0, tol=1e-14).fit(X, y, sample_weight=weights)
    reference = optimum(X, y, 2.0, weights)
    np.testing.assert_allclose(ours.coef_, reference.coef_, atol=2e-6)
    repeated = np.repeat(np.arange(len(y)), weights.astype(int))
    np.testing.assert_allclose(
        ours.coef_, LogisticRegression(2.0, tol=1e-14).fit(X[repeated], y[repeated]).coef_, atol=2e-6
    )


def test_fewer_rows_than_features_lose_nothing():
    X, y = make_features(n_samples=60, n_features=200, n_classes=3)
    path = LogisticRegressionPath(CS, cv=None, tol=1e-9).fit(X, y)
    for C, coef, intercept in zip(CS, path.coefs_, path.intercepts_, strict=True):
        reference = optimum(X, y, C)
        best = objective(X, y, reference.coef_, reference.intercept_, C)
        assert objective(X, y, coef, intercept, C) / best - 1 <= 1e-8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_separable_classes_are_solved_far_below_the_precision_of_a_probability(dtype, device):
    X, y = make_features(separation=20.0, dtype=dtype)
    model = LogisticRegression(1e6, device=device).fit(X, y)
    assert model.converged_
    loss = objective(X, y, model.coef_, model.intercept_, 1.0) - float((model.coef_.astype(float) ** 2).sum()) / 2
    assert loss / len(y) < 1e-7  # 1 - p(y) would be rounding in float32
    reference = optimum(X, y, 1e6)
    best = objective(X, y, reference.coef_, reference.intercept_, 1e6)
    assert objective(X, y, model.coef_, model.intercept_, 1e6) / best - 1 <= 2e-6


@pytest.mark.parametrize(("offset", "scale"), [(0, 1e-4), (0, 1e4), (1e3, 1.0)])
def test_features_may_have_any_offset_and_scale(offset, scale):
    X, y = make_features()
    C = 1.0 / scale**2
    moved = offset + scale * X
    ours = LogisticRegression(C, tol=1e-12).fit(moved, y)
    plain = LogisticRegression(1.0, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(ours.coef_ * scale, plain.coef_, atol=1e-5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    n_classes=st.integers(2, 4),
    n_samples=st.integers(8, 60),
    n_features=st.integers(1, 30),
    log_C=st.floats(-4, 4),
    max_iter=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
def test_the_gap_bounds_the_distance_from_the_optimum(n_classes, n_samples, n_features, log_C, max_iter, seed):
    X, y = make_features(n_samples, n_features, n_classes, seed=seed)
    C = 10**log_C
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        rough = LogisticRegression(C, max_iter=max_iter).fit(X, y)
    exact = LogisticRegression(C, tol=1e-11).fit(X, y)
    best = objective(X, y, exact.coef_, exact.intercept_, C)
    reached = objective(X, y, rough.coef_, rough.intercept_, C)
    # The part of the intercepts is a second-order estimate: of 5,800 random fits 6 were further than 1.2 gaps from
    # the optimum, one of them 3.4 gaps.
    assert (reached - best) / reached <= 10 * rough.gap_ + 1e-9


def test_repeated_rows_with_different_labels_come_to_an_end():
    # Some classes separate and some cannot: with a short memory L-BFGS zigzags here for thousands of iterations.
    random = np.random.default_rng(3)
    X = 100 * random.standard_normal((24, 28))[random.integers(0, 24, 73)]
    y = random.integers(0, 7, 73)
    model = LogisticRegression(100.0).fit(X, y)
    assert model.converged_
    assert model.n_iter_[0] < 400


def test_an_unfinished_fit_warns_and_is_marked():
    X, y = make_features()
    with pytest.warns(ConvergenceWarning, match=r"did not converge on the data for C = .*raise max_iter \(2\)"):
        path = LogisticRegressionPath([1e-3, 1e3], cv=None, max_iter=2).fit(X, y)
    assert not path.converged_[1]
    assert path.gaps_[1] > 1e-6
    assert path.grad_norms_[1] > 0


def test_a_tolerance_beyond_float32_is_reached_in_float64(device):
    X, y = make_features(n_samples=600, separation=0.3, dtype=np.float32)
    assert LogisticRegression(1e4, tol=1e-11, device=device).fit(X, y).converged_


def test_a_device_that_is_not_there_is_an_error():
    pytest.importorskip("torch")
    X, y = make_features()
    with pytest.raises(DeviceError, match=r"device='cuda:99' is not available: .*; use device='cpu'$"):
        LogisticRegression(device="cuda:99").fit(X, y)
    with pytest.raises(DeviceError, match="device='gpu'"):
        LogisticRegression(device="gpu").fit(X, y)


def test_gradient_norms_are_those_of_the_mean_objective():
    X, y = make_features(n_classes=3)
    with pytest.warns(ConvergenceWarning):
        model = LogisticRegression(10.0, max_iter=3).fit(X, y)
    step, gradient = 1e-6, []
    flat = np.column_stack([model.coef_, model.intercept_])
    for i in np.ndindex(*flat.shape):
        values = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[i] += sign * step
            values.append(objective(X, y, moved[:, :-1], moved[:, -1], 10.0) / (10.0 * len(y)))
        gradient.append((values[0] - values[1]) / (2 * step))
    # The intercept's gradient is that of centred features here, hence a change of variables away.
    derivative = np.reshape(gradient, flat.shape)
    derivative[:, :-1] -= np.outer(derivative[:, -1], X.mean(axis=0))
    assert model.grad_norm_ == pytest.approx(np.linalg.norm(derivative), rel=1e-4)


def test_values_may_come_in_any_order_and_twice():
    X, y = make_features()
    shuffled = np.array([1.0, 1e-3, 100.0, 1e-3, 1.0])
    path = LogisticRegressionPath(shuffled, cv=None, tol=1e-10).fit(X, y)
    for C, coef in zip(shuffled, path.coefs_, strict=True):
        np.testing.assert_allclose(coef, LogisticRegression(C, tol=1e-10).fit(X, y).coef_, atol=1e-4)
    assert (path.Cs_ == shuffled).all()


@pytest.mark.parametrize("n_samples", [300, 15])
def test_standardised_inside_it_is_a_pipeline_with_the_scaler(n_samples, monkeypatch):
    X, y = make_features(n_samples, n_classes=3)
    X[:, 4] = 7.0
    X = X * np.logspace(-3, 3, X.shape[1])
    scaled = StandardScaler().fit_transform(X)
    for limit in (eigenrows.IN_MEMORY_BYTES, 0):
        monkeypatch.setattr(eigenrows, "IN_MEMORY_BYTES", limit)
        inside = LogisticRegression(0.5, standardize=True, tol=1e-13).fit(X, y)
        outside = LogisticRegression(0.5, tol=1e-13).fit(scaled, y)
        np.testing.assert_allclose(inside.decision_function(X), outside.decision_function(scaled), atol=1e-5)
    path = LogisticRegressionPath([0.5], cv=3, standardize=True, tol=1e-13).fit(X, y)
    np.testing.assert_allclose(path.coef_, inside.coef_, rtol=1e-4, atol=1e-6)
    with pytest.raises(UsageError, match="standardize=True, expected False without an intercept"):
        LogisticRegression(standardize=True, fit_intercept=False).fit(X, y)


def test_half_precision_features_are_fitted_as_single():
    X, y = make_features(dtype=np.float16)
    assert LogisticRegression().fit(X, y).coef_.dtype == np.float32


def test_an_int_is_scikit_learns_grid():
    X, y = make_features(n_samples=60)
    assert LogisticRegressionPath(4, cv=None).fit(X, y).Cs_ == pytest.approx(np.logspace(-4, 4, 4))


def test_rows_left_in_place_give_the_same_path(monkeypatch, device):
    X, y = make_features(n_samples=700, dtype=np.float32)
    copied = LogisticRegressionPath(CS, cv=3, tol=1e-9).fit(X, y)
    monkeypatch.setattr(eigenrows, "IN_MEMORY_BYTES", 0)
    in_place = LogisticRegressionPath(CS, cv=3, tol=1e-9, device=device).fit(X, y)
    np.testing.assert_allclose(in_place.coefs_, copied.coefs_, rtol=2e-3, atol=2e-3)
    assert in_place.best_C_ == copied.best_C_
    for C, coef, intercept, other, other_intercept in zip(
        CS, in_place.coefs_, in_place.intercepts_, copied.coefs_, copied.intercepts_, strict=True
    ):
        ratio = objective(X, y, coef, intercept, C) / objective(X, y, other, other_intercept, C)
        assert ratio == pytest.approx(1, abs=1e-7)


def test_results_do_not_depend_on_the_number_of_threads():
    X, y = make_features(n_samples=3000, dtype=np.float32)
    coefs = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            # The decomposition is BLAS's own; what follows must not add to its differences.
            coefs.append(LogisticRegressionPath(CS, cv=None).fit(X, y).coefs_)
    again = LogisticRegressionPath(CS, cv=None).fit(X, y).coefs_
    np.testing.assert_array_equal(again, LogisticRegressionPath(CS, cv=None).fit(X, y).coefs_)
    for other in coefs[1:]:
        np.testing.assert_allclose(other, coefs[0], atol=1e-3)


class TestSelection:
    def test_a_validation_set_selects_and_joins_the_refit(self):
        X, y = make_features(n_samples=200, n_classes=3, separation=0.5)
        X_val, y_val = X[150:], y[150:]
        path = LogisticRegressionPath(CS, tol=1e-9).fit(X[:150], y[:150], validation=(X_val, y_val))
        scores = [accuracy_score(y_val, path.model_at(C).predict(X_val)) for C in CS]
        assert path.scores_.shape == (1, len(CS))
        assert path.scores_[0].tolist() == scores
        assert path.best_C_ == CS[int(np.argmax(scores))]
        assert path.best_score_ == max(scores)
        assert path.coefs_.shape[0] == len(CS)
        refitted = LogisticRegression(path.best_C_, tol=1e-9).fit(X, y)
        np.testing.assert_allclose(path.coef_, refitted.coef_, atol=1e-6)
        kept = LogisticRegressionPath(CS, tol=1e-9, refit=False).fit(X[:150], y[:150], validation=(X_val, y_val))
        np.testing.assert_array_equal(kept.coef_, kept.coefs_[kept.best_index_])

    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_folds_score_as_separate_fits_do(self, n_classes):
        X, y = make_features(n_samples=150, n_classes=n_classes, separation=0.5)
        folds = StratifiedKFold(3, shuffle=True, random_state=0)
        path = LogisticRegressionPath(CS, cv=folds, scoring="neg_log_loss", tol=1e-10).fit(X, y)
        expected = np.transpose(
            [cross_val_score(LogisticRegression(C, tol=1e-10), X, y, cv=folds, scoring="neg_log_loss") for C in CS]
        )
        np.testing.assert_allclose(path.scores_, expected, atol=1e-4)
        assert path.best_index_ == expected.mean(axis=0).argmax()
        np.testing.assert_array_equal(path.coef_, path.coefs_[path.best_index_])

    def test_only_models_that_are_asked_for_are_mapped_back_to_features(self, monkeypatch):
        X, y = make_features(n_samples=150, n_classes=3, separation=0.5)
        by_features = LogisticRegressionPath(CS, cv=3, scoring=lambda model, X, y: model.score(X, y)).fit(X, y)
        coefs, intercepts = by_features.coefs_, by_features.intercepts_
        mapped = []
        features_model = EigenRows.features_model

        def counting(rows, coefficients, intercepts):
            mapped.append(len(coefficients))
            return features_model(rows, coefficients, intercepts)

        monkeypatch.setattr(EigenRows, "features_model", counting)
        path = LogisticRegressionPath(CS, cv=3).fit(X, y)
        assert len(mapped) == 1
        np.testing.assert_array_equal(path.scores_, by_features.scores_)
        np.testing.assert_array_equal(path.coef_, by_features.coef_)
        np.testing.assert_array_equal(path.model_at(CS[1]).coef_, coefs[1])
        assert len(mapped) == 2
        np.testing.assert_array_equal(path.coefs_, coefs)
        np.testing.assert_array_equal(path.intercepts_, intercepts)

    def test_a_copy_holds_the_models_of_the_features(self):
        X, y = make_features(n_samples=60, n_classes=3)
        path = LogisticRegressionPath(CS, cv=3).fit(X, y)
        again = pickle.loads(pickle.dumps(path))
        assert not any(isinstance(value, LinearPath) for value in vars(again).values())
        np.testing.assert_array_equal(again.coefs_, path.coefs_)
        np.testing.assert_array_equal(again.model_at(CS[2]).intercept_, path.intercepts_[2])
        np.testing.assert_array_equal(again.predict(X), path.predict(X))
        other = again.fit(X[:, 1:], y)
        assert other.coefs_.shape[2] == X.shape[1] - 1

    def test_of_equal_scores_the_smallest_value_wins(self):
        X, y = make_features(separation=20.0)
        path = LogisticRegressionPath([1e3, 1.0, 10.0], cv=3).fit(X, y)
        assert path.scores_.min() == 1.0
        assert path.best_C_ == 1.0
        assert path.best_index_ == 1
        assert path.at_edge_

    def test_the_edge_of_the_grid_is_marked(self):
        X, y = make_features(n_samples=120, separation=0.4)
        wide = LogisticRegressionPath(np.logspace(-6, 4, 11), cv=3, scoring="neg_log_loss").fit(X, y)
        assert not wide.at_edge_
        assert LogisticRegressionPath([wide.best_C_, 1e4], cv=3, scoring="neg_log_loss").fit(X, y).at_edge_
        assert not LogisticRegressionPath([1.0], cv=3).fit(X, y).at_edge_

    def test_a_class_with_one_example_may_be_absent_from_a_fold(self):
        X, y = make_features(n_samples=90, n_classes=3)
        lonely = np.r_[y, 3]
        X = np.r_[X, X[:1] + 3]
        with pytest.warns(UserWarning, match="least populated class"):
            path = LogisticRegressionPath(CS, cv=3).fit(X, lonely)
        assert path.coefs_.shape[1] == 4
        assert path.predict(X[-1:]) == 3

    def test_classes_that_only_the_validation_set_knows_join_the_refit(self):
        X, y = make_features(n_samples=90, n_classes=3)
        path = LogisticRegressionPath(CS).fit(X[y < 2], y[y < 2], validation=(X[y > 0], y[y > 0]))
        assert path.path_classes_.tolist() == [0, 1]
        assert path.classes_.tolist() == [0, 1, 2]
        assert path.predict_proba(X).shape == (90, 3)

    def test_given_splits_and_weights_of_zero_agree_about_rows(self):
        X, y = make_features(n_samples=120, n_classes=2, separation=0.5)
        weights = np.ones(len(y))
        weights[::7] = 0
        fold = np.arange(len(y)) % 3
        weighted = LogisticRegressionPath(CS, cv=PredefinedSplit(fold), tol=1e-10).fit(X, y, sample_weight=weights)
        kept = weights > 0
        removed = LogisticRegressionPath(CS, cv=PredefinedSplit(fold[kept]), tol=1e-10).fit(X[kept], y[kept])
        np.testing.assert_allclose(weighted.scores_, removed.scores_)

    def test_a_scorer_may_be_a_callable(self):
        X, y = make_features(n_samples=90)
        scorer = make_scorer(accuracy_score)
        path = LogisticRegressionPath(CS, cv=3, scoring=scorer).fit(X, y)
        np.testing.assert_array_equal(path.scores_, LogisticRegressionPath(CS, cv=3).fit(X, y).scores_)

    def test_without_selection_it_does_not_predict(self):
        X, y = make_features()
        path = LogisticRegressionPath(CS).fit(X, y)
        path.set_params(cv=None).fit(X, y)
        for name in ("predict", "predict_proba", "decision_function"):
            with pytest.raises(UsageError, match=r"selected no C.*model_at"):
                getattr(path, name)(X)
        assert not hasattr(path, "best_C_")
        model = path.model_at(CS[2])
        np.testing.assert_array_equal(model.coef_, path.coefs_[2])
        assert model.converged_
        with pytest.raises(UsageError, match="C=7 is not on the path"):
            path.model_at(7)

    def test_not_fitted(self):
        with pytest.raises(NotFittedError):
            LogisticRegressionPath().predict([[0.0]])
        with pytest.raises(NotFittedError):
            LogisticRegressionPath().model_at(1.0)


class TestBadInput:
    def test_labels_may_be_strings_floats_or_booleans(self):
        X, y = make_features(n_samples=60, n_classes=2)
        for labels in (np.array(["no", "yes"])[y], y + 0.0, y == 1, np.array(["no", "yes"], dtype=object)[y]):
            model = LogisticRegressionPath([1.0], cv=3).fit(X, labels)
            assert model.classes_.tolist() == sorted(set(labels.tolist()))
            assert (model.predict(X) == labels).mean() > 0.8

    def test_continuous_labels_are_refused(self):
        X, y = make_features()
        with pytest.raises(ValueError, match="continuous"):
            LogisticRegression().fit(X, y + 0.5)

    def test_constant_features_get_no_coefficient(self):
        X, y = make_features()
        X[:, 3] = 7.0
        model = LogisticRegression().fit(X, y)
        np.testing.assert_allclose(model.coef_[:, 3], 0, atol=1e-10)
        assert model.converged_

    def test_features_without_any_variance_predict_the_frequencies(self):
        y = np.array([0, 0, 0, 1])
        model = LogisticRegression().fit(np.ones((4, 3)), y)
        np.testing.assert_allclose(model.predict_proba(np.ones((1, 3))), [[0.75, 0.25]])

    def test_nan_is_refused(self):
        X, y = make_features()
        X[5, 2] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            LogisticRegression().fit(X, y)

    def test_a_class_each_row_is_solved(self):
        X, _ = make_features(n_samples=8)
        model = LogisticRegression(100.0).fit(X, np.arange(8))
        assert model.converged_
        assert (model.predict(X) == np.arange(8)).all()

    def test_one_class_is_refused(self):
        X, _ = make_features()
        with pytest.raises(UsageError, match="at least 2 classes, got 1 class"):
            LogisticRegression().fit(X, np.zeros(len(X)))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"Cs": []}, "list of values"),
            ({"Cs": [1.0, -1.0]}, "positive"),
            ({"Cs": [np.inf]}, "finite"),
            ({"Cs": 0}, "at least one"),
            ({"Cs": [[1.0]]}, "list of values"),
            ({"tol": 0}, "between 0 and 1"),
            ({"max_iter": 0}, "at least 1"),
        ],
    )
    def test_arguments_out_of_range(self, arguments, message):
        X, y = make_features()
        with pytest.raises(UsageError, match=message):
            LogisticRegressionPath(**arguments).fit(X, y)

    @pytest.mark.parametrize("C", [0, -1, np.inf, np.nan])
    def test_value_out_of_range(self, C):
        X, y = make_features()
        with pytest.raises(UsageError, match=r"LogisticRegression got C=.*, expected a positive, finite number"):
            LogisticRegression(C).fit(X, y)

    @pytest.mark.parametrize("weights", [np.full(300, np.nan), -np.ones(300), np.zeros(300), np.ones(3)])
    def test_weights_that_mean_nothing(self, weights):
        X, y = make_features()
        with pytest.raises(ValueError, match="sample_weight"):
            LogisticRegression().fit(X, y, sample_weight=weights)

    @pytest.mark.parametrize("validation", [(1,), [[1.0], [1]], "no"])
    def test_a_validation_set_is_a_tuple(self, validation):
        X, y = make_features()
        with pytest.raises(UsageError, match="expected a tuple"):
            LogisticRegressionPath(CS).fit(X, y, validation=validation)

    def test_a_fold_of_one_class_is_refused(self):
        X, y = make_features(n_samples=60, n_classes=2)
        with pytest.raises(UsageError, match="fewer than 2 classes"):
            LogisticRegressionPath(CS, cv=PredefinedSplit(y)).fit(X, y)


def test_a_fitted_model_survives_pickling():
    X, y = make_features(n_samples=60)
    path = LogisticRegressionPath(CS, cv=3).fit(X, y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(path)).predict_proba(X), path.predict_proba(X))
