"""The rows of a table's features: in memory while they are small, else read from their file block by block.

What is fitted from sums over rows (ridge, discriminant analysis, PCA) or by search (neighbours) asks for `batches`;
what goes over its rows again and again asks for `arranged`, an array in memory or in a scratch file.

Layer: evaluation; above the tables.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.errors import UsageError
from embedkit.estimators import release_pages
from embedkit.evaluation.splits import Rows
from embedkit.tables import FeatureTable

Float32 = npt.NDArray[np.float32]

LARGE_BYTES = 1 << 29
"""Features of more bytes (as float32) are not brought into memory: fits would hold them three to five times over."""

_BATCH_ROWS = 16_384


def is_large(table: FeatureTable) -> bool:
    """Whether a table's features are read block by block."""
    return 4 * len(table) * table.spec.backbone.width > LARGE_BYTES


class FeatureRows:
    """The features of a table, checked to be finite.

    Parameters
    ----------
    table : FeatureTable

    Attributes
    ----------
    shape : (int, int)
    large : bool
        Whether they are read block by block.

    Raises
    ------
    UsageError
        Features in memory hold NaN or infinity. Larger ones are checked when they are read.
    """

    def __init__(self, table: FeatureTable) -> None:
        self.shape = (len(table), table.spec.backbone.width)
        self.large = is_large(table)
        self._table = table
        self._X: Float32 | None = None if self.large else table.X
        if self._X is not None:
            self._require_finite(self._X, np.arange(len(self._X)))

    def batches(self, rows: Rows, size: int | None = None) -> Iterator[tuple[slice, Float32]]:
        """Yield features of rows, at most `size` at a time (by default some tens of megabytes).

        Parameters
        ----------
        rows : ndarray of intp
            Ascending.

        Yields
        ------
        span : slice
            Which of `rows` these are.
        X : ndarray of shape (at most size, n_features), float32

        Raises
        ------
        UsageError
            Features that are read hold NaN or infinity.
        """
        size = _BATCH_ROWS if size is None else size
        if self._X is not None:
            for start in range(0, len(rows), size):
                span = slice(start, min(start + size, len(rows)))
                yield span, self._X[rows[span]]
            return
        first = 0
        for block in self._table.stored_batches(size):
            low, high = np.searchsorted(rows, (first, first + len(block))).tolist()
            if high > low:
                X = block[rows[low:high] - first].astype(np.float32)
                self._require_finite(X, rows[low:high])
                release_pages(block)
                yield slice(low, high), X
            first += len(block)

    def take(self, rows: Rows) -> Float32:
        """Bring features of rows (ascending) into memory."""
        if self._X is not None:
            return self._X[rows]
        taken = np.empty((len(rows), self.shape[1]), np.float32)
        for span, X in self.batches(rows):
            taken[span] = X
        return taken

    @contextmanager
    def arranged(self, *parts: Rows) -> Generator[Float32]:
        """Give features of parts of the rows, one part behind the other, so that each is a slice.

        Raises
        ------
        UsageError
            There is no space for the scratch file.
        """
        if self._X is not None:
            yield self._X[np.concatenate(parts)]
            return
        with tempfile.TemporaryFile(prefix="embedkit-") as scratch:
            try:
                for part in parts:
                    for _, X in self.batches(part):
                        scratch.write(X.data)
                scratch.flush()
            except OSError as error:
                raise UsageError(
                    f"the training features do not fit into {tempfile.gettempdir()} ({error.strerror}); name a folder "
                    "with more space in TMPDIR, or use an estimator of one pass: ridge, lda, pca+logistic, knn"
                ) from error
            shape = (sum(map(len, parts)), self.shape[1])
            yield np.memmap(cast(Any, scratch), np.float32, "r", 0, shape).view(np.ndarray)

    def _require_finite(self, X: Float32, rows: Rows) -> None:
        # A sum is finite unless something in it is not (or overflows, which the exact look then tells apart).
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(X.sum()):
                return
        broken = np.flatnonzero(~np.isfinite(X).all(axis=1))
        if len(broken):
            key = self._table.keys[int(rows[broken[0]])]
            raise UsageError(
                f"the features hold NaN or infinity in {len(broken)} rows, such as that of {key}; extract them again"
            )
