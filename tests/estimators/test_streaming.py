"""Estimators from sufficient statistics against scikit-learn's on the same data in memory."""

from __future__ import annotations

import io
import pickle

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from embedkit.compat import sklearn_release
from embedkit.errors import UsageError
from embedkit.estimators import (
    StreamingLDA,
    StreamingPCA,
    StreamingRidge,
    StreamingRidgeClassifier,
    SufficientStatistics,
)
from embedkit.estimators import sufficient_statistics as module

CLOSE = {"rtol": 1e-6, "atol": 1e-8}


def make(n_samples=400, n_features=12, n_classes=4, seed=0, offset=3.0):
    random = np.random.default_rng(seed)
    y = random.integers(0, n_classes, n_samples)
    y[:n_classes] = np.arange(n_classes)
    centres = random.standard_normal((n_classes, n_features))
    return centres[y] + random.standard_normal((n_samples, n_features)) * np.linspace(2, 0.2, n_features) + offset, y


def batches(*arrays, size=70):
    for start in range(0, len(arrays[0]), size):
        yield tuple(array[start : start + size] for array in arrays)


class TestSufficientStatistics:
    @settings(max_examples=30, deadline=None)
    @given(cuts=st.lists(st.integers(0, 60), max_size=4), order=st.randoms(), weighted=st.booleans())
    def test_any_cut_into_parts_merged_in_any_order_is_the_whole(self, cuts, order, weighted):
        X, y = make(60)
        weights = np.random.default_rng(1).uniform(0.5, 2, 60) if weighted else np.ones(60)
        values = np.column_stack([X @ np.arange(12.0), y])
        for target, targets in (("none", None), ("classes", y), ("values", values)):
            whole = SufficientStatistics(target).update(X, targets, weights)
            edges = [0, *sorted(cuts), 60]
            parts = [
                SufficientStatistics(target).update(X[a:b], None if targets is None else targets[a:b], weights[a:b])
                for a, b in zip(edges[:-1], edges[1:], strict=True)
            ]
            order.shuffle(parts)
            merged = SufficientStatistics(target)
            for part in parts:
                merged.merge(part)
            for name, value in whole.to_arrays().items():
                if name != "target":
                    np.testing.assert_allclose(merged.to_arrays()[name], value, rtol=1e-10, atol=1e-10)

    def test_they_are_the_definitions(self, monkeypatch):
        monkeypatch.setattr(module, "BLOCK_ROWS", 7)
        X, y = make(50)
        weights = np.arange(50.0)
        statistics = SufficientStatistics("classes").update(X, y, weights)
        mean = np.average(X, axis=0, weights=weights)
        assert statistics.n == weights.sum()
        np.testing.assert_allclose(statistics.mean, mean)
        np.testing.assert_allclose(statistics.scatter, (X - mean).T @ np.diag(weights) @ (X - mean))
        for k, label in enumerate(statistics.classes):
            of_class = y == label
            np.testing.assert_allclose(
                statistics.class_means[k], np.average(X[of_class], axis=0, weights=weights[of_class])
            )

    def test_a_mean_far_from_zero_costs_no_digits(self):
        X, _ = make(offset=0.0)
        moved = SufficientStatistics().update(X + 1e6)
        np.testing.assert_allclose(moved.scatter, SufficientStatistics().update(X).scatter, rtol=1e-8, atol=1e-6)

    def test_the_state_travels_as_arrays(self):
        X, y = make()
        labels = np.array(["ant", "bee", "cat", "dog"])[y]
        statistics = SufficientStatistics("classes").update(X, labels)
        buffer = io.BytesIO()
        np.savez(buffer, **statistics.to_arrays())
        buffer.seek(0)
        with np.load(buffer) as arrays:
            again = SufficientStatistics.from_arrays(arrays)
        assert again.classes.tolist() == ["ant", "bee", "cat", "dog"]
        again.update(X, labels)
        assert again.n == 800
        assert statistics.n == 400

    def test_an_hdf5_dataset_is_read_in_blocks(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "BLOCK_ROWS", 64)
        X, _ = make()
        with h5py.File(tmp_path / "features.h5", "w") as file:
            dataset = file.create_dataset("features", data=X.astype(np.float16))
            statistics = SufficientStatistics().update(dataset)
        expected = SufficientStatistics().update(X.astype(np.float16).astype(np.float64))
        np.testing.assert_allclose(statistics.scatter, expected.scatter)

    def test_the_scaler_is_scikit_learns(self):
        X, _ = make()
        X[:, 4] = 0.1
        scaler, reference = SufficientStatistics().update(X).standard_scaler(), StandardScaler().fit(X)
        np.testing.assert_allclose(scaler.mean_, reference.mean_)
        np.testing.assert_allclose(scaler.scale_, reference.scale_, **CLOSE)
        np.testing.assert_allclose(scaler.transform(X), reference.transform(X), **CLOSE)
        assert scaler.transform(X.astype(np.float32)).dtype == np.float32

    def test_what_cannot_be_taken_in_is_named_and_changes_nothing(self, monkeypatch):
        X, y = make(20)
        statistics = SufficientStatistics("classes").update(X, y)
        before = statistics.to_arrays()
        for message, call in {
            "one entry for each": lambda: statistics.update(X, y[:3]),
            "y is None": lambda: statistics.update(X),
            "of 5 features": lambda: statistics.update(X[:, :5], y),
            "NaN or infinity in rows 0 to 19": lambda: statistics.update(np.where(X > 4, np.nan, X), y),
            "expected \\(n_samples, n_features\\)": lambda: statistics.update(X[0], y),
            "target='none'": lambda: statistics.merge(SufficientStatistics()),
        }.items():
            with pytest.raises(UsageError, match=message):
                call()
        monkeypatch.setattr(module, "BLOCK_ROWS", 8)
        with pytest.raises(UsageError, match="in rows 16 to 19"):
            statistics.update(np.vstack([X[:19], np.full((1, 12), np.nan)]), y)
        for name, value in statistics.to_arrays().items():
            np.testing.assert_array_equal(value, before[name])
        with pytest.raises(UsageError, match="expected 'none'"):
            SufficientStatistics("labels")
        with pytest.raises(UsageError, match="call update first"):
            SufficientStatistics().standard_scaler()
        with pytest.raises(UsageError, match="y holds NaN"):
            SufficientStatistics("values").update(X, np.full(20, np.nan))

    def test_nothing_to_take_in_changes_nothing(self):
        statistics = SufficientStatistics().update(np.empty((0, 5)))
        assert statistics.n == 0


