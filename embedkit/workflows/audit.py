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

from embedkit import auditing
from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import EmbedkitError, OutputExistsError, UsageError
from embedkit.evaluation import find_duplicates
from embedkit.extraction import Progress
from embedkit.files import commit_to
from embedkit.images import ALTERATIONS, ImageSource, altered, digest_bytes, looks_of
from embedkit.results import AuditResult, SelfCheck
from embedkit.store import FeatureStore
from embedkit.tables import FeatureTable, TableHead
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
    ranking: auditing.Ranking = "probes",
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
    ranking : {"probes", "wann", "robust", "all"}
        Whose out-of-fold probabilities doubtful labels are found by: cheap probes; weighted adaptive neighbours
        (`AdaptiveNeighborsClassifier`); robust logistic regression (`RobustLogisticRegression`); all, averaged.
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
    if ranking not in auditing.RANKINGS:
        raise UsageError(f"ranking {ranking!r} is not known; use {', '.join(auditing.RANKINGS)}")
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
    pixels = named.table if images is None else _pixels(images, feature_store)
    duplicates = find_duplicates(pixels, thorough=True, random_state=random_state)
    seen = auditing.Examination(named.table, looks, duplicates, random_state, ranking)
    findings = seen.findings()
    result = AuditResult(
        findings=[*findings, *auditing.unreadable(tables.skipped)],
        effects=seen.effects(),
        self_check=_self_check(seen, images, pixels) if self_check else {},
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
                "ranking": ranking,
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


def _pixels(images: ImageSource, store: FeatureStore) -> FeatureTable:
    return tables_of(Target(name=images.name, images=images), [FeatureRequest("pixels32")], store).named[0].table


def _self_check(seen: auditing.Examination, images: ImageSource | None, pixels: FeatureTable) -> dict[str, SelfCheck]:
    checks: dict[str, SelfCheck] = {}
    if seen.labelled is not None:
        checks["label"] = auditing.check_labels(
            seen.probed, seen.labelled.y, ranking=seen.ranking, random_state=seen.random_state
        )
    if images is not None and len(pixels):
        random = np.random.default_rng(seen.random_state)
        count = min(len(pixels), max(len(ALTERATIONS), round(auditing.COPIES * len(pixels))))
        rows = cast("list[int]", random.choice(len(pixels), count, replace=False).tolist())
        image_of = dict(zip(images.keys, images.images, strict=True))
        copies = [
            altered(image_of[pixels.keys[row]], ALTERATIONS[number % len(ALTERATIONS)])
            for number, row in enumerate(rows)
        ]
        planted = {(row, len(pixels) + number) for number, row in enumerate(rows)}
        both = _with_copies(pixels, copies)
        found = find_duplicates(both, thorough=True, random_state=seen.random_state)
        checks["near-duplicate"] = auditing.check_copies(planted, auditing.listed_pairs(found, both))
    return checks


def _with_copies(pixels: FeatureTable, copies: list[bytes]) -> FeatureTable:
    """Return a table of pixels with copies behind its rows, whose pixels go into a store of their own."""
    with tempfile.TemporaryDirectory(prefix="embedkit-") as store:
        X = np.asarray(pixels.embedder(store=store).transform(copies), dtype=np.float32)
    digests = np.frombuffer(b"".join(map(digest_bytes, copies)), np.uint8).reshape(-1, 32)
    head = TableHead(
        spec=pixels.spec,
        keys=[f"row {row}" for row in range(len(pixels) + len(copies))],
        digests=np.concatenate([pixels.digests, digests]),
    )
    return FeatureTable(head, np.concatenate([pixels.X, X]))
