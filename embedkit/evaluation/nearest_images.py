"""NearestImages: the images whose features are nearest to given ones, by cosine.

Layer: evaluation; above the tables, the estimators and results.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted  # pyright: ignore[reportUnknownVariableType]

from embedkit.errors import MissingExtraError, UsageError
from embedkit.estimators import PART_ROWS, nearest_in_parts, release_pages, require_finite
from embedkit.results import Hit
from embedkit.tables import FeatureTable

Float32 = npt.NDArray[np.float32]

_TRAINED_PER_CELL = 64
"""Rows a cell that faiss learns its cells from; it warns below 39."""


class NearestImages(BaseEstimator):
    """Search by cosine in the features of a table or in an array, which are kept as they are, without a copy.

    Parameters
    ----------
    n_neighbors : int, default=10
        How many to find; all of them where there are fewer.
    method : {"exact", "faiss"}, default="exact"
        ``"exact"`` compares with every row, in one pass over them, read part by part from a feature file.
        ``"faiss"`` (extra ``search``) learns cells first (`IndexIVFFlat`), keeps a copy of the features in memory and
        looks into a sixteenth of the cells: a few of the neighbours may be missed. It pays for its start where many
        searches follow in more than about a million rows (docs/search.md).

    Attributes
    ----------
    n_samples_fit_, n_features_in_ : int
    keys_ : list of str
    labels_ : list of str, float, list of str, or None; one a row

    Examples
    --------
    >>> import numpy as np
    >>> nearest = NearestImages(1).fit(np.eye(3, dtype=np.float32), y=["a", "b", "c"], keys=["1", "2", "3"])
    >>> nearest.search([[0.0, 2.0, 0.0]])
    [[Hit(key='2', label='b', cosine=1.0)]]
    """

    def __init__(self, n_neighbors: int = 10, *, method: Literal["exact", "faiss"] = "exact") -> None:
        self.n_neighbors = n_neighbors
        self.method: Literal["exact", "faiss"] = method

    def fit(self, X: Any, y: Sequence[Any] | None = None, keys: Sequence[str] | None = None) -> Self:
        """Keep the rows; of a feature file nothing is read yet.

        Parameters
        ----------
        X : FeatureTable, or array-like of shape (n_rows, n_features)
        y : sequence of length n_rows, optional
            Labels; by default those of the table.
        keys : sequence of str of length n_rows, optional
            Names; by default those of the table, or the numbers of the rows.

        Raises
        ------
        UsageError
            There is no row, or not a label or key for each; with ``"faiss"``, rows hold NaN or infinity.
        MissingExtraError
            faiss is not installed.
        """
        if self.method not in ("exact", "faiss"):
            raise UsageError(f"method={self.method!r} is not known; use 'exact' or 'faiss'")
        table = X if isinstance(X, FeatureTable) else None
        rows: FeatureTable | Float32 = _matrix(X) if table is None else table
        count, self.n_features_in_ = rows.shape
        if not count:
            raise UsageError("there is no row to search in; expected at least one image with features")
        named = keys if keys is not None else range(count) if table is None else table.keys
        labels: list[Any] = list(y) if y is not None else [None] * count if table is None else labels_of_rows(table)
        if len(named) != count or len(labels) != count:
            raise UsageError(f"{count} rows have {len(named)} keys and {len(labels)} labels; expected one a row")
        self.keys_, self.labels_, self.n_samples_fit_ = [str(name) for name in named], labels, count
        self._rows = rows
        self._index: Any = _cells(self._parts, count, self.n_features_in_) if self.method == "faiss" else None
        return self

    def kneighbors(self, X: Any, n_neighbors: int | None = None) -> tuple[Float32, npt.NDArray[np.intp]]:
        """Find the nearest rows.

        Parameters
        ----------
        X : FeatureTable, or array-like of shape (n_queries, n_features)
            Features made as those that are searched: `FeatureTable.embedder`.
        n_neighbors : int, optional
            Another number than the estimator's.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float32
            1 - cosine, ascending.
        indices : ndarray of shape (n_queries, n_neighbors), intp
            -1 where faiss found fewer.

        Raises
        ------
        UsageError
            Features are of another width, or hold NaN, infinity or numbers whose squares overflow.
        """
        cosines, indices = self._search(X, n_neighbors)
        return 1 - cosines, indices

    def search(self, X: Any, n_neighbors: int | None = None) -> list[list[Hit]]:
        """Find the nearest rows, and say their keys and labels; the parameters are those of `kneighbors`.

        Returns
        -------
        list of list of Hit
            For each query the nearest first: ``key``, ``label``, ``cosine``.
        """
        cosines, indices = self._search(X, n_neighbors)
        return [
            [
                Hit(key=self.keys_[row], label=self.labels_[row], cosine=cosine)
                for row, cosine in zip(rows, near, strict=True)
                if row >= 0
            ]
            for rows, near in zip(
                cast("list[list[int]]", indices.tolist()), cast("list[list[float]]", cosines.tolist()), strict=True
            )
        ]

    def _search(self, X: Any, n_neighbors: int | None) -> tuple[Float32, npt.NDArray[np.intp]]:
        check_is_fitted(self)
        wanted = self.n_neighbors if n_neighbors is None else n_neighbors
        if wanted < 1:
            raise UsageError(f"n_neighbors={wanted}, expected at least 1")
        queries = X.X if isinstance(X, FeatureTable) else _matrix(X)
        if queries.shape[1] != self.n_features_in_:
            raise UsageError(
                f"the queries have {queries.shape[1]} features and the rows {self.n_features_in_}; make them with the "
                "same network: table.embedder()"
            )
        require_finite(np.einsum("ij,ij->i", queries, queries), "query")
        k = min(wanted, self.n_samples_fit_)
        if not len(queries):
            return np.empty((0, k), np.float32), np.empty((0, k), np.intp)
        if self._index is not None:
            cosines, indices = self._index.search(_unit(queries), k)
            return np.clip(cosines, -1, 1), indices.astype(np.intp)
        cosines, indices = nearest_in_parts(self._parts(), queries, k)
        return np.clip(cosines, -1, 1).astype(np.float32, copy=False), indices

    def _parts(self) -> Iterator[Float32]:
        """Yield the rows, some megabytes at a time; of a mapped file no page is kept."""
        for block in _blocks(self._rows):
            yield block.astype(np.float32, copy=False)
            release_pages(block)


def labels_of_rows(table: FeatureTable) -> list[Any]:
    """Give each row's label as a plain value: text, number, list of names, or None where it is unknown."""
    if table.y is None:
        return [None] * len(table)
    match table.target_type:
        case "class":
            return [one or None for one in cast("list[str]", table.y.tolist())]
        case "value":
            return [None if math.isnan(one) else one for one in cast("list[float]", table.y.tolist())]
        case _:
            names = np.array(table.classes, dtype=np.str_)
            return [names[marks].tolist() for marks in table.y]


