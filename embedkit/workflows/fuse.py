"""fuse: what several backbones together gain over the best of them alone.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import LabelsError, UsageError
from embedkit.evaluation import ProbeRun, evaluate, holm_correction, mcnemar_test
from embedkit.extraction import Progress
from embedkit.probes import run_protocol
from embedkit.results import FusionReport, Gain, ProbeResult
from embedkit.workflows.aligned import aligned_tables
from embedkit.workflows.duplicated import search_for_duplicates
from embedkit.workflows.fit_ticks import FitTicks
from embedkit.workflows.origins import data_name, origin_of

if TYPE_CHECKING:
    from embedkit.adaptation import Way


def fuse(
    targets: Any,
    model: str | FeatureRequest | Sequence[str | FeatureRequest] | None = None,
    *,
    ways: Sequence[Way] = ("concat", "vote", "stack"),
    label_column: str | None = None,
    folds: int = 5,
    random_state: int = 0,
    store: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> FusionReport:
    """Fuse the features of several backbones, and test each fusion against the best single one.

    Parameters
    ----------
    targets : sequence of feature files, or a source of images
        The feature files are of the same images, with the same labels and splits.
    model : sequence of str or FeatureRequest, optional
        For a source of images: at least two.
    ways : sequence of {"concat", "vote", "stack", "ridge"}
        See `embedkit.adaptation.fusion`.
    label_column : str, optional
        The column that holds the labels.
    folds : int
        For targets without splits.
    random_state : int
    store : path, optional
        The folder of the store; by default the user's.
    progress : callable, optional

    Returns
    -------
    FusionReport

    Raises
    ------
    UsageError
        There are fewer than two backbones, or a way is not known.
    SpecMismatchError
        The feature files are of other images, labels or splits.
    ProbeError
        Labels or splits do not allow an answer.

    Examples
    --------
    >>> report = fuse(["a.h5", "b.h5"], ways=["vote"])  # doctest: +SKIP
    >>> report.gains[0].difference, report.gains[0].p  # doctest: +SKIP
    (0.021, 0.04)
    """
    from embedkit.adaptation import WAYS, fusion_protocol

    asked = list(dict.fromkeys(ways))
    unknown = [way for way in asked if way not in WAYS]
    if unknown or not asked:
        raise UsageError(f"fusion {unknown[0] if unknown else '()'!r} is not known; use {', '.join(WAYS)}")
    named, read = aligned_tables(targets, as_requests(model), label_column, store, progress)
    if len(named) < 2:
        raise UsageError(
            f"{len(named)} backbone is given, and a fusion is of at least two: name several feature files, or a source "
            "of images and several models"
        )
    if named[0].table.target_type != "class":
        raise LabelsError(
            f"the labels are of the kind {named[0].table.target_type!r}, and a fusion takes one class an image: name a "
            "column of classes by label_column"
        )
    duplicates = search_for_duplicates(named, random_state=random_state).found
    options: dict[str, Any] = {"folds": folds, "random_state": random_state, "duplicates": duplicates}
    ticks = FitTicks(len(named) + len(asked), progress)
    singles: list[ProbeRun] = []
    for one in named:
        singles.append(run_protocol("quick", one.table, model=one.name, estimator="logistic", **options))
        ticks.done()
    blocks = [np.asarray(one.table.X, np.float32) for one in named]
    groups = None if named[0].table.groups is None else named[0].table.groups.tolist()
    together = " + ".join(one.name for one in named)
    fused: list[ProbeRun] = []
    for way in asked:
        fused.append(evaluate(fusion_protocol(way, blocks, groups), named[0].table, model=together, **options))
        ticks.done()
    best = max(range(len(singles)), key=lambda place: (_selected(singles[place]), -place))
    tests = [mcnemar_test(run.per_image == 1, singles[best].per_image == 1) for run in fused]
    corrected = holm_correction([test.p_value for test in tests])
    data = data_name(named[0])
    return FusionReport(
        singles=[dataclasses.replace(run.result, data=data) for run in singles],
        fused=[_without_fingerprint(run.result, data) for run in fused],
        best=named[best].name,
        gains=[
            Gain(way=way, difference=test.difference, p=float(p))
            for way, test, p in zip(asked, tests, corrected, strict=True)
        ],
        read=read,
        notes=list(dict.fromkeys(note for run in (*singles[:1], *fused) for note in run.result.notes)),
        origin=origin_of(
            "probe",
            {
                "targets": targets,
                "model": model or None,
                "fuse": ",".join(asked),
                "label_column": label_column,
                "folds": folds,
                "random_state": random_state,
            },
            {data: named},
            seeds=[random_state],
        ),
    )


def _selected(run: ProbeRun) -> float:
    return max(candidate.score for candidate in run.result.candidates)


def _without_fingerprint(result: ProbeResult, data: str) -> ProbeResult:
    """Take the fingerprint out: features of a fusion have several, which the origin lists."""
    return dataclasses.replace(result, data=data, fingerprint="")
