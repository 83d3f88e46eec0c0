"""What ridge, discriminant analysis, PCA and standardisation need of the data: collected in one pass, mergeable.

Means and centred products are kept, not raw sums: updates and merges follow Chan, Golub and LeVeque, so nothing cancels
where the mean is large beside the spread. All numbers are float64, whatever the features are.

Layer: imports NumPy, scikit-learn's StandardScaler, embedkit.errors and its own room.

References
----------
T. F. Chan, G. H. Golub, R. J. LeVeque, Algorithms for computing the sample variance: analysis and recommendations,
The American Statistician 37(3), 1983.
"""

from __future__ import annotations

from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64
from embedkit.estimators.symmetric import scatter_of
from embedkit.estimators.validation import checked_weights

TargetKind = Literal["none", "classes", "values"]

BLOCK_ROWS = 4096


def continued(estimator: object, target: TargetKind) -> SufficientStatistics:
    """Give the statistics that an estimator's `partial_fit` goes on with; new ones for its first call.

    Raises
    ------
    UsageError
        The estimator has kept none: it was fitted on statistics of the user's, or they were deleted.
    """
    if hasattr(estimator, "statistics_"):
        return cast(Any, estimator).statistics_
    if hasattr(estimator, "n_features_in_"):
        raise UsageError(
            f"{type(estimator).__name__} has no statistics to go on with (statistics_); update yours and call "
            f"fit_statistics, or fit again"
        )
    return SufficientStatistics(target)


