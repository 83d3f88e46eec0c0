"""ImageEmbedder against scikit-learn's own checks, through a double that reads rows of numbers as tiny images.

The checks speak of matrices: of an estimator whose tags say that it takes none, scikit-learn runs one check and skips
the others. What the double adds is the way from a row to an image; all the rest is ImageEmbedder's. No check is
expected to fail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import validate_data

from embedkit import ImageEmbedder


class RowsAsImages(ImageEmbedder):
    """Reads the bytes of each row of numbers as a grey image, one line of eight pixels a number."""

    def __init__(self, store: str | None = None, on_error: str = "raise") -> None:
        super().__init__("pixels32", store=store, on_error=on_error)  # pyright: ignore[reportArgumentType]

    def fit(self, X: Any, y: Any = None) -> RowsAsImages:
        return super().fit(self._images(X, reset=True), y)

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        return super().fit_transform(self._images(X, reset=True), y)

    def transform(self, X: Any) -> Any:
        return super().transform(self._images(X, reset=not hasattr(self, "n_features_in_")))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = False
        tags.input_tags.two_d_array = True
        tags.input_tags.string = False
        return tags

    def _images(self, X: Any, *, reset: bool) -> Any:
        rows = validate_data(self, X, dtype=np.float64, reset=reset)
        return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1, 8)


@pytest.fixture(autouse=True, scope="module")
def _one_store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDKIT_STORE", str(tmp_path_factory.mktemp("store")))
        yield


@parametrize_with_checks([RowsAsImages()])
def test_common_checks(estimator, check):
    check(estimator)


def test_what_is_checked_without_the_double():
    with pytest.warns(SkipTestWarning, match="Can't test estimator ImageEmbedder"):
        check_estimator(ImageEmbedder("pixels32"))
