"""What ridge, discriminant analysis, PCA and standardisation need of the data: collected in one pass, mergeable.

Means and centred products are kept, not raw sums: updates and merges follow Chan, Golub and LeVeque, so nothing cancels
where the mean is large beside the spread. All numbers are float64, whatever the features are. Taking rows away again
does cancel, so a bound of the rounding goes along (`drift`).

Layer: imports NumPy, scikit-learn's StandardScaler, embedkit.errors and its own room.

References
----------
T. F. Chan, G. H. Golub, R. J. LeVeque, Algorithms for computing the sample variance: analysis and recommendations,
The American Statistician 37(3), 1983.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64
from embedkit.estimators.class_sums import GONE, ClassSums, joined, sums_by_class, without
from embedkit.estimators.symmetric import scatter_of
from embedkit.estimators.validation import checked_weights

TargetKind = Literal["none", "classes", "values"]

BLOCK_ROWS = 4096

_EPS = float(np.finfo(np.float64).eps)

# Beyond this share of the mean variance, what rows that were taken away have left behind is said.
_MOST_DRIFT = 1e-7


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
    return fresh(estimator, target)


def fresh(estimator: object, target: TargetKind) -> SufficientStatistics:
    """Give empty statistics, with the scatter of each class where an estimator's parameter says so."""
    return SufficientStatistics(target, by_class=bool(getattr(estimator, "by_class", False)))