@pytest.mark.parametrize("fit_intercept", [True, False])
class TestRidge:
    @pytest.mark.parametrize("weighted", [False, True])
    def test_every_alpha_is_scikit_learns(self, fit_intercept, weighted):
        X, _ = make()
        values = np.column_stack([X @ np.arange(12.0), np.sin(X[:, 0])])
        weights = np.random.default_rng(0).uniform(0, 2, len(X)) if weighted else None
        alphas = [0.01, 1.0, 1e4]
        ours = StreamingRidge(alphas, fit_intercept=fit_intercept).fit(X, values, weights)
        for alpha, coef, intercept in zip(alphas, ours.coefs_, ours.intercepts_, strict=True):
            reference = Ridge(alpha, fit_intercept=fit_intercept).fit(X, values, weights)
            np.testing.assert_allclose(coef, reference.coef_, **CLOSE)
            np.testing.assert_allclose(intercept, reference.intercept_, **CLOSE)

    def test_one_target_predicts_in_one_dimension(self, fit_intercept):
        X, _ = make()
        y = X @ np.arange(12.0)
        ours, reference = (kind(fit_intercept=fit_intercept).fit(X, y) for kind in (StreamingRidge, Ridge))
        assert ours.coef_.shape == (12,)
        np.testing.assert_allclose(ours.predict(X), reference.predict(X), **CLOSE)
        assert StreamingRidge().fit(X, y[:, None]).predict(X).shape == (len(X), 1)

    @pytest.mark.parametrize("n_classes", [2, 4])
    def test_the_classifier_is_scikit_learns(self, fit_intercept, n_classes):
        X, y = make(n_classes=n_classes)
        ours, reference = (
            kind(fit_intercept=fit_intercept).fit(X, y) for kind in (StreamingRidgeClassifier, RidgeClassifier)
        )
        np.testing.assert_allclose(ours.coef_, np.atleast_2d(reference.coef_), **CLOSE)
        np.testing.assert_allclose(ours.intercept_, reference.intercept_, **CLOSE)
        np.testing.assert_array_equal(ours.predict(X), reference.predict(X))
        np.testing.assert_allclose(ours.decision_function(X), reference.decision_function(X), **CLOSE)


