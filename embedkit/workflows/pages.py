"""write_page: results as one HTML page, with thumbnails of the images that they are about.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from embedkit.errors import EmbedkitError, OutputExistsError, ResultFileError, UsageError
from embedkit.files import commit_to
from embedkit.images import SIDE, rows_of, thumbnails_of
from embedkit.report import page
from embedkit.results import (
    AuditResult,
    Comparison,
    Explanations,
    FitResult,
    LabelResult,
    Predictions,
    ProbeReport,
    Record,
    SearchResult,
    load_result,
)
from embedkit.workflows.targets import images_of, open_store, open_target

_MOST_THUMBNAILS = 4_000
"""Five megabytes hold some two thousand."""

_LARGE = 288
"""Pixels of the longer side of photos that a map is laid over."""


def write_page(
    results: Record | str | os.PathLike[str] | Sequence[Record | str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    pictures: bool = True,
    force: bool = False,
    store: str | os.PathLike[str] | None = None,
) -> Path:
    """Write results as one self-contained HTML page.

    No image passes a network, nothing is fitted. Thumbnails are made of the images that the results name, where these
    are still as they were; a page without them says so.

    Parameters
    ----------
    results : Record or path, or sequence of them
        What `probe`, `compare`, `curve`, `fit`, `predict`, `search` or `audit` returned, or the file of it.
    output : path
        The page (``.html``).
    pictures : bool
        With thumbnails.
    force : bool
        Replace an existing file.
    store : path, optional
        The folder of the store, which knows the images of feature files by digest.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ResultFileError
        A file holds no result.
    OutputExistsError
        The page is there, and `force` was not given.

    Examples
    --------
    >>> write_page(probe("photos.h5"), "photos.html")  # doctest: +SKIP
    """
    target = Path(output)
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{target} is no name of a page; let it end in .html")
    if os.path.lexists(target) and not force:
        raise OutputExistsError(f"{target} exists; name another file, or use --force (force=True) to replace it")
    listed = [results] if isinstance(results, Record | str | os.PathLike) else list(results)
    if not listed:
        raise UsageError("no result was given; name what probe, compare, curve, fit or predict left behind")
    records = [one if isinstance(one, Record) else cast(Record, load_result(one)) for one in listed]
    files: dict[str, bytes] = {}
    lost: list[str] = []
    if pictures:
        for record in records:
            files |= _thumbnails_of_queries(record)
            for place in _targets(record):
                try:
                    files |= _thumbnails(place, _keys(record), store, large=isinstance(record, Explanations))
                except EmbedkitError as error:
                    lost.append(f"{place}: {error}")
    try:
        written = page(records, files, without_pictures=lost)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # types are checked, not what they add up to
        if all(isinstance(one, Record) for one in listed):
            raise
        names = ", ".join(str(one) for one in listed if not isinstance(one, Record))
        raise ResultFileError(
            f"{names} cannot be shown ({type(error).__name__}: {error}); it is damaged or made up: make it anew"
        ) from error
    commit_to(target, [written.encode("utf-8", "replace")], sealed=False)
    return target


def _thumbnails(
    place: str | list[str], wanted: dict[str, None], store: str | os.PathLike[str] | None, *, large: bool
) -> dict[str, bytes]:
    images = images_of(open_target(place, recorded=True), open_store(store))
    row_of = {key: row for row, key in enumerate(images.keys)}
    rows = [row_of[key] for key in wanted if key in row_of][:_MOST_THUMBNAILS]
    return thumbnails_of(((images.keys[row], images.images[row]) for row in rows), _LARGE if large else SIDE)


def _thumbnails_of_queries(record: Record) -> dict[str, bytes]:
    """Show the images that were searched for, which are no part of a target, where they are still at their paths."""
    found = record.results if isinstance(record, SearchResult) else []
    paths = [one.query for one in found if not one.is_key and os.path.isfile(one.query)][:_MOST_THUMBNAILS]
    return thumbnails_of(zip(paths, rows_of(paths).images, strict=True)) if paths else {}


def _targets(record: Record) -> list[str | list[str]]:
    """Return the feature files and sources that a record was measured on."""
    asked = record.origin.request
    found: list[object] = [
        asked.get("target"),
        asked.get("source"),
        asked.get("training"),
        *cast("list[object]", asked.get("targets") or []),
    ]
    return [cast("str | list[str]", one) for one in found if one and isinstance(one, str | list)]


def _keys(record: Record) -> dict[str, None]:
    """Return the keys that a page may show, those that it shows first in front."""
    keys: dict[str, None] = {}

    def add(some: Iterable[str]) -> None:
        keys.update(dict.fromkeys(some))

    if isinstance(record, ProbeReport | Comparison):
        results = record.results
    elif isinstance(record, FitResult):
        results = [record.result]
    else:
        results = []
    for rows in [one.rows for one in results if one.rows is not None and not one.floor][:1]:
        if rows.y_true.ndim == 1:
            add(key for key, right in zip(rows.keys, rows.y_true == rows.y_pred, strict=True) if not right)
    if isinstance(record, ProbeReport):
        add(one.other_key for one in record.nearest)
        add(key for one in record.maps for key in one.keys)
    if isinstance(record, SearchResult):
        for one in record.results:
            add([one.query, *(hit.key for hit in one.hits)])
    if isinstance(record, AuditResult):
        # A page shows hundreds of a kind; the worst of each come first, should there be no room for all.
        for place in range(max(record.counts().values(), default=0)):
            for kind in record.counts():
                for one in [one for one in record.findings if one.kind == kind][place : place + 1]:
                    add([one.key, one.other_key])
    if isinstance(record, Explanations):
        add(one.image for one in record.explanations)
        add(near.other_key for one in record.explanations for near in one.nearest)
        add(of.key for one in record.explanations for of in one.influence)
    if isinstance(record, LabelResult):
        add(one.key for one in record.chosen)
    if isinstance(record, Predictions):
        add(one.path for one in record.predictions)
    return keys