class SufficientStatistics:
    """Means and centred products of features, by class or with target values.

    Collect with `update`, batch after batch, on as many machines as there are parts; bring together with `merge`; take
    rows away with `forget`. The order does not matter beyond rounding. `to_arrays` and `from_arrays` carry the state,
    through `numpy.savez` say.

    Parameters
    ----------
    target : {"none", "classes", "values"}, default="none"
        What `update` is given as y: nothing, class labels, or numbers (n_samples,) or (n_samples, n_targets).
    by_class : bool, default=False
        Keep the scatter of each class too, so that `remove_class` needs no rows: n_classes matrices of n_features**2
        numbers, 13 MB a class for 1,280 features.

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
    class_scatter : ndarray of shape (n_classes, n_features, n_features), float64
        Sum over the rows of each class of (x - class mean)(x - class mean)'; empty unless `by_class`.
    drift : float
        A bound of what rounding may have done to any number in `scatter`. It grows with each update, merge and
        `forget`, and matters where little is left of much.
    """

    # What statistics of before these came lack.
    by_class = False
    class_scatter: Float64 = np.empty((0, 0, 0))
    drift = 0.0

    def __init__(self, target: TargetKind = "none", *, by_class: bool = False) -> None:
        if target not in ("none", "classes", "values"):
            raise UsageError(f"target={target!r}, expected 'none', 'classes' or 'values'")
        if by_class and target != "classes":
            raise UsageError(f"by_class keeps the scatter of classes, and these statistics are of target={target!r}")
        self.target: TargetKind = target
        self.by_class = by_class
        self.class_scatter = np.empty((0, 0, 0))
        self.drift = 0.0
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
        return self.merge(self._collected(X, y, sample_weight))

    def forget(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Take rows away that were taken in before: what is left is what it would be without them, but for `drift`.

        Parameters
        ----------
        X, y, sample_weight
            The rows, as they were given to `update`.

        Raises
        ------
        UsageError
            As `update`; or they cannot have been among the rows seen. Nothing is taken away then. Rows that were never
            seen are not always found out.
        """
        return self.subtract(self._collected(X, y, sample_weight))

    def remove_class(self, label: Any) -> Self:
        """Take away all rows of a class, which need not be at hand.

        Raises
        ------
        UsageError
            There is no such class, or the scatter of each class was not kept (`by_class`).
        """
        if self.target != "classes" or label not in self.classes.tolist():
            raise UsageError(f"there is no class {label!r} to remove, only {self.classes.tolist()!r}")
        if not self.by_class:
            raise UsageError(
                "the scatter of each class was not kept: forget the rows of the class, or collect with by_class=True"
            )
        sums = self._class_sums().take([self.classes.tolist().index(label)])
        gone = SufficientStatistics(self.target, by_class=True)
        gone._set_classes(sums)
        gone.n, gone.mean, gone.scatter = float(sums.n[0]), sums.means[0], cast(Float64, sums.scatter)[0]
        gone.drift = self.drift
        return self.subtract(gone)

    def copy(self) -> Self:
        """Give statistics of their own."""
        return type(self).from_arrays(self.to_arrays())

    def _collected(self, X: Any, y: Any, sample_weight: Any) -> SufficientStatistics:
        features = X if getattr(X, "ndim", 0) == 2 else np.asarray(X)
        if features.ndim != 2:
            raise UsageError(f"X has shape {features.shape}, expected (n_samples, n_features)")
        targets = self._checked_target(y, len(features))
        weights = checked_weights(sample_weight, len(features))
        taken = SufficientStatistics(self.target, by_class=self.by_class)
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
        return taken

    def merge(self, other: SufficientStatistics) -> Self:
        """Take in what another collection has seen; the other one stays as it is.

        Raises
        ------
        UsageError
            Other targets, or another number of features.
        """
        self._require_alike(other)
        if other.n == 0:
            return self
        if self.n == 0:
            self._take(other)
            return self
        total = self.n + other.n
        share, product = other.n / total, self.n * other.n / total
        shift, target_shift = other.mean - self.mean, other.target_mean - self.target_mean
        self.drift += other.drift + _outer_drift(product, shift, self, other)
        self.scatter += other.scatter
        self.scatter += np.outer(product * shift, shift)
        if self.target == "values":
            self.cross += other.cross + np.outer(product * shift, target_shift)
        if self.target == "classes":
            self._set_classes(joined(self._class_sums(), other._class_sums()))
        self.mean += share * shift
        self.target_mean += share * target_shift
        self.n = total
        self.drift += 4 * _EPS * _largest(self.scatter)
        return self

    def subtract(self, other: SufficientStatistics) -> Self:
        """Take away what another collection has seen, all of which this one has seen too; the reverse of `merge`.

        Raises
        ------
        UsageError
            As `merge`; or it cannot be a part of this one. Nothing is taken away then.

        Warns
        -----
        RuntimeWarning
            So little is left that rounding shows: fit again from the rows.
        """
        self._require_alike(other)
        if other.n == 0:
            return self
        left = self.n - other.n
        if self.n == 0 or left < -GONE * self.n:
            raise UsageError(f"{other.n:g} rows cannot be taken away from {self.n:g}; they were not all among these")
        classes = without(self._class_sums(), other._class_sums()) if self.target == "classes" else None
        if left <= GONE * self.n:
            self._take(SufficientStatistics(self.target, by_class=self.by_class))
            return self
        mean = self.mean - (other.n / left) * (other.mean - self.mean)
        target_mean = self.target_mean - (other.n / left) * (other.target_mean - self.target_mean)
        product, shift = left * other.n / self.n, other.mean - mean
        scatter = self.scatter - other.scatter - np.outer(product * shift, shift)
        drift = self.drift + other.drift + _outer_drift(product, shift, self, other)
        drift += 4 * _EPS * (_largest(self.scatter) + _largest(other.scatter))
        if np.diag(scatter).min(initial=0.0) < -drift:
            raise UsageError("the rows to take away vary more than all that were seen; they were not among these")
        if self.target == "values":
            self.cross = self.cross - other.cross - np.outer(product * shift, other.target_mean - target_mean)
        if classes is not None:
            self._set_classes(classes)
        self.n, self.mean, self.target_mean, self.scatter, self.drift = left, mean, target_mean, scatter, drift
        if drift > _MOST_DRIFT * np.trace(scatter) / len(scatter):
            warnings.warn(
                f"taking rows away has left {left:g}, whose scatter is known to {drift:.1e} only, of a mean variance "
                f"sum of {np.trace(scatter) / len(scatter):.1e}; fit again from the rows that are left",
                RuntimeWarning,
                stacklevel=2,
            )
        return self

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give the whole state as named arrays."""
        return {name: np.array(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Any) -> Self:
        """Build from a mapping that `to_arrays` gave, an open `.npz` file for one."""
        by_class = "by_class" in arrays and bool(arrays["by_class"])
        statistics = cls(cast(TargetKind, str(arrays["target"])), by_class=by_class)
        for name in vars(statistics).keys() - {"target", "by_class", "n", "drift"}:
            if name in arrays or name != "class_scatter":
                setattr(statistics, name, np.array(arrays[name]))
        statistics.n = float(arrays["n"])
        statistics.drift = float(arrays["drift"]) if "drift" in arrays else 0.0
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

    def _require_alike(self, other: SufficientStatistics) -> None:
        if not isinstance(cast(object, other), SufficientStatistics):
            raise UsageError(f"merge got {other!r}, expected SufficientStatistics")
        if other.target != self.target:
            raise UsageError(f"statistics of target={other.target!r} cannot be merged into those of {self.target!r}")
        if other.by_class != self.by_class:
            raise UsageError(
                "statistics with and without the scatter of each class cannot be mixed; collect both alike"
            )
        if other.n == 0 or self.n == 0:
            return
        if other.mean.shape != self.mean.shape or other.target_mean.shape != self.target_mean.shape:
            raise UsageError(
                f"statistics of {len(other.mean)} features and {len(other.target_mean)} targets cannot be merged into "
                f"those of {len(self.mean)} and {len(self.target_mean)}"
            )
        if self.target == "classes" and _are_text(self.classes) != _are_text(other.classes):
            raise UsageError(
                f"classes such as {self.classes[0]!r} and {other.classes[0]!r} cannot be mixed; make all of them text"
            )

    def _of_block(self, block: Float64, targets: NDArray[Any] | None, weights: Float64) -> SufficientStatistics:
        statistics = SufficientStatistics(self.target, by_class=self.by_class)
        statistics.n = float(weights.sum())
        statistics.mean = weights @ block / statistics.n
        centred = block - statistics.mean
        statistics.scatter = scatter_of(centred, weights)
        # Of a sum of so many products (Higham, Accuracy and Stability, 3.1), and of the mean that they are apart from.
        of_mean = len(block) * _EPS * float(np.abs(block).max())
        statistics.drift = (len(block) + 4) * _EPS * _largest(statistics.scatter) + statistics.n * of_mean**2
        if targets is not None and self.target == "values":
            statistics.target_mean = weights @ targets / statistics.n
            statistics.cross = (centred * weights[:, None]).T @ (targets - statistics.target_mean)
        if targets is not None and self.target == "classes":
            statistics._set_classes(sums_by_class(block, targets, weights, scatters=self.by_class))
        return statistics

    def _take(self, other: SufficientStatistics) -> None:
        for name, value in other.to_arrays().items():
            if name not in ("target", "by_class", "n", "drift"):
                setattr(self, name, value)
        self.n, self.drift = other.n, other.drift

    def _class_sums(self) -> ClassSums:
        return ClassSums(self.classes, self.class_n, self.class_means, self.class_scatter if self.by_class else None)

    def _set_classes(self, sums: ClassSums) -> None:
        self.classes, self.class_n, self.class_means = sums.labels, sums.n, sums.means
        if sums.scatter is not None:
            self.class_scatter = sums.scatter


def _largest(scatter: Float64) -> float:
    return float(np.diag(scatter).max(initial=0.0))


def _outer_drift(product: float, shift: Float64, one: SufficientStatistics, other: SufficientStatistics) -> float:
    """Bound the rounding of `product` times the outer product of the shift between two means."""
    largest = float(np.abs(one.mean).max() + np.abs(other.mean).max())
    of_means = min(one.n, BLOCK_ROWS) * _EPS * largest
    apart = float(np.abs(shift).max())
    return product * (2 * apart * of_means + of_means**2 + 4 * _EPS * apart**2)


def _are_text(classes: NDArray[Any]) -> bool:
    return classes.dtype.kind in "UT" or (classes.dtype.kind == "O" and isinstance(classes[0], str))