class TestLDA:
    @pytest.mark.parametrize("n_classes", [2, 4])
    @pytest.mark.parametrize("arguments", [{}, {"priors": True}, {"shrinkage": 0.2}])
    def test_it_is_scikit_learns(self, n_classes, arguments):
        X, y = make(n_classes=n_classes)
        if "priors" in arguments:
            arguments = {"priors": np.arange(1.0, n_classes + 1) / np.arange(1.0, n_classes + 1).sum()}
        ours = StreamingLDA(**arguments).fit(X, y)
        # "lsqr" weights the covariances of the classes by the priors; "svd" of 1.9 divides by n as we do.
        solver = "svd" if "priors" in arguments else "lsqr"
        if solver == "svd" and sklearn_release() < (1, 9):
            pytest.skip("older releases scale the covariance otherwise")
        reference = LinearDiscriminantAnalysis(solver=solver, **arguments).fit(X, y)
        scores, expected = ours.decision_function(X), reference.decision_function(X)
        if n_classes > 2 and not arguments:  # "lsqr" adds the same to all scores of a row, "svd" does not
            scores, expected = (s - s.mean(axis=1, keepdims=True) for s in (scores, expected))
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours.predict_proba(X), reference.predict_proba(X), rtol=1e-6, atol=1e-8)
        np.testing.assert_array_equal(ours.predict(X), reference.predict(X))

    @pytest.mark.parametrize("n_components", [None, 2])
    def test_the_projection_is_scikit_learns(self, n_components):
        X, y = make()
        ours = StreamingLDA(n_components=n_components).fit(X, y)
        reference = LinearDiscriminantAnalysis(n_components=n_components).fit(X, y)
        projected, expected = ours.transform(X), reference.transform(X)
        # Up to the sign of each direction, and a common scale in older releases.
        scale = np.abs(projected).mean(axis=0) / np.abs(expected).mean(axis=0)
        np.testing.assert_allclose(scale, scale[0], rtol=1e-9)
        np.testing.assert_allclose(np.abs(projected), np.abs(expected) * scale, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(ours.explained_variance_ratio_, reference.explained_variance_ratio_, **CLOSE)
        assert ours.get_feature_names_out().tolist() == [f"streaminglda{i}" for i in range(projected.shape[1])]

    def test_constant_and_repeated_features_are_left_out(self):
        X, y = make()
        wide = np.column_stack([X, X[:, :2], np.full(len(X), 5.0)])
        np.testing.assert_array_equal(StreamingLDA().fit(wide, y).predict(wide), StreamingLDA().fit(X, y).predict(X))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"n_components": 4}, "n_components=4, expected 1 to 3"),
            ({"shrinkage": "auto"}, "shrinkage='auto'"),
            ({"shrinkage": 1.5}, "0 to 1"),
            ({"priors": [1.0, -1.0, 1.0, 1.0]}, "priors"),
            ({"priors": [0.5, 0.5]}, "4 numbers"),
            ({"priors": [0.25] * 4, "shrinkage": 0.5}, "None together with shrinkage"),
        ],
    )
    def test_arguments_out_of_range(self, arguments, message):
        with pytest.raises(UsageError, match=message):
            StreamingLDA(**arguments).fit(*make())

    def test_a_row_a_class_is_refused(self):
        X, _ = make(4)
        with pytest.raises(UsageError, match="more samples than classes"):
            StreamingLDA().fit(X, np.arange(4))


