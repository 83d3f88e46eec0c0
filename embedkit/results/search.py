"""What `search` found: for each query the nearest images, nearest first.

Layer: results; above record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from embedkit.results.record import Record


@dataclass(frozen=True, slots=True)
class Hit:
    """An image near a query.

    Attributes
    ----------
    key : str
    label : str, float, list of str, or None
    cosine : float
        Of its features and the query's, -1 to 1.
    """

    key: str
    label: str | float | list[str] | None
    cosine: float


@dataclass(frozen=True, slots=True)
class Hits:
    """What was found for one query.

    Attributes
    ----------
    query : str
        A key of the target, or the path of an image.
    hits : list of Hit
        Nearest first.
    is_key : bool
        Whether the query is a key; that image is then none of the hits.
    """

    query: str
    hits: list[Hit]
    is_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult(Record):
    """The images of a target that are nearest to some queries.

    Attributes
    ----------
    results : list of Hits
        In the order of the queries; those that could not be read are in `skipped`.
    model : str
        Whose features were compared.
    """

    kind: ClassVar[str] = "search"

    results: list[Hits]
    model: str

    def table(self) -> list[dict[str, Any]]:
        """Return one row a hit."""
        return [
            {"query": one.query, "key": hit.key, "label": hit.label, "cosine": hit.cosine}
            for one in self.results
            for hit in one.hits
        ]
