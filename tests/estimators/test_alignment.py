"""Alignments against their definitions, and as scikit-learn takes transformers with metadata."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from embedkit.errors import UsageError
from embedkit.estimators import CORAL, LinearTransport, SubspaceAlignment

ALL = [CORAL(), LinearTransport(), SubspaceAlignment(2)]


def domains(n=60, m=50, d=4, seed=0):
    rng = np.random.default_rng(seed)
    S = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 1
    T = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) - 2
    return S, T, np.concatenate([S, T]), np.repeat([1, -2], [n, m])


def shrunk(rows, shrinkage=0.1):
    covariance = np.cov(rows, rowvar=False)
    return covariance + shrinkage * np.trace(covariance) / len(covariance) * np.eye(len(covariance))


def test_coral_is_whitening_and_colouring():
    S, T, X, domain = domains()
    moved = CORAL().fit_transform(X, sample_domain=domain)
    whitening = scipy.linalg.inv(scipy.linalg.sqrtm(shrunk(S)))
    expected = T.mean(axis=0) + (S - S.mean(axis=0)) @ whitening @ scipy.linalg.sqrtm(shrunk(T))
    np.testing.assert_allclose(moved[: len(S)], expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(moved[len(S) :], T)


@pytest.mark.parametrize("alignment", [CORAL, LinearTransport])
def test_source_rows_get_mean_and_covariance_of_the_target(alignment):
    S, T, X, domain = domains()
    moved = alignment(shrinkage=1e-9).fit_transform(X, sample_domain=domain)[: len(S)]
    np.testing.assert_allclose(moved.mean(axis=0), T.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(np.cov(moved, rowvar=False), np.cov(T, rowvar=False), rtol=1e-5, atol=1e-5)


def test_linear_transport_is_symmetric_and_costs_what_the_frechet_distance_says():
    S, T, X, domain = domains()
    aligned = LinearTransport(shrinkage=1e-9).fit(X, sample_domain=domain)
    np.testing.assert_allclose(aligned.map_, aligned.map_.T, atol=1e-8)
    assert (np.linalg.eigvalsh(aligned.map_) > 0).all()
    moved = aligned.transform(S, sample_domain=np.zeros(len(S)))
    cost = np.square((S - S.mean(axis=0)) - (moved - moved.mean(axis=0))).sum() / (len(S) - 1)
    one, other = np.cov(S, rowvar=False), np.cov(T, rowvar=False)
    root = scipy.linalg.sqrtm(one)
    bures = np.trace(one + other - 2 * scipy.linalg.sqrtm(root @ other @ root)).real
    assert cost == pytest.approx(bures, rel=1e-5)
    # No other map with the same outcome is cheaper; CORAL's is one of these.
    of_coral = CORAL(shrinkage=1e-9).fit(X, sample_domain=domain).map_
    assert cost <= np.square((S - S.mean(axis=0)) @ (np.eye(4) - of_coral)).sum() / (len(S) - 1) + 1e-9


def test_subspace_alignment_is_the_product_of_projections():
    S, T, X, domain = domains()
    moved = SubspaceAlignment(2).fit_transform(X, sample_domain=domain)
    of_s, of_t = (scipy.linalg.eigh(np.cov(rows, rowvar=False))[1][:, ::-1][:, :2] for rows in (S, T))
    one = (S - S.mean(axis=0)) @ of_s @ of_s.T @ of_t
    np.testing.assert_allclose(np.abs(moved[: len(S)]), np.abs(one), atol=1e-8)  # but for the signs of axes
    np.testing.assert_allclose(np.abs(moved[len(S) :]), np.abs((T - T.mean(axis=0)) @ of_t), atol=1e-8)
    np.testing.assert_allclose(moved[: len(S)] @ moved[len(S) :].T, one @ ((T - T.mean(axis=0)) @ of_t).T, atol=1e-8)


@pytest.mark.parametrize("alignment", ALL, ids=lambda one: type(one).__name__)
def test_rows_of_which_nothing_is_said_are_the_targets(alignment):
    S, T, X, domain = domains()
    X = X.astype(np.float32)
    fitted = clone(alignment).fit(X, sample_domain=domain)
    together = fitted.transform(X, sample_domain=domain)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(fitted.transform(X[len(S) :]), together[len(S) :])
    np.testing.assert_allclose(
        fitted.transform(X[: len(S)], sample_domain=np.zeros(len(S))), together[: len(S)], rtol=1e-5, atol=1e-5
    )
    assert X[0, 0] == np.float32(S[0, 0])  # nothing is changed in place


@pytest.mark.parametrize("alignment", ALL, ids=lambda one: type(one).__name__)
def test_metadata_goes_through_a_pipeline(alignment):
    S, T, X, domain = domains()
    y = (np.arange(len(X)) % 2).astype(str)
    weight = (domain > 0).astype(float)  # labels of the target are not looked at
    with sklearn.config_context(enable_metadata_routing=True):
        asked = clone(alignment).set_fit_request(sample_domain=True).set_transform_request(sample_domain=True)
        pipeline = make_pipeline(asked, LogisticRegression().set_fit_request(sample_weight=True))
        pipeline.fit(X, y, sample_domain=domain, sample_weight=weight)
        predicted = pipeline.predict(T)
    by_hand = clone(alignment).fit(X, sample_domain=domain)
    model = LogisticRegression().fit(by_hand.transform(X, sample_domain=domain), y, sample_weight=weight)
    np.testing.assert_array_equal(predicted, model.predict(by_hand.transform(T)))


def test_names_of_features():
    _, _, X, domain = domains()
    assert list(SubspaceAlignment(2).fit(X, sample_domain=domain).get_feature_names_out()) == [
        "subspacealignment0",
        "subspacealignment1",
    ]
    assert list(CORAL().fit(X, sample_domain=domain).get_feature_names_out()) == ["x0", "x1", "x2", "x3"]


@pytest.mark.parametrize("alignment", ALL, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(
    ("domain", "said"),
    [(None, "needs sample_domain"), (np.zeros(110), "0 of the target"), (np.zeros(3), "for each of 110 rows")],
)
def test_domains_that_are_missing_are_said(alignment, domain, said):
    with pytest.raises(UsageError, match=said):
        clone(alignment).fit(domains()[2], sample_domain=domain)


@pytest.mark.parametrize("alignment", ALL, ids=lambda one: type(one).__name__)
def test_constant_features_are_no_harm(alignment):
    X = np.ones((8, 3))
    assert np.isfinite(clone(alignment).fit_transform(X, sample_domain=np.repeat([0, -1], 4))).all()


@pytest.mark.parametrize("alignment", [CORAL(shrinkage=0.0), LinearTransport(shrinkage=0.0), SubspaceAlignment(0)])
def test_arguments_out_of_range(alignment):
    _, _, X, domain = domains()
    with pytest.raises(UsageError, match=r"shrinkage|n_components"):
        alignment.fit(X, sample_domain=domain)
