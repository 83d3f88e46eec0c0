"""fit_one_class: a model file that knows one class, and marks what is unlike it.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import OutputExistsError, UsageError
from embedkit.estimators import DISTANCES, Distance
from embedkit.evaluation import NOTHING_SELECTED, FeatureRows, errors_naming
from embedkit.extraction import Progress
from embedkit.persistence import save_model
from embedkit.probes import detect, normal_split, one_class_detector
from embedkit.results import FitResult, ProbeResult, Skipped
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.reading import read_line
from embedkit.workflows.targets import open_store, open_target, tables_of


def fit_one_class(
    target: str | os.PathLike[str],
    normal: str,
    model: str | FeatureRequest | None = None,
    *,
    distance: Distance = "mahalanobis",
    output: str | os.PathLike[str],
    label_column: str | None = None,
    force: bool = False,
    store: str | os.PathLike[str] | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a detector on the images of one class; `predict` with the model marks what is unlike them as unknown.

    Parameters
    ----------
    target : path
        A feature file, or a source of images, some of other classes: they are tested on alone.
    normal : str
        The class that is known.
    model : str or FeatureRequest, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file.
    distance : {"mahalanobis", "knn", "svm"}
        As in `estimators.UnknownDetector`.
    output : path
        The model file to write (``.skops``).
    label_column, store, random_state, progress
        As in `one_class`. Without splits the model is fitted on every image of the class, and its number comes from a
        fit on seven tenths of them.
    force : bool
        Replace an existing model file.

    Returns
    -------
    FitResult
        Its number is the ROC area on tested images.

    Raises
    ------
    OutputExistsError
        The output is there, and `force` was not given.
    LabelsError, SplitError
        As in `one_class`.
    """
    output = Path(output)
    if distance not in DISTANCES:
        raise UsageError(f"detector {distance!r} is not known; use {', '.join(DISTANCES)}")
    if output.suffix.lower() != ".skops":
        raise UsageError(f"{output} is no name of a model file; let it end in .skops")
    if os.path.lexists(output) and not force:
        raise OutputExistsError(f"{output} exists; name another file, or use --force (force=True) to replace it")
    opened = open_target(target, label_column=label_column)
    [named] = tables_of(opened, as_requests(model), open_store(store), progress=progress).named
    table, data = named.table, data_name(named)
    with errors_naming(data):
        split = normal_split(table, normal, random_state=random_state)
        tested, _ = detect(table, split, distance, model=named.name, random_state=random_state)
        rows = split.train if table.split is not None else np.sort(np.concatenate([split.train, split.normal]))
        groups = None if table.groups is None else table.groups[rows]
        fitted = one_class_detector(FeatureRows(table), rows, normal, distance, groups, random_state)
    from sklearn.pipeline import Pipeline

    steps: list[tuple[str, Any]] = [("embed", table.embedder()), ("one_class", fitted)]
    pipeline = Pipeline(steps)
    save_model(pipeline, output)
    held = len(fitted.distances_)
    return FitResult(
        output=str(output),
        steps=[type(step).__name__ for _, step in steps],
        classes=[normal],
        result=ProbeResult(
            model=named.name,
            protocol="one-class",
            estimator=distance,
            metric="roc_auc",
            value=tested.roc_auc,
            interval=tested.interval,
            n_train=len(rows),
            n_test=len(split.tested),
            n_classes=1,
            params={},
            at_edge=False,
            converged=True,
            selected_on=NOTHING_SELECTED,
            reported_on=split.reported_on,
            notes=[
                f"at 5 % of false alarms asked for it finds {100 * tested.found:.1f} % of other classes, and marks "
                f"{100 * tested.false_alarms:.1f} % of {normal}",
                f"{held} of the {len(rows)} images set the threshold: fewer false alarms than {100 / (held + 1):.2g} % "
                "cannot be had",
            ],
            data=data,
            fingerprint=table.spec.fingerprint,
            seed=random_state,
        ),
        pipeline=pipeline,
        skipped=[Skipped(failure.key, failure.reason) for failure in table.failures],
        read=[read_line(opened)],
        origin=origin_of(
            "fit",
            {
                "target": target,
                "model": model,
                "one_class": normal,
                "estimator": distance,
                "output": output,
                "label_column": label_column,
                "random_state": random_state,
            },
            {data: [named]},
            seeds=[random_state],
        ),
    )
