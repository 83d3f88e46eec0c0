"""NearestImages against the whole matrix of cosines in float64, for arrays, tables and feature files of both types."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from embedkit import FeatureTable, NearestImages, extract
from embedkit.errors import UsageError
from tests.photos import make_manifest

EXACT = {"weights": "random", "precision": "fp32", "engine": "torch"}


def all_cosines(queries, rows):
    queries, rows = np.float64(queries), np.float64(rows)
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(rows, axis=1)
    return np.divide(queries @ rows.T, lengths, out=np.zeros_like(lengths), where=lengths > 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9000), st.integers(1, 600), st.integers(1, 30), st.integers(0, 2**31))
def test_the_same_as_the_whole_matrix(rows, queries, k, seed):
    rng = np.random.default_rng(seed)
    X, Q = rng.normal(size=(rows, 5)).astype(np.float32), rng.normal(size=(queries, 5)).astype(np.float32)
    X[rng.integers(rows)] = 0
    distances, indices = NearestImages(k).fit(X).kneighbors(Q)
    expected = all_cosines(Q, X)
    best = -np.sort(-expected, axis=1)[:, :k]
    assert indices.shape == (queries, min(k, rows))
    np.testing.assert_allclose(1 - distances, best, atol=2e-6)
    np.testing.assert_allclose(np.take_along_axis(expected, indices, axis=1), best, atol=2e-6)
    assert all(len(set(row)) == len(row) for row in indices.tolist())


@pytest.fixture
def file(tmp_path):
    manifest = make_manifest(tmp_path / "photos", {"red": 5, "green": 4})
    extract(manifest, "pixels32", output=tmp_path / "photos.h5", store=tmp_path / "store", dtype="float16")
    return tmp_path / "photos.h5"


def test_a_feature_file_is_read_part_by_part_and_not_copied(file):
    table = FeatureTable.open(file)
    nearest = NearestImages(3).fit(table)
    hits = nearest.search(table[[4]])[0]
    cosines = all_cosines(table.X[[4]], table.X)[0]
    assert [hit.key for hit in hits] == [table.keys[row] for row in np.argsort(-cosines)[:3]]
    assert hits[0].key == table.keys[4]
    assert hits[0].cosine == pytest.approx(1, abs=1e-6)
    assert [hit.label for hit in hits] == [table.y[table.keys.index(hit.key)] for hit in hits]
    assert FeatureTable.open(file)._read is None


def test_like_an_estimator():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 4)).astype(np.float32)
    nearest = NearestImages(2, method="exact").fit(X, y=range(50), keys=[f"{row}.jpg" for row in range(50)])
    again = pickle.loads(pickle.dumps(nearest))
    assert again.search(X[:3]) == nearest.search(X[:3])
    assert clone(nearest).get_params() == {"method": "exact", "n_neighbors": 2}
    assert [hit.key for hit in nearest.search(X[7:8])[0]][0] == "7.jpg"
    assert nearest.kneighbors(X[:2], 60)[1].shape == (2, 50)
    assert nearest.search(X[:0]) == []


@pytest.mark.parametrize(
    ("rows", "queries", "said"),
    [
        (np.ones((2, 3)), np.ones((1, 4)), "4 features"),
        (np.array([[1.0, np.nan]]), np.ones((1, 2)), "row 0 holds NaN"),
        (np.ones((2, 2)), np.array([[np.inf, 1]]), "query 0 holds NaN"),
        (np.ones(3), np.ones((1, 3)), "shape"),
        (np.ones((0, 3)), np.ones((1, 3)), "no row"),
    ],
)
def test_what_cannot_be_searched(rows, queries, said):
    with pytest.raises(UsageError, match=said):
        NearestImages().fit(rows).kneighbors(queries)


def test_faiss_finds_nearly_the_same():
    pytest.importorskip("faiss", reason="needs faiss (extra search)")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 16))
    X = (centres[rng.integers(40, size=5000)] + 0.3 * rng.normal(size=(5000, 16))).astype(np.float32)
    exact, found = (NearestImages(10, method=method).fit(X).kneighbors(X[:200]) for method in ("exact", "faiss"))
    shared = np.mean([len({*one} & {*two}) / 10 for one, two in zip(exact[1].tolist(), found[1].tolist(), strict=True)])
    assert shared > 0.9
    np.testing.assert_allclose(found[0][:, 0], exact[0][:, 0], atol=1e-5)
