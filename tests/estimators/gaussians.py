"""Features of classes, and values of C, to fit linear classifiers on."""

from __future__ import annotations

import numpy as np

CS = np.logspace(-5, 5, 6)


def make_features(n_samples=300, n_features=20, n_classes=4, separation=1.0, dtype=np.float64, seed=0):
    """Gaussian classes with a falling spectrum and a mean far from zero, as features of networks have."""
    random = np.random.default_rng(seed)
    scales = np.arange(1, n_features + 1) ** -0.7
    centres = separation * random.standard_normal((n_classes, n_features)) * scales
    y = np.arange(n_samples) % n_classes
    X = centres[y] + scales * random.standard_normal((n_samples, n_features)) + 2 * random.standard_normal(n_features)
    return X.astype(dtype), y