class TestPCA:
    @pytest.mark.parametrize("n_components", [None, 3, 0.8])
    @pytest.mark.parametrize("whiten", [False, True])
    def test_it_is_scikit_learns(self, n_components, whiten):
        X, _ = make()
        ours, reference = (kind(n_components, whiten=whiten).fit(X) for kind in (StreamingPCA, PCA))
        for name in (
            "components_",
            "explained_variance_",
            "explained_variance_ratio_",
            "singular_values_",
            "mean_",
            "noise_variance_",
            "n_components_",
        ):
            np.testing.assert_allclose(getattr(ours, name), getattr(reference, name), err_msg=name, **CLOSE)
        projected = ours.transform(X)
        np.testing.assert_allclose(projected, reference.transform(X), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(ours.inverse_transform(projected), reference.inverse_transform(projected), **CLOSE)

    def test_fewer_rows_than_features(self):
        X, _ = make(8)
        ours, reference = StreamingPCA().fit(X), PCA().fit(X)
        assert ours.components_.shape == reference.components_.shape
        np.testing.assert_allclose(ours.transform(X)[:, :-1], reference.transform(X)[:, :-1], rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("n_components", [0, 13, 1.5, -1])
    def test_components_out_of_range(self, n_components):
        with pytest.raises(UsageError, match="n_components"):
            StreamingPCA(n_components).fit(make()[0])


class TestPasses:
    @pytest.mark.parametrize("kind", [StreamingRidge, StreamingRidgeClassifier, StreamingLDA, StreamingPCA])
    def test_batches_and_merged_parts_equal_one_fit(self, kind):
        X, y = make()
        whole = kind().fit(X, y)
        by_batch = kind()
        for batch in batches(X, y):
            by_batch.partial_fit(*batch)
        target = {StreamingRidge: "values", StreamingPCA: "none"}.get(kind, "classes")
        left = SufficientStatistics(target).update(X[:150], y[:150])
        right = SufficientStatistics(target).update(X[150:], y[150:])
        merged = kind().fit_statistics(right.merge(left))
        name = "components_" if kind is StreamingPCA else "coef_"
        for other in (by_batch, merged):
            np.testing.assert_allclose(getattr(other, name), getattr(whole, name), rtol=1e-8, atol=1e-10)
        again = by_batch.fit(X, y)
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))

    @pytest.mark.parametrize("kind", [StreamingRidge, StreamingRidgeClassifier, StreamingLDA, StreamingPCA])
    def test_a_model_goes_on_as_long_as_it_has_its_statistics(self, kind):
        X, y = make()
        model = kind().fit(X[:200], y[:200]).partial_fit(X[200:], y[200:])
        name = "components_" if kind is StreamingPCA else "coef_"
        np.testing.assert_allclose(getattr(model, name), getattr(kind().fit(X, y), name), rtol=1e-8, atol=1e-10)
        del model.statistics_
        assert len(pickle.dumps(model)) < len(pickle.dumps(kind().fit(X, y)))
        assert len(model.transform(X) if kind is StreamingPCA else model.predict(X)) == len(X)
        with pytest.raises(UsageError, match="no statistics to go on with"):
            model.partial_fit(X, y)

    @pytest.mark.parametrize("kind", [StreamingLDA, StreamingPCA])
    def test_a_model_does_not_change_with_its_statistics(self, kind):
        X, y = make()
        statistics = SufficientStatistics("classes").update(X, y)
        model = kind().fit_statistics(statistics)
        before = model.transform(X)
        statistics.update(X + 1, y)
        np.testing.assert_array_equal(model.transform(X), before)

    @pytest.mark.parametrize("kind", [StreamingRidgeClassifier, StreamingLDA])
    def test_classes_may_turn_up_late(self, kind):
        X, y = make()
        order = np.argsort(y, kind="stable")
        late = kind()
        for batch in batches(X[order], y[order], size=50):
            late.partial_fit(*batch)
        np.testing.assert_allclose(late.coef_, kind().fit(X, y).coef_, rtol=1e-8, atol=1e-10)
        one_class = kind().partial_fit(X[y == 0], y[y == 0])
        with pytest.raises(NotFittedError):
            one_class.predict(X)
        with pytest.raises(UsageError, match=r"labels \[3\] are none of the classes"):
            kind().partial_fit(X, y, classes=[0, 1, 2])

    @pytest.mark.parametrize("kind", [StreamingRidge, StreamingRidgeClassifier, StreamingLDA])
    def test_statistics_of_another_target_are_refused(self, kind):
        with pytest.raises(UsageError, match="needs statistics of target="):
            kind().fit_statistics(SufficientStatistics().update(make()[0]))

    @pytest.mark.parametrize("kind", [StreamingRidgeClassifier, StreamingLDA])
    def test_one_class_is_refused(self, kind):
        X, y = make()
        with pytest.raises(UsageError, match="at least 2 classes"):
            kind().fit(X, np.zeros_like(y))


