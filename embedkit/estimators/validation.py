"""What every estimator asks of its input, on top of scikit-learn's own checks.

Layer: imports scikit-learn, embedkit.errors and estimators.arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import sklearn.utils.class_weight
import sklearn.utils.multiclass
import sklearn.utils.validation
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Float64, Floats, Indices, is_mapped, release_pages

# scikit-learn has no type hints; what is used of it is given types here, once.
_validation = cast(Any, sklearn.utils.validation)
_class_weight = cast(Any, sklearn.utils.class_weight)
_multiclass = cast(Any, sklearn.utils.multiclass)

_BLOCK_ROWS = 16_384


def _require_finite_if_mapped(estimator: object, X: object) -> bool:
    """Look for NaN and infinity in a mapped file block by block: at once, all of its pages would be in memory."""
    if not is_mapped(X) or cast(Any, X).ndim != 2 or cast(Any, X).dtype.kind != "f":
        return False
    rows = cast("NDArray[np.floating[Any]]", X)
    for start in range(0, len(rows), _BLOCK_ROWS):
        _validation.assert_all_finite(
            rows[start : start + _BLOCK_ROWS], estimator_name=type(estimator).__name__, input_name="X"
        )
        release_pages(rows)
    return True


def _dtypes(X: object) -> list[type[np.floating[Any]]]:
    """Types that features may keep; others become the first. Stored float16 needs no more than float32."""
    is_half = getattr(X, "dtype", None) == np.float16
    return [np.float32, np.float64] if is_half else [np.float64, np.float32]


def checked_features(estimator: object, X: object, *, reset: bool) -> Floats:
    """Return features as a finite matrix: float32 if they are (or float16), float64 otherwise."""
    return cast(Floats, _validation.validate_data(estimator, X, dtype=_dtypes(X), reset=reset))


def checked_features_and_labels(estimator: object, X: object, y: object, *, reset: bool) -> tuple[Floats, NDArray[Any]]:
    """Return features as `checked_features` does, and class labels of shape (n_samples,)."""
    finite = not _require_finite_if_mapped(estimator, X)
    features, labels = _validation.validate_data(
        estimator, X, y, dtype=_dtypes(X), ensure_all_finite=finite, reset=reset
    )
    _multiclass.check_classification_targets(labels)
    return features, labels


def checked_features_and_values(estimator: object, X: object, y: object, *, reset: bool) -> tuple[Floats, Float64]:
    """Return features as `checked_features` does, and numbers of shape (n_samples,) or (n_samples, n_targets)."""
    features, values = _validation.validate_data(
        estimator, X, y, dtype=_dtypes(X), y_numeric=True, multi_output=True, reset=reset
    )
    return features, np.asarray(values, dtype=np.float64)


def check_is_fitted(estimator: object, *attributes: str) -> None:
    """Raise scikit-learn's NotFittedError unless the estimator has been fitted."""
    _validation.check_is_fitted(estimator, attributes or None)


@dataclass(frozen=True)
class LabelledRows:
    """Features with class numbers and weights; rows of weight zero are gone.

    Attributes
    ----------
    features : ndarray of shape (n_samples, n_features), float32 or float64
    targets : ndarray of shape (n_samples,), intp
        Positions in `classes`.
    weights : ndarray of shape (n_samples,), float64, positive
    classes : ndarray of shape (n_classes,)
    index : ndarray of shape (n_samples,), intp
        Positions of these rows among the rows given.
    """

    features: Floats
    targets: Indices
    weights: Float64
    classes: NDArray[Any]
    index: Indices

    @property
    def labels(self) -> NDArray[Any]:
        """The class label of each row, shape (n_samples,)."""
        return self.classes[self.targets]


def labelled_rows(estimator: object, X: object, y: object, sample_weight: object = None) -> LabelledRows:
    """Check features, class labels and weights, and number the classes.

    Raises
    ------
    ValueError
        Not a matrix of finite numbers, no class labels, or fewer than two classes.
    """
    features, labels = checked_features_and_labels(estimator, X, y, reset=True)
    weights = checked_weights(sample_weight, len(features))
    index = np.flatnonzero(weights)
    if len(index) < len(weights):
        features, labels, weights = features[index], labels[index], weights[index]
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise UsageError(
            f"{type(estimator).__name__} needs samples of at least 2 classes, got {len(classes)} class: "
            f"{classes.tolist()!r}; check the labels and the weights"
        )
    return LabelledRows(features, targets, weights, classes, index)


def checked_weights(sample_weight: object, n_rows: int) -> Float64:
    """Return one weight a row, float64, none negative and not all zero."""
    if sample_weight is None:
        return np.ones(n_rows)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n_rows, float(weights))
    if weights.shape != (n_rows,):
        raise UsageError(f"sample_weight has shape {weights.shape}, expected ({n_rows},): one weight a row of X")
    if n_rows and not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() > 0):
        raise UsageError(
            "sample_weight must be finite, not negative and not all zero; leave out rows that do not count"
        )
    return weights


def class_weighted(targets: Indices, weights: Float64, class_weight: object, classes: NDArray[Any]) -> Float64:
    """Multiply the weights of rows by those of their classes.

    Parameters
    ----------
    targets : ndarray of shape (n_samples,), intp
        The class number of each row.
    class_weight : None, "balanced" or dict of label -> weight
        "balanced" gives every class the same total weight, sample weights counted (scikit-learn 1.9; older releases
        count rows).
    """
    if class_weight is None:
        return weights
    if isinstance(class_weight, str) and class_weight == "balanced":
        factors = weights.sum() / (len(classes) * np.bincount(targets, weights=weights, minlength=len(classes)))
    else:
        factors = _class_weight.compute_class_weight(class_weight, classes=classes, y=classes[targets])
    return weights * factors[targets]


def require_known(labels: NDArray[Any], classes: object) -> None:
    """Raise UsageError if there are labels that are none of the classes announced; None announces nothing."""
    if classes is not None:
        unknown = np.setdiff1d(labels, cast(Any, classes))
        if len(unknown):
            raise UsageError(f"labels {unknown.tolist()!r} are none of the classes given; name all labels in classes")


def require(condition: bool, estimator: object, name: str, expected: str) -> None:
    """Raise UsageError unless a constructor's argument is as expected."""
    if not condition:
        got = getattr(estimator, name)
        raise UsageError(f"{type(estimator).__name__} got {name}={got!r}, expected {expected}")