def _blocks(rows: FeatureTable | Float32) -> Iterator[npt.NDArray[Any]]:
    if isinstance(rows, FeatureTable):
        return rows.stored_batches(PART_ROWS)
    return (rows[start : start + PART_ROWS] for start in range(0, len(rows), PART_ROWS))


def _matrix(X: Any) -> Float32:
    features = np.asarray(X, dtype=np.float32)
    if features.ndim != 2:
        raise UsageError(f"features have the shape {features.shape}, expected rows of numbers (n, n_features)")
    return features


def _unit(X: Float32) -> Float32:
    require_finite(np.einsum("ij,ij->i", X, X), "row")
    lengths = np.sqrt(np.square(X).sum(axis=1, keepdims=True))
    return np.ascontiguousarray(X / np.where(lengths > 0, lengths, np.float32(1)), np.float32)


def _cells(parts: Any, count: int, width: int) -> Any:
    try:
        import faiss  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError(
            "method='faiss' needs faiss, which is not installed: pip install 'embedkit[search]'; or use 'exact'"
        ) from error
    library: Any = faiss
    cells = max(1, min(round(math.sqrt(count)), 4096, count // _TRAINED_PER_CELL))
    quantizer = library.IndexFlatIP(width)
    index = library.IndexIVFFlat(quantizer, width, cells, library.METRIC_INNER_PRODUCT)
    index.nprobe = max(1, cells // 16, min(cells, 8))
    step = max(1, count // (cells * _TRAINED_PER_CELL))
    index.train(_unit(np.concatenate([part[::step] for part in parts()])))
    for part in parts():
        index.add(_unit(part))
    return index
