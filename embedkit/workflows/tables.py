"""From a source and its extraction to a table: every image is a row or an entry in the ledger of failures.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from embedkit.extraction import Extraction
from embedkit.images import ImageSource, describe
from embedkit.tables import Failure, FeatureTable, TableHead

_Value = TypeVar("_Value")

# Rows that are copied from the store to a feature file at a time: some megabytes at any usual width.
_ROWS_AT_A_TIME = 4096


def table_head(source: ImageSource, extraction: Extraction) -> TableHead:
    """Return what a table says about its rows: names, labels and splits of the source, the spec of the features."""
    rows = extraction.rows
    return TableHead(
        spec=extraction.resolution.spec,
        keys=_take(source.keys, rows),
        digests=extraction.digests[rows],
        labels=_take_any(source.labels, rows),
        classes=source.label_classes,
        split=_take_any(source.split, rows),
        groups=_take_any(source.groups, rows),
        columns={name: _take_any(column, rows) for name, column in source.columns.items()},
        failures=[*source_failures(source), *image_failures(source, extraction)],
        provenance={
            **extraction.resolution.provenance,
            "source": source.name,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "choice": extraction.resolution.choice,
            "drift": extraction.resolution.drift,
            "read": describe(source).line(),
            **({"passed_over": dict(source.passed_over)} if source.passed_over else {}),
        },
    )


def image_failures(source: ImageSource, extraction: Extraction) -> list[Failure]:
    """Return the images of an extraction that have no features, in the order of the source."""
    return [
        Failure(source.keys[row], reason, extraction.digests[row].tobytes() if extraction.digests[row].any() else None)
        for row, reason in extraction.failures.items()
    ]


def source_failures(source: ImageSource) -> list[Failure]:
    """Return what the source itself could not offer as an image, such as the rest of a tar cut short."""
    return [Failure(key, reason) for key, reason in source.failures]


def feature_batches(extraction: Extraction) -> Iterator[npt.NDArray[Any]]:
    """Yield the features of a table's rows, in order, some megabytes at a time."""
    return extraction.features.batches(extraction.digests[extraction.rows], _ROWS_AT_A_TIME)


def table_in_memory(source: ImageSource, extraction: Extraction) -> FeatureTable:
    """Return the table of a source without writing a file."""
    return FeatureTable(table_head(source, extraction), extraction.features.get(extraction.digests[extraction.rows]))


def _take(values: Sequence[_Value], rows: npt.NDArray[np.intp]) -> list[_Value]:
    return [values[row] for row in rows.tolist()]


def _take_any(values: Any, rows: npt.NDArray[np.intp]) -> Any:
    if values is None:
        return None
    return cast(npt.NDArray[Any], values)[rows] if isinstance(values, np.ndarray) else _take(values, rows)
