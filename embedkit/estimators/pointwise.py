"""A classifier that is fitted on features, and on copies of them that are changed at random, point by point.

Layer: imports scikit-learn, NumPy and its own room.
"""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np
import sklearn.base
import sklearn.utils
from numpy.typing import NDArray

from embedkit.estimators.arrays import Floats
from embedkit.estimators.logistic import LogisticRegression
from embedkit.estimators.validation import checked_features_and_labels, require
from embedkit.estimators.wrapped_classifier import WrappedClassifier


class PointwiseAugmentation(WrappedClassifier):
    """Fit a classifier on features and on changed copies of them; what it is asked of stays as it is.

    The changes are those of frozen feature augmentation, each drawn for each row and feature: a shift (brightness), a
    factor about the feature's mean (contrast), and rounding to a few values (posterise).

    Parameters
    ----------
    estimator : classifier, optional
        By default `LogisticRegression`.
    copies : int, default=4
        Of each row, beside the row itself.
    brightness : float, default=0.5
        Largest shift, in deviations of the feature.
    contrast : float, default=0.3
        Largest change of the factor about the mean, which is 1 without it.
    levels : int or None, default=None
        How many values, equally spaced between least and largest, a feature is rounded to; at least 2.
    random_state : int, RandomState or None, default=0

    Attributes
    ----------
    estimator_ : classifier
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int

    References
    ----------
    A. Bär, N. Houlsby, M. Dehghani, M. Kumar, Frozen feature augmentation for few-shot image classification, CVPR
    2024 (arXiv:2403.10519). There it acts on maps of patches; here on what is pooled of them.
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        copies: int = 4,
        brightness: float = 0.5,
        contrast: float = 0.3,
        levels: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.estimator = estimator
        self.copies = copies
        self.brightness = brightness
        self.contrast = contrast
        self.levels = levels
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        """
        require(self.copies >= 0, self, "copies", "at least 0")
        require(self.brightness >= 0, self, "brightness", "at least 0")
        require(self.contrast >= 0, self, "contrast", "at least 0")
        require(self.levels is None or self.levels >= 2, self, "levels", "None or at least 2")
        features, classes = checked_features_and_labels(self, X, y, reset=True)
        random = cast(Any, sklearn.utils).check_random_state(self.random_state)
        changed = [self._changed(features, random) for _ in range(self.copies)]
        inner = LogisticRegression() if self.estimator is None else cast(Any, sklearn.base).clone(self.estimator)
        self.estimator_: Any = inner.fit(np.concatenate([features, *changed]), np.tile(classes, self.copies + 1))
        self.classes_: NDArray[Any] = self.estimator_.classes_
        return self

    def _changed(self, features: Floats, random: Any) -> Floats:
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        shift, factor = (random.uniform(-1, 1, features.shape).astype(features.dtype) for _ in range(2))
        changed = mean + (features - mean) * (1 + self.contrast * factor) + self.brightness * deviation * shift
        if self.levels is None:
            return changed
        least = features.min(axis=0)
        step = (features.max(axis=0) - least) / (self.levels - 1)
        step = np.where(step > 0, step, 1)
        return (least + np.rint((changed - least) / step) * step).astype(features.dtype)