class TestSelectAlpha:
    @pytest.mark.parametrize(("kind", "single"), [(StreamingRidge, Ridge), (StreamingRidgeClassifier, RidgeClassifier)])
    def test_the_best_on_held_out_rows_predicts(self, kind, single):
        X, y = make(120, n_classes=2)
        X_val, y_val = make(120, n_classes=2, seed=5)
        alphas = np.array([1e-3, 1e5, 10.0, 300.0])
        ours = kind(alphas).fit(X, y)
        with pytest.raises(UsageError, match="4 alphas and has chosen none"):
            ours.predict(X)
        ours.select(X_val, y_val)
        expected = [single(alpha).fit(X, y).score(X_val, y_val) for alpha in alphas]
        np.testing.assert_allclose(ours.scores_, expected, rtol=1e-6)
        best = max(alpha for alpha, score in zip(alphas, expected, strict=True) if score >= max(expected) - 1e-12)
        assert ours.best_alpha_ == best
        assert ours.at_edge_ == (best in (1e-3, 1e5))
        np.testing.assert_allclose(ours.predict(X), single(best).fit(X, y).predict(X), **CLOSE)

    @pytest.mark.parametrize("alphas", [-1.0, [], [1.0, np.nan], np.inf])
    def test_alphas_out_of_range(self, alphas):
        with pytest.raises(UsageError, match="alphas"):
            StreamingRidgeClassifier(alphas).fit(*make())

    def test_no_penalty_leaves_directions_without_variance_alone(self):
        X, y = make()
        wide = np.column_stack([X, X[:, 0]])
        np.testing.assert_allclose(
            StreamingRidgeClassifier(0.0).fit(wide, y).decision_function(wide),
            StreamingRidgeClassifier(0.0).fit(X, y).decision_function(X),
            rtol=1e-5,
            atol=1e-7,
        )


def test_text_and_numbers_are_not_mixed_as_classes():
    statistics = SufficientStatistics("classes").update(np.eye(2), ["a", "b"])
    with pytest.raises(UsageError, match="cannot be mixed"):
        statistics.update(np.eye(2), [0, 1])
    assert statistics.n == 2
    with pytest.raises(UsageError, match="merge got 3"):
        statistics.merge(3)
