"""What a page shows beside the numbers, computed where the features are: a map, and the nearest training images.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import importlib.util
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.evaluation import FeatureRows, nearest
from embedkit.results import EmbeddingMap, NearestTrained, ProbeResult
from embedkit.tables import FeatureTable

MOST_POINTS = 3_000
"""Of a map: a page draws no more, and t-SNE of so many takes seconds."""

_MOST_MISTAKES = 500


def map_of(name: str, table: FeatureTable, *, random_state: int = 0) -> EmbeddingMap:
    """Bring features into two dimensions: by openTSNE where it is installed (extra ``plot``), else by PCA.

    Parameters
    ----------
    name : str
        What the map calls the features.
    table : FeatureTable
    random_state : int
        Draws the rows of a large table, and seeds t-SNE.
    """
    rows = np.arange(len(table))
    if len(table) > MOST_POINTS:
        rows = np.sort(np.random.default_rng(random_state).choice(len(table), MOST_POINTS, replace=False))
    taken = table[rows]
    xy, share = _principal(taken.X)
    method = f"PCA ({100 * share:.0f} % of the variance)"
    if importlib.util.find_spec("openTSNE") is not None and len(rows) > 50:
        xy, method = _tsne(taken.X, xy, random_state), "t-SNE (openTSNE)"
    return EmbeddingMap(
        model=name,
        method=method,
        keys=list(taken.keys),
        xy=xy,
        labels=cast("list[str]", taken.y.tolist()) if taken.target_type == "class" and taken.y is not None else [],
        parts=[] if taken.split is None else taken.split.tolist(),
    )


def nearest_trained(table: FeatureTable, result: ProbeResult) -> list[NearestTrained]:
    """Find the training image nearest, by cosine, to each tested image that was named wrong."""
    rows = result.rows
    if rows is None or rows.y_true.ndim != 1 or rows.y_true.dtype.kind not in "UO" or table.y is None:
        return []
    row_of = {key: row for row, key in enumerate(table.keys)}
    wrong = list(
        dict.fromkeys(key for key, right in zip(rows.keys, rows.y_true == rows.y_pred, strict=True) if not right)
    )
    wrong = wrong[:_MOST_MISTAKES]
    tested = {row_of[key] for key in rows.keys}
    # Without splits every row is tested once and trains otherwise: then a row's neighbours are all the others.
    train = np.array([row for row in range(len(table)) if row not in tested], dtype=np.intp)
    apart = len(train) > 0
    queries: npt.NDArray[np.intp] = np.sort(np.array([row_of[key] for key in wrong], dtype=np.intp))
    keys: list[str] = list(table.keys)
    if not len(queries):
        return []
    features = FeatureRows(table)
    distances, found = nearest(features, train if apart else np.arange(len(table)), queries, 1 if apart else 2)
    place = [0 if apart or found[row, 0] != query else 1 for row, query in enumerate(queries.tolist())]
    return [
        NearestTrained(
            key=keys[query],
            other_key=keys[int(found[row, place[row]])],
            label=str(table.y[int(found[row, place[row]])]),
            cosine=1.0 - float(distances[row, place[row]]),
        )
        for row, query in enumerate(cast("list[int]", queries.tolist()))
    ]


def _principal(X: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], float]:
    from sklearn.decomposition import PCA

    if min(X.shape) < 2:
        return np.zeros((len(X), 2), np.float32), 1.0
    pca: Any = PCA(2, random_state=0)
    return pca.fit_transform(X).astype(np.float32), float(pca.explained_variance_ratio_.sum())


def _tsne(X: npt.NDArray[np.float32], start: npt.NDArray[np.float32], random_state: int) -> npt.NDArray[np.float32]:
    import openTSNE  # pyright: ignore[reportMissingImports]

    scaled = start / (start[:, 0].std() or 1.0) * 1e-4
    library: Any = openTSNE
    tsne: Any = library.TSNE(initialization=scaled, metric="cosine", random_state=random_state, n_jobs=1)
    return np.asarray(tsne.fit(X), dtype=np.float32)
