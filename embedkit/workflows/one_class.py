"""one_class: how well the features of one class tell it from everything else.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import UsageError
from embedkit.estimators import DISTANCES
from embedkit.evaluation import Estimate, errors_naming
from embedkit.extraction import Progress
from embedkit.probes import detect, normal_split
from embedkit.results import OneClassReport, OneClassResult
from embedkit.workflows.fit_ticks import FitTicks
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.reading import read_line
from embedkit.workflows.targets import open_store, open_target, tables_of

_QUANTILE = 1.96


def one_class(
    target: Any,
    normal: str,
    model: str | FeatureRequest | Sequence[str | FeatureRequest] | None = None,
    *,
    error: float = 0.05,
    label_column: str | None = None,
    store: str | os.PathLike[str] | None = None,
    floors: bool = True,
    random_state: int = 0,
    progress: Progress | None = None,
) -> OneClassReport:
    """Fit detectors on one class alone, and test them on it and on all other classes.

    Distances are those of `estimators.UnknownDetector`: Mahalanobis, to the 5th nearest image, one-class SVM; a fifth
    of the normal training images sets the threshold (split conformal). Images of other classes choose nothing.

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, or a source of images.
    normal : str
        The class that is known.
    model : str, FeatureRequest, or sequence of them, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file.
    error : float
        The share of normal images that may be called unlike the others.
    label_column : str, optional
        The column that holds the labels.
    store : path, optional
        The folder of the store; by default the user's.
    floors : bool
        Report raw pixels, colour histograms and the networks with random weights too.
    random_state : int
        Seed of every random choice.
    progress : callable, optional

    Returns
    -------
    OneClassReport
        Best first.

    Raises
    ------
    LabelsError
        The labels are no classes, the class is not among them, or nothing else is.
    SplitError
        Too few images of the class, or none to test on.
    """
    if not 0 < error < 1:
        raise UsageError(f"error={error!r}, expected a share between 0 and 1, such as 0.05")
    opened = open_target(target, label_column=label_column)
    tables = tables_of(opened, as_requests(model), open_store(store), floors=floors, progress=progress)
    first = tables.named[0]
    with errors_naming(data_name(first)):
        splits = [normal_split(named.table, normal, random_state=random_state) for named in tables.named]
    split = splits[0]
    ticks = FitTicks(len(tables.named) * len(DISTANCES), progress)
    found: list[tuple[OneClassResult, Estimate]] = []
    with errors_naming(data_name(first)):
        for named, its in zip(tables.named, splits, strict=True):
            for distance in DISTANCES:
                found.append(
                    detect(
                        named.table,
                        its,
                        distance,
                        model=named.name,
                        error=error,
                        floor=named.floor,
                        random_state=random_state,
                    )
                )
                ticks.done()
    notes: list[str] = []
    held = found[0][0].n_calibration
    if (held + 1) * error < 1:
        notes.append(
            f"{held} images set the threshold, too few for false alarms of {100 * error:g} %: nothing is called unlike "
            f"them; add images of {normal}, or allow {100 / (held + 1):.0f} % or more"
        )
    return OneClassReport(
        normal=normal,
        results=sorted((_with_gain(*one, found) for one in found), key=lambda result: -result.roc_auc),
        error=error,
        n_normal=len(split.normal),
        n_other=len(split.other),
        reported_on=split.reported_on,
        skipped=tables.skipped,
        unavailable=tables.unavailable,
        read=[read_line(opened)],
        notes=notes,
        origin=origin_of(
            "probe",
            {
                "target": target,
                "model": model or None,
                "one_class": normal,
                "error": error,
                "label_column": label_column,
                "random_state": random_state,
            },
            {data_name(first): tables.named},
            seeds=[random_state],
        ),
    )


def _with_gain(
    result: OneClassResult, area: Estimate, found: Sequence[tuple[OneClassResult, Estimate]]
) -> OneClassResult:
    """Compare a result with the best floor by the same detector: the areas are of the same images, pair by pair."""
    own = area.influence
    rivals = [
        (other.value, other.influence)
        for one, other in found
        if one.floor and one.detector == result.detector and other.influence is not None
    ]
    if result.floor or own is None or not rivals:
        return result
    value, influence = max(rivals, key=lambda one: one[0])
    if len(influence) != len(own):  # images that one of the two has no features of
        return result
    gain, half = area.value - value, _QUANTILE * float(np.sqrt(np.square(own - influence).sum()))
    enough = result.interval is not None
    return dataclasses.replace(result, gain=gain, gain_interval=(gain - half, gain + half) if enough else None)
