"""Small transformers for features, where scikit-learn has none.

For L2 normalisation take `sklearn.preprocessing.Normalizer`, which keeps float32; for whitening `StreamingPCA` or
`sklearn.decomposition.PCA`, both with ``whiten=True``.

Layer: imports scikit-learn and its own room.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import Normalizer

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Floats
from embedkit.estimators.validation import check_is_fitted, checked_features, require


class SignedPower(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Raise magnitudes to a power and keep signs: ``sign(x) |x|**exponent``.

    With the default 0.5 and L2 normalisation after it, this is the power normalisation of Fisher vectors; it tames
    features that are large in few images.

    Parameters
    ----------
    exponent : float, default=0.5
        Positive.

    Attributes
    ----------
    n_features_in_ : int

    References
    ----------
    F. Perronnin, J. Sánchez, T. Mensink, Improving the Fisher kernel for large-scale image classification, ECCV 2010.
    """

    def __init__(self, exponent: float = 0.5) -> None:
        self.exponent = exponent

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the arguments and the number of features; nothing is learnt."""
        require(self.exponent > 0, self, "exponent", "a positive number")
        checked_features(self, X, reset=True)
        return self

    def transform(self, X: Any) -> Floats:
        """Transform features (n_samples, n_features); float32 stays float32."""
        check_is_fitted(self, "n_features_in_")
        features = checked_features(self, X, reset=False)
        return np.copysign(np.power(np.abs(features), self.exponent), features)


class ViewAverage(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Average the features of several views of an image that stand side by side.

    A `FeatureUnion` of one transformer a view (flipped, other crops, other sizes) puts them there.

    Parameters
    ----------
    n_views : int, default=1
        The number of features must be a multiple of it.
    normalize : bool, default=False
        Scale each view to unit length first, so that all count alike.

    Attributes
    ----------
    n_features_in_ : int
    """

    def __init__(self, n_views: int = 1, *, normalize: bool = False) -> None:
        self.n_views = n_views
        self.normalize = normalize

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the arguments and the number of features; nothing is learnt."""
        require(self.n_views >= 1, self, "n_views", "at least 1")
        width = checked_features(self, X, reset=True).shape[1]
        if width % self.n_views:
            raise UsageError(f"{width} features cannot be {self.n_views} views of equal width; check n_views")
        self._n_features_out = width // self.n_views
        return self

    def transform(self, X: Any) -> Floats:
        """Average features (n_samples, n_views * d), view by view, to (n_samples, d); float32 stays float32."""
        check_is_fitted(self, "n_features_in_")
        features = checked_features(self, X, reset=False)
        views = features.reshape(len(features), self.n_views, self._n_features_out)
        if self.normalize:
            lengths = np.sqrt(np.square(views).sum(axis=2, keepdims=True))
            views = views / np.where(lengths > 0, lengths, 1)
        return views.mean(axis=1)


def fuse(transformers: Mapping[str, Any], *, normalize: bool = False) -> FeatureUnion:
    """Put the features of several backbones side by side.

    Parameters
    ----------
    transformers : mapping of str to transformer
        The columns are named after the keys: ``"vit__..."``.
    normalize : bool
        Scale the features of each backbone to unit length, so that none outweighs the others by its scale.

    Returns
    -------
    sklearn.pipeline.FeatureUnion

    Raises
    ------
    UsageError
        There is nothing to fuse, or something that is no transformer with a name.
    """
    if not isinstance(cast(object, transformers), Mapping):
        raise UsageError(f"fuse got a {type(transformers).__name__}, expected a mapping of names to transformers")
    for name, transformer in transformers.items():
        if not isinstance(cast(object, name), str) or "__" in name:
            raise UsageError(f"fuse got the name {name!r}, expected text without '__', which parts names of parameters")
        if transformer not in ("drop", "passthrough") and not hasattr(transformer, "transform"):
            raise UsageError(f"fuse got {transformer!r} as {name!r}, expected a transformer")
    if not transformers:
        raise UsageError("fuse got no transformers, expected at least one with a name")
    return FeatureUnion(
        [
            (name, Pipeline([("features", transformer), ("normalize", Normalizer())]) if normalize else transformer)
            for name, transformer in transformers.items()
        ]
    )
