"""Small transformers by their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from embedkit.errors import UsageError
from embedkit.estimators import SignedPower, ViewAverage, fuse

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def test_signs_stay_and_magnitudes_are_rooted():
    out = SignedPower().fit_transform(np.array([[4.0, -9.0, 0.0, -0.0]]))
    assert out.tolist() == [[2.0, -3.0, 0.0, 0.0]]
    assert SignedPower().fit_transform(X).dtype == np.float32
    np.testing.assert_array_equal(SignedPower(1.0).fit_transform(X), X)


@pytest.mark.parametrize("exponent", [0, -1])
def test_exponents_are_positive(exponent):
    with pytest.raises(UsageError, match="exponent"):
        SignedPower(exponent).fit(X)


def test_views_side_by_side_are_averaged():
    union = FeatureUnion([("plain", FunctionTransformer()), ("flipped", FunctionTransformer(np.negative))])
    assert np.abs(make_pipeline(union, ViewAverage(2)).fit_transform(X)).max() == 0
    out = ViewAverage(2).fit_transform(X)
    np.testing.assert_allclose(out, (X[:, :2] + X[:, 2:]) / 2)
    assert out.dtype == np.float32
    assert ViewAverage(2).fit(X).get_feature_names_out().tolist() == ["viewaverage0", "viewaverage1"]


def test_normalised_views_count_alike():
    views = np.array([[100.0, 0.0, 0.0, 1.0], [0.0, 0.0, 3.0, 4.0]])
    np.testing.assert_allclose(ViewAverage(2, normalize=True).fit_transform(views), [[0.5, 0.5], [0.3, 0.4]])


def test_views_of_unequal_width_are_refused():
    with pytest.raises(UsageError, match="4 features cannot be 3 views"):
        ViewAverage(3).fit(X)
    with pytest.raises(UsageError, match="n_views=0"):
        ViewAverage(0).fit(X)


@pytest.mark.parametrize("normalize", [True, False])
def test_fused_columns_are_named_after_their_backbone(normalize):
    fused = fuse({"vit": StandardScaler(), "resnet": StandardScaler()}, normalize=normalize).fit(X)
    assert fused.get_feature_names_out()[[0, 4]].tolist() == ["vit__x0", "resnet__x0"]
    out = fused.transform(X)
    assert out.shape == (6, 8)
    if normalize:
        np.testing.assert_allclose(np.linalg.norm(out[:, :4], axis=1), 1, rtol=1e-6)


def test_nothing_to_fuse():
    with pytest.raises(UsageError, match="no transformers"):
        fuse({})


def test_scikit_learns_normalizer_keeps_single_precision():
    # Why there is no normaliser of our own.
    assert Normalizer().fit_transform(X).dtype == np.float32


@pytest.mark.parametrize("given", [[("a", Normalizer())], {"a": 3}, {"a__b": Normalizer()}])
def test_what_cannot_be_fused_is_refused_at_once(given):
    with pytest.raises(UsageError, match="fuse got"):
        fuse(given)
