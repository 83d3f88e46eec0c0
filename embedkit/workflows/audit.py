"""audit: what is wrong with a data set, what each finding is worth, and how well the audit finds what is planted.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit import auditing
from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import EmbedkitError, OutputExistsError, UsageError
from embedkit.extraction import Progress
from embedkit.files import commit_to
from embedkit.images import ALTERATIONS, ImageSource, altered, looks_of
from embedkit.results import AuditResult, SelfCheck
from embedkit.store import FeatureStore
from embedkit.tables import FeatureTable
from embedkit.text import csv_text
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.targets import Target, images_of, open_store, open_target, tables_of

Model = str | FeatureRequest | Sequence[str | FeatureRequest]


def audit(
    target: Any,
    *,
    model: Model = (),
    label_column: str | None = None,
    self_check: bool = False,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    store: str | os.PathLike[str] | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
) -> AuditResult:
    """Look for copies, contradictions, doubtful labels, odd images, shortcuts, weak groups and imbalance.

    Nothing is changed. Features are those of the target; each image is read once more, at the size of a thumbnail.

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, or a source of images, whose features come through the store.
    model : str or FeatureRequest, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file.
    label_column : str, optional
        The column that holds the labels.
    self_check : bool
        Plant wrong labels (5 %) and altered copies (2 %) in a copy of the table, and say how many are found. The copies
        pass the network.
    output : path, optional
        A ``.csv`` file of the findings, or a ``.json`` file of the result.
    force : bool
        Replace an existing output.
    store : path, optional
        The folder of the store; by default the user's.
    random_state : int
        Seed of every random choice.
    progress : callable, optional

    Returns
    -------
    AuditResult

    Raises
    ------
    UsageError
        Several models are named, or the output has another ending.
    OutputExistsError
        The output is there, and `force` was not given.
    """
    if output is not None and Path(output).suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"{output} is neither a .csv nor a .json file")
    if output is not None and os.path.lexists(output) and not force:
        raise OutputExistsError(f"{output} exists; name another file, or use --force (force=True) to replace it")
    requests = as_requests(model)
    if len(requests) > 1:
        raise UsageError(f"{len(requests)} models are named; an audit uses features of one")
    feature_store, opened = open_store(store), open_target(target, label_column=label_column)
    tables = tables_of(opened, requests, feature_store, progress=progress)
    named, notes = tables.named[0], list[str]()
    images = _images(opened, named.table, feature_store, notes)
    looks = None if images is None else looks_of(images.images)
    seen = auditing.Examination(named.table, looks, random_state)
    findings = seen.findings()
    result = AuditResult(
        findings=[*findings, *auditing.unreadable(tables.skipped)],
        effects=seen.effects(),
        self_check=_self_check(seen, images) if self_check else {},
        model=named.name,
        images=len(named.table) + len(tables.skipped),
        accuracy=None if seen.oof is None else float(seen.oof.right.mean()),
        skipped=tables.skipped,
        notes=[*notes, *seen.notes],
        origin=origin_of(
            "audit",
            {
                "target": target,
                "model": model or None,
                "label_column": label_column,
                "self_check": self_check or None,
                "random_state": random_state,
            },
            {data_name(named): [named]},
            seeds=[random_state],
        ),
    )
    if output is not None and Path(output).suffix.lower() == ".csv":
        rows = [[*one.values()] for one in result.table()]
        text = csv_text([["kind", "key", "other_key", "score", "evidence"], *rows], line_end="\n")
        commit_to(Path(output), [text.encode("utf-8")], sealed=False)
    elif output is not None:
        result.save(output, force=True)
    return result


def _images(target: Target, table: FeatureTable, store: FeatureStore, notes: list[str]) -> ImageSource | None:
    """Return the images of a table's rows, or None where they cannot be had."""
    try:
        images = images_of(target, store)
    except EmbedkitError as error:
        notes.append(f"findings that need pixels are missing, the images cannot be had: {error}")
        return None
    if len(images) == len(table):
        return images
    row_of = {key: row for row, key in enumerate(images.keys)}
    rows = [row_of[key] for key in table.keys]  # without those that failed
    return ImageSource(name=images.name, keys=table.keys, images=[images.images[row] for row in rows])


def _self_check(seen: auditing.Examination, images: ImageSource | None) -> dict[str, SelfCheck]:
    checks: dict[str, SelfCheck] = {}
    if seen.labelled is not None:
        checks["label"] = auditing.check_labels(seen.probed, seen.labelled.y, random_state=seen.random_state)
    if images is not None and seen.looks is not None:
        rows, copies, features = _planted_copies(seen, images)
        X, grey = np.concatenate([seen.X, features]), np.concatenate([seen.looks.grey, looks_of(copies).grey])
        planted = {(row, len(seen.X) + number) for number, row in enumerate(rows)}
        checks["near-duplicate"] = auditing.check_copies(planted, auditing.near_pairs(X, grey, seen.exact))
    return checks


def _planted_copies(
    seen: auditing.Examination, images: ImageSource
) -> tuple[list[int], list[bytes], npt.NDArray[np.float32]]:
    """Return the rows that were copied, their copies, and the features of these, made in a store of their own."""
    random = np.random.default_rng(seen.random_state)
    count = max(len(ALTERATIONS), round(auditing.COPIES * len(seen.X)))
    rows = cast("list[int]", random.choice(len(seen.X), min(count, len(seen.X)), replace=False).tolist())
    copies = [altered(images.images[row], ALTERATIONS[number % len(ALTERATIONS)]) for number, row in enumerate(rows)]
    with tempfile.TemporaryDirectory(prefix="embedkit-") as store:
        return rows, copies, np.asarray(seen.table.embedder(store=store).transform(copies), dtype=np.float32)