class SufficientStatistics:
    """Means and centred products of features, by class or with target values.

    Collect with `update`, batch after batch, on as many machines as there are parts; bring together with `merge`. The
    order does not matter beyond rounding. `to_arrays` and `from_arrays` carry the state, through `numpy.savez` say.

    Parameters
    ----------
    target : {"none", "classes", "values"}, default="none"
        What `update` is given as y: nothing, class labels, or numbers (n_samples,) or (n_samples, n_targets).

    Attributes
    ----------
    n : float
        Number of rows, or the sum of their weights.
    mean : ndarray of shape (n_features,), float64
    scatter : ndarray of shape (n_features, n_features), float64
        Sum over rows of (x - mean)(x - mean)'.
    classes : ndarray of shape (n_classes,)
        Sorted; empty unless the target is classes.
    class_n : ndarray of shape (n_classes,), float64
    class_means : ndarray of shape (n_classes, n_features), float64
    target_mean : ndarray of shape (n_targets,), float64
        Empty unless the target is values.
    cross : ndarray of shape (n_features, n_targets), float64
        Sum over rows of (x - mean)(y - target_mean)'.
    """

    def __init__(self, target: TargetKind = "none") -> None:
        if target not in ("none", "classes", "values"):
            raise UsageError(f"target={target!r}, expected 'none', 'classes' or 'values'")
        self.target: TargetKind = target
        self.n = 0.0
        self.mean: Float64 = np.empty(0)
        self.scatter: Float64 = np.empty((0, 0))
        self.classes: NDArray[Any] = np.empty(0)
        self.class_n: Float64 = np.empty(0)
        self.class_means: Float64 = np.empty((0, 0))
        self.target_mean: Float64 = np.empty(0)
        self.cross: Float64 = np.empty((0, 0))

    def update(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Take in rows: all of them, or none if one is refused.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            A memory map or an HDF5 dataset is read block by block.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            As `target` says.
        sample_weight : array-like of shape (n_samples,), optional
            Not negative.

        Raises
        ------
        UsageError
            Shapes that do not fit, NaN or infinity, or targets of the wrong kind.
        """
        features = X if getattr(X, "ndim", 0) == 2 else np.asarray(X)
        if features.ndim != 2:
            raise UsageError(f"X has shape {features.shape}, expected (n_samples, n_features)")
        targets = self._checked_target(y, len(features))
        weights = checked_weights(sample_weight, len(features))
        taken = SufficientStatistics(self.target)
        for start in range(0, len(features), BLOCK_ROWS):
            span = slice(start, start + BLOCK_ROWS)
            kept = np.flatnonzero(weights[span])
            block = np.asarray(features[span], dtype=np.float64)[kept]
            if not np.isfinite(block).all():
                raise UsageError(f"X holds NaN or infinity in rows {start} to {start + len(block) - 1}; leave them out")
            if len(kept):
                taken.merge(
                    self._of_block(block, None if targets is None else targets[span][kept], weights[span][kept])
                )
        return self.merge(taken)

    def merge(self, other: SufficientStatistics) -> Self:
        """Take in what another collection has seen; the other one stays as it is.

        Raises
        ------
        UsageError
            Other targets, or another number of features.
        """
        if not isinstance(cast(object, other), SufficientStatistics):
            raise UsageError(f"merge got {other!r}, expected SufficientStatistics")
        if other.target != self.target:
            raise UsageError(f"statistics of target={other.target!r} cannot be merged into those of {self.target!r}")
        if other.n == 0:
            return self
        if self.n == 0:
            self._take(other)
            return self
        if other.mean.shape != self.mean.shape or other.target_mean.shape != self.target_mean.shape:
            raise UsageError(
                f"statistics of {len(other.mean)} features and {len(other.target_mean)} targets cannot be merged into "
                f"those of {len(self.mean)} and {len(self.target_mean)}"
            )
        if self.target == "classes" and _are_text(self.classes) != _are_text(other.classes):
            raise UsageError(
                f"classes such as {self.classes[0]!r} and {other.classes[0]!r} cannot be mixed; make all of them text"
            )
        total = self.n + other.n
        share, product = other.n / total, self.n * other.n / total
        shift, target_shift = other.mean - self.mean, other.target_mean - self.target_mean
        self.scatter += other.scatter
        self.scatter += np.outer(product * shift, shift)
        if self.target == "values":
            self.cross += other.cross + np.outer(product * shift, target_shift)
        if self.target == "classes":
            self._merge_classes(other)
        self.mean += share * shift
        self.target_mean += share * target_shift
        self.n = total
        return self

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give the whole state as named arrays."""
        return {name: np.array(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Any) -> Self:
        """Build from a mapping that `to_arrays` gave, an open `.npz` file for one."""
        statistics = cls(cast(TargetKind, str(arrays["target"])))
        for name in vars(statistics).keys() - {"target", "n"}:
            setattr(statistics, name, np.array(arrays[name]))
        statistics.n = float(arrays["n"])
        return statistics

    def standard_scaler(self) -> StandardScaler:
        """Give scikit-learn's StandardScaler as if fitted on all rows seen.

        Raises
        ------
        UsageError
            No rows were seen.
        """
        self.require_rows(1)
        scaler: Any = StandardScaler()
        scaler.mean_, scaler.n_samples_seen_, scaler.n_features_in_ = self.mean.copy(), self.n, len(self.mean)
        scaler.var_ = np.diag(self.scatter) / self.n
        # scikit-learn's bound for a variance that is rounding (`sklearn.preprocessing._data._is_constant_feature`).
        eps = np.finfo(np.float64).eps
        constant = scaler.var_ <= self.n * eps * scaler.var_ + (self.n * self.mean * eps) ** 2
        scaler.scale_ = np.where(constant, 1.0, np.sqrt(scaler.var_))
        return scaler

    def require_rows(self, count: int) -> None:
        """Raise UsageError unless at least so many rows were seen."""
        if self.n < count:
            raise UsageError(f"statistics of {self.n:g} samples, expected at least {count}; call update first")

    def _checked_target(self, y: Any, n_rows: int) -> NDArray[Any] | None:
        if self.target == "none":
            return None
        if y is None:
            raise UsageError(f"y is None, and these statistics are of target={self.target!r}")
        targets = np.asarray(y, dtype=np.float64 if self.target == "values" else None)
        if len(targets) != n_rows or targets.ndim != 1 and self.target == "classes":
            raise UsageError(f"y has shape {targets.shape}, expected one entry for each of the {n_rows} rows of X")
        if self.target == "values":
            if not np.isfinite(targets).all():
                raise UsageError("y holds NaN or infinity; leave these rows out")
            return targets[:, None] if targets.ndim == 1 else targets
        return targets

    def _of_block(self, block: Float64, targets: NDArray[Any] | None, weights: Float64) -> SufficientStatistics:
        statistics = SufficientStatistics(self.target)
        statistics.n = float(weights.sum())
        statistics.mean = weights @ block / statistics.n
        centred = block - statistics.mean
        statistics.scatter = scatter_of(centred, weights)
        if targets is not None and self.target == "values":
            statistics.target_mean = weights @ targets / statistics.n
            statistics.cross = (centred * weights[:, None]).T @ (targets - statistics.target_mean)
        if targets is not None and self.target == "classes":
            statistics.classes, codes = np.unique(targets, return_inverse=True)
            statistics.class_n = np.bincount(codes, weights=weights).astype(np.float64)
            order = np.argsort(codes, kind="stable")
            first = np.flatnonzero(np.diff(codes[order], prepend=-1))
            sums = np.add.reduceat((block * weights[:, None])[order], first)
            statistics.class_means = sums / statistics.class_n[:, None]
        return statistics

    def _take(self, other: SufficientStatistics) -> None:
        for name, value in other.to_arrays().items():
            if name not in ("target", "n"):
                setattr(self, name, value)
        self.n = other.n

    def _merge_classes(self, other: SufficientStatistics) -> None:
        classes = np.union1d(self.classes, other.classes)
        counts, means = np.zeros(len(classes)), np.zeros((len(classes), len(self.mean)))
        for part in (self, other):
            at = np.searchsorted(classes, part.classes)
            counts[at] += part.class_n
            means[at] += (part.class_means - means[at]) * (part.class_n / counts[at])[:, None]
        self.classes, self.class_n, self.class_means = classes, counts, means


def _are_text(classes: NDArray[Any]) -> bool:
    return classes.dtype.kind in "UT" or (classes.dtype.kind == "O" and isinstance(classes[0], str))
