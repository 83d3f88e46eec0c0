"""probe_views: what random views of the images gain over the images alone, with a frozen network.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import LabelsError, UsageError
from embedkit.evaluation import evaluate, holm_correction, mcnemar_test
from embedkit.extraction import Progress, run_many
from embedkit.probes import run_protocol
from embedkit.results import FusionReport, Gain
from embedkit.specs import FeatureSpec
from embedkit.store import FeatureStore
from embedkit.tables import FeatureTable
from embedkit.workflows.duplicated import search_for_duplicates
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.reading import read_line
from embedkit.workflows.targets import Target, images_in_order, open_store, open_target, request_of, tables_of


def probe_views(
    target: Any,
    model: str | FeatureRequest | None = None,
    *,
    views: int = 4,
    label_column: str | None = None,
    drop_unlabelled: bool = False,
    folds: int = 5,
    random_state: int = 0,
    store: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> FusionReport:
    """Fit logistic regression on features of images and of random views of them, and test it against images alone.

    The k-th view of an image is drawn by the digest of its bytes, k and the seed: 40 to 100 % of its area, mirrored or
    not, brightness, contrast and saturation changed by up to a fifth. It is a row of its own in the store.

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, whose images are there still, or a source of images; with one class an image.
    model : str or FeatureRequest, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file.
    views : int
        Beside each image itself; at least 1.
    label_column : str, optional
        The column that holds the labels.
    drop_unlabelled : bool
        Leave rows without a label out, and say how many; else they are an error.
    folds : int
        For a target without splits.
    random_state : int
        Of the views, and of every other random choice.
    store : path, optional
        The folder of the store; by default the user's.
    progress : callable, optional

    Returns
    -------
    FusionReport
        The images alone, then both ways of using views (`embedkit.adaptation.view_training`), with their gains.

    Raises
    ------
    UsageError
        No view is asked for, or of several models.
    ProbeError
        Labels or splits do not allow an answer.
    """
    from embedkit.adaptation import VIEW_WAYS, view_protocol

    if views < 1:
        raise UsageError(f"views is {views!r}, expected a whole number of at least 1")
    requests = as_requests(model)
    if len(requests) > 1:
        raise UsageError(f"{len(requests)} models are named; views are of one")
    feature_store = open_store(store)
    opened = open_target(target, label_column=label_column, drop_unlabelled=drop_unlabelled)
    if opened.target_type != "class":
        raise LabelsError(
            f"{opened.name} has labels of the kind {opened.target_type!r}, and views are tried on one class an image: "
            "name a column of classes by --label-column (label_column=...)"
        )
    tables = tables_of(opened, requests, feature_store, progress=progress)
    named, request = tables.named[0], requests[0] if requests else request_of(opened)
    found, passes = _views(opened, named.table, request, views, random_state, feature_store, progress)
    duplicates = search_for_duplicates([named], random_state=random_state).found
    options: dict[str, Any] = {"folds": folds, "random_state": random_state, "duplicates": duplicates}
    alone = run_protocol("quick", named.table, model=named.name, estimator="logistic", **options)
    tried = [evaluate(view_protocol(way, found), named.table, model=named.name, **options) for way in VIEW_WAYS]
    tests = [mcnemar_test(run.per_image == 1, alone.per_image == 1) for run in tried]
    corrected = holm_correction([test.p_value for test in tests])
    data = data_name(named)
    notes = [note for run in (alone, *tried) for note in run.result.notes]
    said = f"{views} views of each of {len(named.table)} images: {passes} passes in this run"
    return FusionReport(
        singles=[dataclasses.replace(alone.result, data=data)],
        fused=[dataclasses.replace(run.result, data=data) for run in tried],
        best=named.name,
        gains=[
            Gain(way=way, difference=test.difference, p=float(p))
            for way, test, p in zip(VIEW_WAYS, tests, corrected, strict=True)
        ],
        skipped=tables.skipped,
        read=[read_line(opened)],
        notes=[*dict.fromkeys(notes), said],
        origin=origin_of(
            "probe",
            {
                "target": target,
                "model": model,
                "views": views,
                "label_column": label_column,
                "drop_unlabelled": drop_unlabelled or None,
                "folds": folds,
                "random_state": random_state,
            },
            {data: [named]},
            seeds=[random_state],
        ),
    )


def _views(
    target: Target,
    table: FeatureTable,
    request: FeatureRequest,
    views: int,
    seed: int,
    store: FeatureStore,
    progress: Progress | None,
) -> tuple[list[npt.NDArray[np.float32]], int]:
    """Return features of the images and of each view, by one engine and precision, and the passes that took."""
    source = images_in_order(target, table, store)
    asked = [_of_view(request, table.spec, view, seed) for view in range(1, views + 1)]
    extractions = run_many(source, asked, store, progress=progress)
    found = [np.asarray(table.X, np.float32)]
    found += [one.features.get(table.digests).astype(np.float32) for one in extractions]
    return found, sum(one.forward_passes for one in extractions)


def _of_view(request: FeatureRequest, spec: FeatureSpec, view: int, seed: int) -> FeatureRequest:
    return dataclasses.replace(
        request,
        engine=spec.backbone.engine,
        precision=spec.backbone.precision,
        preprocess={**request.overrides.given(), "view": view, "view_seed": seed},
    )
