"""The nearest of many rows by exact search: matrix products block by block, and a running threshold for the best k.

After the first part of the stored rows, each query has a threshold, its k-th best so far. Of every further part only
what beats it is looked at, one comparison an entry, so that selection costs a tenth of the products.

Equal rows are searched as one and come out as many: BLAS rounds a product by where the row lies, so that the
similarities of two copies are often not equal, and which of them is kept would be chance.

Layer: imports NumPy, embedkit.errors and estimators.arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np

from embedkit.errors import UsageError
from embedkit.estimators.arrays import Floats, Indices, row_threads

Metric = Literal["cosine", "euclidean"]

QUERY_ROWS = 512
PART_ROWS = 4096
"""512 x 4096 similarities in float32 are 8 MB: they stay in the cache between product and selection."""


class NearestRows:
    """Search in rows that are kept as they are, without a copy.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float32 or float64
    metric : {"cosine", "euclidean"}
        The cosine of a row of zeros with anything is 0.
    """

    def __init__(self, rows: Floats, metric: Metric) -> None:
        self._rows = rows
        self._metric = metric
        squares = np.concatenate([np.square(rows[part]).sum(axis=1) for part in self._parts()])
        self._scale = _inverse_root(squares) if metric == "cosine" else None
        self._half_squares = squares / 2 if metric == "euclidean" else None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is found again in the rows."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_copies", "_repeated")}

    @cached_property
    def _copies(self) -> dict[int, Indices]:
        """The first of equal rows -> all of them, ascending."""
        lengths = cast(Floats, self._half_squares if self._scale is None else self._scale)
        _, code, counts = np.unique(lengths, return_inverse=True, return_counts=True)
        members: dict[bytes, list[int]] = {}
        for row in np.flatnonzero(counts[code] > 1).tolist():
            members.setdefault((self._rows[row] + 0).tobytes(), []).append(row)  # -0 + 0 is 0
        return {found[0]: np.array(found, np.intp) for found in members.values() if len(found) > 1}

    @cached_property
    def _repeated(self) -> Indices:
        """Rows that equal an earlier one, ascending."""
        return np.sort(np.concatenate([np.empty(0, np.intp), *(rows[1:] for rows in self._copies.values())]))

    def search(self, queries: Floats, k: int) -> tuple[Floats, Indices]:
        """Find the k nearest rows of each query.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features)
        k : int
            1 to n_rows.

        Returns
        -------
        distances : ndarray of shape (n_queries, k)
            Ascending. Euclidean, or 1 - cosine.
        indices : ndarray of shape (n_queries, k), intp
            Of equal distances, the smaller index first; of rows that tie for the k-th place, those of smallest index.
        """
        queries = queries.astype(self._rows.dtype, copy=False)
        _ = self._repeated  # found once, before threads ask
        blocks = [queries[start : start + QUERY_ROWS] for start in range(0, len(queries), QUERY_ROWS)]
        with row_threads(len(queries) * self._rows.size) as threads:
            found = list(threads(lambda block: self._search_block(block, k), blocks))
        return np.concatenate([distances for distances, _ in found]), np.concatenate([indices for _, indices in found])

    def _parts(self) -> list[slice]:
        return [slice(start, start + PART_ROWS) for start in range(0, len(self._rows), PART_ROWS)]

    def _search_block(self, queries: Floats, k: int) -> tuple[Floats, Indices]:
        if self._metric == "cosine":
            queries = queries * _inverse_root(np.square(queries).sum(axis=1))[:, None]
        best = np.full((len(queries), k), -np.inf, queries.dtype)
        indices = np.zeros((len(queries), k), np.intp)
        for part in self._parts():
            best, indices = _merged(best, indices, self._similarities(queries, part), part.start)
        if self._copies:
            self._bring_copies(best, indices)
        distances = 1 - best if self._metric == "cosine" else self._distances(queries, indices)
        order = np.lexsort((indices, distances), axis=1)  # by its last key first
        return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)

    def _bring_copies(self, best: Floats, indices: Indices) -> None:
        """Put the copies of the rows found beside them, as far as they are among the k best."""
        k = best.shape[1]
        first = np.fromiter(self._copies, np.intp)
        for i in np.flatnonzero((np.isin(indices, first) | np.isneginf(best)).any(axis=1)):
            found = [(row, value) for row, value in zip(indices[i], best[i], strict=True) if value > -np.inf]
            copies = [self._copies.get(int(row), np.array([row]))[:k] for row, _ in found]
            values = np.repeat(np.array([value for _, value in found], best.dtype), [len(rows) for rows in copies])
            rows = np.concatenate(copies)
            order = np.lexsort((rows, -values))[:k]
            best[i], indices[i] = values[order], rows[order]

    def _similarities(self, queries: Floats, part: slice) -> Floats:
        similarities = queries @ self._rows[part].T
        if self._scale is not None:
            similarities *= self._scale[part]
        if self._half_squares is not None:
            # -(|q - x|^2 - |q|^2) / 2: the same order for all rows of a query.
            similarities -= self._half_squares[part]
        start, stop = np.searchsorted(self._repeated, [part.start, part.stop])
        similarities[:, self._repeated[start:stop] - part.start] = -np.inf
        return similarities

    def _distances(self, queries: Floats, indices: Indices) -> Floats:
        """From differences: |q|^2 - 2 q x + |x|^2 would cancel for near rows, and not be 0 for equal ones."""
        distances = np.empty(indices.shape, queries.dtype)
        for i, query in enumerate(queries):
            distances[i] = np.sqrt(np.square(self._rows[indices[i]] - query).sum(axis=1))
        return distances


def nearest_in_parts(parts: Iterable[Floats], queries: Floats, k: int) -> tuple[Floats, Indices]:
    """Find the k nearest rows of each query by cosine, in rows that come part by part and are looked at once.

    Parameters
    ----------
    parts : iterable of ndarray of shape (rows, n_features), float32
        Of a few thousand rows each, so that a part stays in the cache for all that is done with it.
    queries : ndarray of shape (n_queries, n_features), float32
    k : int
        At least 1.

    Returns
    -------
    cosines : ndarray of shape (n_queries, k), float32
        Descending. The cosine of a row of zeros with anything is 0. -inf where there are fewer than k rows.
    indices : ndarray of shape (n_queries, k), intp
        Counted through all parts. Of equal cosines, the smaller index first.

    Raises
    ------
    UsageError
        A row holds NaN or infinity.
    """
    queries = queries * _inverse_root(np.square(queries).sum(axis=1))[:, None]
    blocks = [queries[start : start + QUERY_ROWS] for start in range(0, len(queries), QUERY_ROWS)]
    found = [(np.full((len(block), k), -np.inf, np.float32), np.zeros((len(block), k), np.intp)) for block in blocks]
    first = 0
    with row_threads(len(queries) * PART_ROWS * queries.shape[1]) as threads:
        for part in parts:
            squares = np.einsum("ij,ij->i", part, part)
            require_finite(squares, "row", first)
            scale = _inverse_root(squares)

            def merge(place: int, part: Floats = part, scale: Floats = scale, first: int = first) -> None:
                similarities = blocks[place] @ part.T
                similarities *= scale
                found[place] = _merged(*found[place], similarities, first)

            list(threads(merge, range(len(blocks))))
            first += len(part)
    ordered = [_sorted(best, indices) for best, indices in found]
    return np.concatenate([best for best, _ in ordered]), np.concatenate([indices for _, indices in ordered])


def require_finite(squares: Floats, what: str, first: int = 0) -> None:
    """Raise UsageError unless the squared lengths of rows, the first of which has the number `first`, are finite."""
    if not np.isfinite(squares).all():
        row = first + int(np.flatnonzero(~np.isfinite(squares))[0])
        raise UsageError(
            f"{what} {row} holds NaN, infinity or numbers too large for a cosine; extract it again, or leave it out"
        )


def _sorted(best: Floats, indices: Indices) -> tuple[Floats, Indices]:
    """Put the larger similarity first; lexsort is stable and sorts by its last key first."""
    order = np.lexsort((indices, -best), axis=1)
    return np.take_along_axis(best, order, axis=1), np.take_along_axis(indices, order, axis=1)


def _merged(best: Floats, indices: Indices, similarities: Floats, first: int) -> tuple[Floats, Indices]:
    """Bring the best k so far (n, k) together with those of a part (n, m) of rows from `first` on."""
    n_queries, k = best.shape
    width = similarities.shape[1]
    if first == 0 and width > k:
        threshold = np.partition(similarities, width - k, axis=1)[:, width - k]
        beating = np.flatnonzero(similarities >= threshold[:, None])
    else:
        # What is only as good as the k-th so far lies behind it.
        beating = np.flatnonzero(similarities > best.min(axis=1)[:, None])
    query, row = np.divmod(beating, width)
    counts = np.bincount(query, minlength=n_queries)
    at = np.arange(len(beating)) - np.repeat(np.cumsum(counts) - counts, counts)
    values = np.full((n_queries, k + int(counts.max(initial=0))), -np.inf, best.dtype)
    candidates = np.zeros(values.shape, np.intp)
    values[:, :k], candidates[:, :k] = best, indices
    values[query, k + at], candidates[query, k + at] = similarities.reshape(-1)[beating], first + row
    kept = np.argpartition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k :]
    least = np.take_along_axis(values, kept, axis=1).min(axis=1)
    tied = np.flatnonzero((values >= least[:, None]).sum(axis=1) > k)
    kept[tied] = np.lexsort((candidates[tied], -values[tied]), axis=1)[:, :k]
    return np.take_along_axis(values, kept, axis=1), np.take_along_axis(candidates, kept, axis=1)


def _inverse_root(squares: Floats) -> Floats:
    return np.divide(1, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
