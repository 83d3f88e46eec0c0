"""One search for duplicates for all tables of the same images, and the list of the pairs.

Layer: workflows; above targets and floors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from embedkit.evaluation import Duplicates, find_duplicates
from embedkit.results import ImagePair
from embedkit.tables import FeatureTable
from embedkit.workflows.floors import PSEUDO
from embedkit.workflows.targets import NamedTable


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search for duplicates in a table, begun when its outcome is first asked for."""

    named: NamedTable
    thorough: bool = False
    random_state: int = 0

    @property
    def key(self) -> list[str | bool | int]:
        """What decides its outcome, beside the images."""
        return [self.named.name, self.named.table.spec.fingerprint, self.thorough, self.random_state]

    @cached_property
    def found(self) -> Duplicates:
        """The duplicates."""
        return find_duplicates(self.named.table, thorough=self.thorough, random_state=self.random_state)


def search_for_duplicates(tables: Sequence[NamedTable], *, thorough: bool = False, random_state: int = 0) -> Search:
    """Choose the table to search for all tables of the same images: the one that holds pixels, if there is one."""
    pixels = next((one for one in tables if one.table.spec.backbone.architecture == PSEUDO[0]), None)
    return Search(named=pixels or tables[0], thorough=thorough, random_state=random_state)


def image_pairs(data: str, table: FeatureTable, duplicates: Duplicates) -> list[ImagePair]:
    """List the equal and the nearly equal images of a table, with their splits and labels."""
    return [
        ImagePair(
            data=data,
            key=table.keys[pair.row],
            other_key=table.keys[pair.other_row],
            split=_part(table, pair.row),
            other_split=_part(table, pair.other_row),
            label=_label(table, pair.row),
            other_label=_label(table, pair.other_row),
            similarity=pair.similarity,
            kind=pair.kind,
            found_by="bytes" if pair.kind == "exact" else duplicates.source,
        )
        for pair in duplicates.pairs(table)
    ]


def _part(table: FeatureTable, row: int) -> str:
    return "" if table.split is None else str(table.split[row])


def _label(table: FeatureTable, row: int) -> str:
    if table.y is None:
        return ""
    if table.target_type == "multilabel":
        return "|".join(name for name, marked in zip(table.classes, cast(Any, table.y)[row], strict=True) if marked)
    return str(table.y[row])
