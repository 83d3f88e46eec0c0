"""Random Fourier features: a Gaussian kernel for estimators that need sums over rows, the same on every site.

Layer: labelling. scikit-learn and NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.kernel_approximation import RBFSampler
from sklearn.preprocessing import Normalizer

from embedkit.errors import UsageError

MOST_WEIGHTS = 1 << 26
"""Numbers in the map: features times components."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FourierFeatures:
    """A map whose inner products are nearly exp(-gamma |x - z|^2) of rows of length one (Rahimi and Recht, 2007).

    It is drawn from a seed and knows nothing of the data, so statistics behind it add up.

    Attributes
    ----------
    components : int
        Width of the map.
    gamma : float
    seed : int
    """

    components: int
    gamma: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.components <= 1 << 14:
            raise UsageError(f"{self.components} Fourier features, expected 1 to {1 << 14}")
        if not 1e-6 <= self.gamma <= 1e6:
            raise UsageError(f"gamma={self.gamma:g} for Fourier features, expected 1e-6 to 1e6")
        if not 0 <= self.seed < 1 << 32:
            raise UsageError(f"seed={self.seed} of Fourier features, expected 0 to {(1 << 32) - 1}")

    def steps(self, width: int) -> list[tuple[str, Any]]:
        """Return scikit-learn's Normalizer and RBFSampler as fitted steps for features of a width."""
        if width * self.components > MOST_WEIGHTS:
            raise UsageError(
                f"{self.components} Fourier features of {width} features are {width * self.components} numbers, "
                f"expected at most {MOST_WEIGHTS}"
            )
        nothing = np.zeros((1, width), np.float32)  # neither looks at more than the width and the type
        sampler = RBFSampler(gamma=self.gamma, n_components=self.components, random_state=self.seed)
        steps: list[tuple[str, Any]] = [("norm", Normalizer()), ("fourier", sampler)]
        for _, step in steps:
            step.fit(nothing)
        return steps
