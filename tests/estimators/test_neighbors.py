"""Nearest neighbours against scikit-learn's and against published code's arithmetic, written out here."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance
import sklearn.neighbors
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from embedkit.errors import UsageError
from embedkit.estimators import KNeighborsClassifier, NearestClassMean, nearest_rows


def make(n=300, d=16, n_classes=5, seed=0, dtype=np.float32):
    random = np.random.default_rng(seed)
    y = random.integers(0, n_classes, n)
    y[:n_classes] = np.arange(n_classes)
    centres = 0.7 * np.random.default_rng(99).standard_normal((n_classes, d))
    return (1 + centres[y] + random.standard_normal((n, d))).astype(dtype), y


@pytest.fixture
def small_blocks(monkeypatch):
    """Several parts of rows and blocks of queries, as for large data."""
    monkeypatch.setattr(nearest_rows, "PART_ROWS", 64)
    monkeypatch.setattr(nearest_rows, "QUERY_ROWS", 32)


class TestSearch:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    @pytest.mark.parametrize("k", [1, 7, 100, 300])
    def test_it_is_scikit_learns_brute_force(self, small_blocks, metric, k, dtype):
        X, y = make(dtype=dtype)
        queries, _ = make(70, seed=1, dtype=dtype)
        distances, indices = KNeighborsClassifier(k, metric=metric).fit(X, y).kneighbors(queries)
        reference = sklearn.neighbors.NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute")
        expected, expected_indices = reference.fit(X.astype(np.float64)).kneighbors(queries.astype(np.float64))
        assert distances.dtype == dtype
        np.testing.assert_allclose(distances, expected, atol=2e-6 if dtype == np.float32 else 1e-12)
        assert (indices == expected_indices).mean() > (0.99 if dtype == np.float32 else 0.9999)

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(["cosine", "euclidean"]),
        st.integers(1, 40),
        st.integers(1, 12),
        st.integers(1, 40),
        st.integers(1, 7),
        st.integers(0, 100),
    )
    def test_of_equal_rows_the_first_are_kept(self, metric, n, part_rows, k, different, seed):
        # Copies within and across parts, of numbers whose products are rounded.
        random = np.random.default_rng(seed)
        rows = random.standard_normal((different, 33)).astype(np.float32)[random.integers(0, different, n)]
        queries = random.standard_normal((5, 33)).astype(np.float32)
        k = min(k, n)
        original = nearest_rows.PART_ROWS
        try:
            nearest_rows.PART_ROWS = part_rows
            _, indices = nearest_rows.NearestRows(rows, metric).search(queries, k)
        finally:
            nearest_rows.PART_ROWS = original
        unique, which = np.unique(rows, axis=0, return_inverse=True)
        distances = scipy.spatial.distance.cdist(queries.astype(np.float64), unique.astype(np.float64), metric)
        assert indices.tolist() == [
            sorted(range(n), key=lambda row, of=of: (of[which[row]], row))[:k] for of in distances
        ]

    @pytest.mark.parametrize("part_rows", [3, 1000])
    def test_rows_at_equal_distances_come_back_in_their_order(self, monkeypatch, part_rows):
        # Different rows of whole numbers, whose distances are exact.
        monkeypatch.setattr(nearest_rows, "PART_ROWS", part_rows)
        rows = np.random.default_rng(0).permutation(np.array([[a, b] for a in range(8) for b in range(8)], np.float64))
        distances = np.linalg.norm(rows - [3, 3], axis=1)
        for k in range(1, 65):
            found, indices = nearest_rows.NearestRows(rows, "euclidean").search(np.array([[3.0, 3.0]]), k)
            # Which rows scikit-learn keeps of those that tie for the last place is up to its heap.
            reference = sklearn.neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
            np.testing.assert_allclose(found, reference.kneighbors([[3.0, 3.0]])[0])
            assert indices[0].tolist() == np.argsort(distances, kind="stable")[:k].tolist()

    def test_an_equal_row_is_at_distance_zero_exactly(self):
        X, y = make()
        far = X + 1000  # |q|^2 - 2 q x + |x|^2 would be rounding here
        distances, indices = KNeighborsClassifier(3, metric="euclidean").fit(far, y).kneighbors(far)
        assert (distances[:, 0] == 0).all()
        assert (indices[:, 0] == np.arange(len(X))).all()

    def test_rows_of_zeros_are_unlike_everything(self):
        X, y = make(20)
        X[3] = 0
        distances, _ = KNeighborsClassifier(20).fit(X, y).kneighbors(X[3:4])
        np.testing.assert_array_equal(distances, 1)

    def test_training_rows_are_not_copied(self):
        X, y = make()
        model = KNeighborsClassifier().fit(X, y)
        assert np.shares_memory(model._nearest._rows, X)

    def test_all_rows_vote_where_there_are_fewer_than_k(self):
        X, y = make(8)
        assert KNeighborsClassifier(100).fit(X, y).kneighbors(X)[1].shape == (8, 8)


class TestVotes:
    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    @pytest.mark.parametrize("weights", ["uniform", "distance"])
    def test_shares_are_scikit_learns(self, small_blocks, metric, weights):
        X, y = make(dtype=np.float64)
        queries, _ = make(70, seed=1, dtype=np.float64)
        arguments = {"metric": metric, "weights": weights}
        ours = KNeighborsClassifier(11, **arguments).fit(X, y)
        reference = sklearn.neighbors.KNeighborsClassifier(11, algorithm="brute", **arguments).fit(X, y)
        np.testing.assert_allclose(ours.predict_proba(queries), reference.predict_proba(queries), atol=1e-9)
        np.testing.assert_array_equal(ours.predict(queries), reference.predict(queries))

    def test_a_row_at_distance_zero_outvotes_all_others(self):
        X, y = make()
        model = KNeighborsClassifier(50, metric="euclidean", weights="distance").fit(X, y)
        np.testing.assert_array_equal(model.predict(X), y)
        assert model.predict_proba(X).max(axis=1).tolist() == [1.0] * len(X)

    def test_softmax_votes_are_those_of_dinov2(self, small_blocks):
        # dinov2/eval/knn.py: cosine similarities of normalised features, softmax(sim / T) over the largest k,
        # the votes of the first k summed by class.
        X, y = make()
        queries, _ = make(40, seed=1)
        train, test = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (X, queries))
        similarities = test @ train.T
        order = np.argsort(-similarities, axis=1)[:, :100]
        votes = softmax(np.take_along_axis(similarities, order, axis=1) / 0.07, axis=1)
        one_hot = np.eye(5)[y[order]]
        model = KNeighborsClassifier(100, weights="softmax").fit(X, y)
        by_k = model.predict_proba_by_k(queries, [100, 10, 20])
        assert by_k.shape == (3, 40, 5)
        for shares, k in zip(by_k, [100, 10, 20], strict=True):
            expected = (votes[:, :k, None] * one_hot[:, :k]).sum(axis=1)
            np.testing.assert_allclose(shares, expected / expected.sum(axis=1, keepdims=True), atol=2e-5)
            single = KNeighborsClassifier(k, weights="softmax").fit(X, y).predict_proba(queries)
            np.testing.assert_allclose(shares, single, atol=1e-6)

    def test_a_small_temperature_is_the_nearest_neighbour(self):
        X, y = make()
        queries, _ = make(40, seed=1)
        cold = KNeighborsClassifier(50, weights="softmax", temperature=1e-6).fit(X, y)
        np.testing.assert_array_equal(cold.predict(queries), KNeighborsClassifier(1).fit(X, y).predict(queries))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"n_neighbors": 0}, "at least 1"),
            ({"metric": "manhattan"}, "'cosine' or 'euclidean'"),
            ({"weights": "gauss"}, "'uniform', 'distance' or 'softmax'"),
            ({"temperature": 0}, "positive"),
        ],
    )
    def test_arguments_out_of_range(self, arguments, message):
        with pytest.raises(UsageError, match=message):
            KNeighborsClassifier(**arguments).fit(*make())

    @pytest.mark.parametrize("k", [[], [0], [5, -1]])
    def test_numbers_of_neighbours_out_of_range(self, k):
        X, y = make()
        with pytest.raises(UsageError, match="at least 1"):
            KNeighborsClassifier().fit(X, y).predict_proba_by_k(X, k)
        with pytest.raises(UsageError, match="at least 1"):
            KNeighborsClassifier().fit(X, y).kneighbors(X, 0)


class TestNearestClassMean:
    @pytest.mark.parametrize("n_classes", [2, 5])
    def test_it_is_simpleshots_cl2n(self, n_classes):
        X, y = make(n_classes=n_classes, dtype=np.float64)
        queries, _ = make(60, seed=1, dtype=np.float64)
        train, test = (a - X.mean(axis=0) for a in (X, queries))
        train, test = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (train, test))
        means = np.stack([train[y == k].mean(axis=0) for k in range(n_classes)])
        expected = np.linalg.norm(test[:, None] - means, axis=2).argmin(axis=1)
        model = NearestClassMean().fit(X, y)
        np.testing.assert_array_equal(model.predict(queries), expected)
        np.testing.assert_allclose(model.class_means_, means)

    def test_plain_it_is_scikit_learns_nearest_centroid(self):
        X, y = make(dtype=np.float64)
        reference = sklearn.neighbors.NearestCentroid().fit(X, y)
        model = NearestClassMean(center=False, normalize=False).fit(X, y)
        np.testing.assert_allclose(model.class_means_, reference.centroids_)
        np.testing.assert_array_equal(model.predict(X), reference.predict(X))

    def test_float32_stays(self):
        X, y = make()
        model = NearestClassMean().fit(X, y)
        assert model.class_means_.dtype == model.decision_function(X).dtype == np.float32

    def test_a_row_at_the_mean_is_no_division_by_zero(self):
        model = NearestClassMean().fit([[0.0, 1.0], [0.0, -1.0]], ["up", "down"])
        assert np.isfinite(model.decision_function([[0.0, 0.0]])).all()
