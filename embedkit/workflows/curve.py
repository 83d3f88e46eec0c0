"""curve: how accuracy grows with labels, for the features of a target and their floors.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import UsageError
from embedkit.extraction import Progress
from embedkit.probes import CLASS_MEAN, check_estimator, few_shot_curve, learning_curve
from embedkit.results import Curve, CurveReport
from embedkit.workflows.attributed_notes import attributed
from embedkit.workflows.duplicated import search_for_duplicates
from embedkit.workflows.fit_ticks import FitTicks
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.reading import dropped_notes
from embedkit.workflows.targets import NamedTable, open_store, open_target, tables_of


def curve(
    target: Any,
    model: str | FeatureRequest | Sequence[str | FeatureRequest] | None = None,
    *,
    shots: Sequence[int] = (),
    fractions: Sequence[float] = (),
    seeds: int = 5,
    estimator: str | None = None,
    folds: int = 5,
    floors: bool = True,
    label_column: str | None = None,
    drop_unlabelled: bool = False,
    store: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> CurveReport:
    """Report how accuracy grows with the number of labels.

    Parameters
    ----------
    target, model, folds, floors, label_column, drop_unlabelled, store, progress
        As in `embedkit.probe`.
    shots : sequence of int
        Images a class.
    fractions : sequence of float
        Of the training images; either these or shots.
    seeds : int
        Draws of the training images at each point: the mean over them and its 95 % interval are reported.
    estimator : str, optional
        ``"class-mean"``, which is the default for shots, or one of `probe`'s, by default ``"logistic"``, for values
        ``"ridge"``.

    Returns
    -------
    CurveReport

    Raises
    ------
    UsageError
        Both shots and fractions, or neither; numbers out of range.
    ProbeError
        Labels or splits do not allow an answer.
    """
    if bool(shots) == bool(fractions):
        raise UsageError("a curve is over shots or over fractions; give one of the two")
    if estimator not in (None, CLASS_MEAN):
        check_estimator(estimator, None)
    opened = open_target(target, label_column=label_column, drop_unlabelled=drop_unlabelled)
    tables = tables_of(opened, as_requests(model), open_store(store), floors=floors, progress=progress)

    duplicates = search_for_duplicates(tables.named).found

    def of(named: NamedTable) -> Curve:
        of_labels = "ridge" if named.table.target_type == "value" else "logistic"
        chosen = estimator or (CLASS_MEAN if shots else of_labels)
        options: dict[str, Any] = {"estimator": chosen, "seeds": seeds, "folds": folds, "floor": named.floor}
        options["duplicates"] = duplicates
        if shots:
            return few_shot_curve(named.table, shots, model=named.name, **options)
        return learning_curve(named.table, fractions, model=named.name, **options)

    ticks = FitTicks(len(tables.named), progress)
    curves: list[Curve] = []
    for named in tables.named:
        curves.append(of(named))
        ticks.done()
    return CurveReport(
        curves=sorted(curves, key=lambda one: -one.points[-1].mean),
        skipped=tables.skipped,
        unavailable=tables.unavailable,
        notes=dropped_notes([opened]) + attributed((one.model, note) for one in curves for note in one.notes or [""]),
        origin=origin_of(
            "probe",
            {
                "target": target,
                "model": model or None,
                "shots": list(shots) or None,
                "fractions": list(fractions) or None,
                "seeds": seeds,
                "estimator": estimator,
                "folds": folds,
                "label_column": label_column,
                "drop_unlabelled": drop_unlabelled or None,
            },
            {data_name(tables.named[0]): tables.named},
            seeds=range(seeds),
        ),
    )
