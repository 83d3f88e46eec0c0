"""search: the images of a target that are nearest to new ones, or to some of its own.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import UsageError
from embedkit.evaluation import NearestImages
from embedkit.extraction import Progress, run
from embedkit.images import rows_of
from embedkit.results import Hits, SearchResult, Skipped
from embedkit.specs import require_equal
from embedkit.store import FeatureStore
from embedkit.tables import FeatureTable
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.targets import open_store, open_target, tables_of

Model = str | FeatureRequest | Sequence[str | FeatureRequest]


def search(
    target: Any,
    queries: Sequence[Any],
    *,
    k: int = 10,
    model: Model = (),
    method: Literal["exact", "faiss"] = "exact",
    label_column: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    store: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Find the images of a target that are nearest to queries, by the cosine of their features.

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, or a source of images, whose features come through the store.
    queries : sequence
        Keys of the target, whose features are at hand, and new images: paths, bytes, Pillow images, arrays. Those go
        through the very network of the target, each once, if the store does not hold them.
    k : int
        How many images to find for each.
    model : str or FeatureRequest, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file.
    method : {"exact", "faiss"}
        See `NearestImages`.
    label_column : str, optional
        The column that holds the labels.
    weights : path, optional
        Where the weights of a feature file's model are now.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:0"``; for new images.
    store : path, optional
        The folder of the store; by default the user's.
    progress : callable, optional

    Returns
    -------
    SearchResult
        Queries that could not be read are in ``skipped``.

    Raises
    ------
    UsageError
        There is no query, or several models are named.
    SpecMismatchError
        This machine cannot make the features that the target has.
    """
    if isinstance(queries, str | bytes | os.PathLike) or not len(queries):
        raise UsageError("there is nothing to search for; name keys of the target or images, as a list")
    if k < 1:
        raise UsageError(f"k={k}, expected at least 1 image to find")
    requests = as_requests(model)
    if len(requests) > 1:
        raise UsageError(f"{len(requests)} models are named; a search compares features of one")
    feature_store, opened = open_store(store), open_target(target, label_column=label_column)
    if opened.images is not None and device != "auto":
        requests = [dataclasses.replace(request, device=device) for request in requests or [FeatureRequest()]]
    named = tables_of(opened, requests, feature_store, progress=progress).named[0]
    table = named.table
    nearest = NearestImages(k, method=method).fit(table)
    asked = _Queries(table, list(queries))
    features, failures = asked.features(feature_store, weights, device, progress)
    # A key finds itself first, or a copy of itself: one hit more, of which itself is left out.
    found = nearest.search(features, k + 1 if asked.rows else k)
    results = [
        Hits(name, [hit for hit in hits if name != hit.key or place not in asked.rows][:k], place in asked.rows)
        for place, (name, hits) in enumerate(zip(asked.names, found, strict=True))
        if place not in failures
    ]
    return SearchResult(
        results=results,
        model=named.name,
        skipped=[Skipped(asked.names[place], reason) for place, reason in sorted(failures.items())],
        notes=asked.notes(),
        origin=origin_of(
            "search",
            {
                "target": target,
                "queries": queries,
                "k": k,
                "model": model or None,
                "method": method,
                "label_column": label_column,
            },
            {data_name(named): [named]},
        ),
    )


class _Queries:
    """What is searched for: rows of the table by their keys, and new images."""

    def __init__(self, table: FeatureTable, queries: list[Any]) -> None:
        self._table, self._asked = table, queries
        row_of = {key: row for row, key in enumerate(table.keys)}
        self.rows = {
            place: row_of[query] for place, query in enumerate(queries) if isinstance(query, str) and query in row_of
        }
        self._new = [place for place in range(len(queries)) if place not in self.rows]
        self._images = rows_of([queries[place] for place in self._new]) if self._new else None
        names = {} if self._images is None else dict(zip(self._new, self._images.keys, strict=True))
        self.names = [names.get(place) or str(query) for place, query in enumerate(queries)]

    def features(
        self,
        store: FeatureStore,
        weights: str | os.PathLike[str] | None,
        device: str,
        progress: Progress | None,
    ) -> tuple[npt.NDArray[np.float32], dict[int, str]]:
        """Give the features of all queries, zeros where an image failed, and the reasons by place."""
        features = np.zeros((len(self.names), self._table.shape[1]), np.float32)
        rows, again = np.unique(np.array([*self.rows.values()], dtype=np.intp), return_inverse=True)
        features[[*self.rows]] = self._table[rows].X[again]
        if self._images is None:
            return features, {}
        embedder = self._table.embedder(weights=weights, device=device, store=store.path)
        extraction = run(self._images, embedder.request().settled(self._table.spec), store, progress=progress)
        require_equal(extraction.resolution.spec, self._table.spec, "new images get other features than the target has")
        new = np.array(self._new)
        features[new[extraction.rows]] = extraction.features.get(extraction.digests[extraction.rows])
        return features, {self._new[row]: self._reason(row, why) for row, why in extraction.failures.items()}

    def _reason(self, row: int, why: str) -> str:
        """Say why there is nothing to search by, of a text that is no file also that it is no key."""
        query = self._asked[self._new[row]]
        if not isinstance(query, str) or os.path.lexists(query):
            return why
        return f"neither a key of the target, such as {self._table.keys[0]}, nor an image: {why}"

    def notes(self) -> list[str]:
        """Say which queries could be meant in two ways."""
        both = [self.names[place] for place in self.rows if os.path.isfile(self.names[place])]
        return [f"{name} is a key of the target and was taken as that; write ./{name} for the file" for name in both]
