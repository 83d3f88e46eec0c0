"""self_train: whether rows without a label help the classifiers of labelled ones.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import LabelsError
from embedkit.evaluation import (
    FeatureRows,
    ProbeRun,
    errors_naming,
    evaluate,
    holm_correction,
    is_test,
    mcnemar_test,
    mean_interval,
)
from embedkit.extraction import Progress
from embedkit.results import UnlabelledGain, UnlabelledReport
from embedkit.tables import FeatureTable
from embedkit.workflows.aligned import aligned_tables
from embedkit.workflows.duplicated import search_for_duplicates
from embedkit.workflows.fit_ticks import FitTicks
from embedkit.workflows.origins import data_name, origin_of

if TYPE_CHECKING:
    from embedkit.adaptation import Use


def self_train(
    targets: Any,
    model: str | FeatureRequest | Sequence[str | FeatureRequest] | None = None,
    *,
    label_column: str | None = None,
    folds: int = 5,
    random_state: int = 0,
    store: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> UnlabelledReport:
    """Learn from rows without a label too, and test that against leaving them out, on labelled rows that chose nothing.

    Parameters
    ----------
    targets : feature file, sequence of feature files, or a source of images
        Feature files are of the same images, with the same labels and splits. A label that is missing is an empty text.
    model : str, FeatureRequest, or sequence of them, optional
        For a source of images; of several, pseudo-labels are those of all together.
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
    UnlabelledReport

    Raises
    ------
    LabelsError
        No row has a label, every row has one, or labels are no classes.
    SpecMismatchError
        The feature files are of other images, labels or splits.
    ProbeError
        Labels or splits do not allow an answer.

    Examples
    --------
    >>> report = self_train(["a.h5", "b.h5"])  # doctest: +SKIP
    >>> report.gains[0].way, report.gains[0].difference, report.gains[0].p  # doctest: +SKIP
    ('agreed', 0.013, 0.2)
    """
    from embedkit.adaptation import USES, unlabelled_protocol

    named, read = aligned_tables(targets, as_requests(model), label_column, store, progress)
    first = named[0].table
    with errors_naming(data_name(named[0])):
        beside, notes = _unlabelled_rows(first)
    labelled = [dataclasses.replace(one, table=one.table[first.labelled]) for one in named]
    blocks = [_features(one.table, np.flatnonzero(first.labelled)) for one in named]
    others = [_features(one.table, beside) for one in named]
    duplicates = search_for_duplicates(labelled, random_state=random_state).found
    # Each backbone for itself, as the floor, and all of several together, which use the unlabelled rows.
    groups = [([place], one.name) for place, one in enumerate(named)]
    if len(named) > 1:
        groups.append((list(range(len(named))), " + ".join(one.name for one in named)))
    ways: list[Use] = [
        use for use in USES if len(named) > 1 or use != "averaged"
    ]  # of one backbone that is what it agrees on
    ticks = FitTicks(len(groups) + len(ways), progress)

    def judged(use: Use, places: list[int], name: str) -> ProbeRun:
        chosen, added = [blocks[place] for place in places], [others[place] for place in places]
        run = evaluate(
            unlabelled_protocol(use, chosen, added),
            labelled[places[0]].table,
            model=name,
            folds=folds,
            random_state=random_state,
            duplicates=duplicates,
        )
        ticks.done()
        return run

    with errors_naming(data_name(named[0])):
        alone = [judged("labelled", *group) for group in groups]
        used = [judged(use, *groups[-1]) for use in ways]
    tests = [mcnemar_test(run.per_image == 1, alone[-1].per_image == 1) for run in used]
    corrected = holm_correction([test.p_value for test in tests])
    data = data_name(named[0])
    return UnlabelledReport(
        labelled=[dataclasses.replace(run.result, data=data) for run in alone],
        used=[dataclasses.replace(run.result, data=data) for run in used],
        gains=[
            UnlabelledGain(
                way=run.result.estimator,
                difference=test.difference,
                interval=mean_interval(run.per_image - alone[-1].per_image),
                p=float(p),
            )
            for run, test, p in zip(used, tests, corrected, strict=True)
        ],
        n_labelled=alone[0].result.n_train,
        n_unlabelled=len(beside),
        read=read,
        notes=[*notes, *dict.fromkeys(note for run in alone[:1] for note in run.result.notes)],
        origin=origin_of(
            "probe",
            {
                "targets": targets,
                "model": model or None,
                "unlabelled": True,
                "label_column": label_column,
                "folds": folds,
                "random_state": random_state,
            },
            {data: named},
            seeds=[random_state],
        ),
    )


def _features(table: FeatureTable, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Return features of rows; UsageError where some are not finite."""
    return FeatureRows(table[rows]).take(np.arange(len(rows)))


def _unlabelled_rows(table: FeatureTable) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Return the rows without a label that may be learnt from, and what is to be said of the others."""
    if table.target_type == "none" or not table.labelled.any():
        raise LabelsError(f"none of the {len(table)} rows has a label; give some of each class one (`embedkit label`)")
    if table.target_type != "class":
        raise LabelsError(
            f"the labels are of the kind {table.target_type!r}, and unlabelled rows are used beside classes: name a "
            "column of classes by --label-column (label_column=...)"
        )
    known = table.labelled
    if known.all():
        raise LabelsError(
            f"every one of the {len(table)} rows has a label: there is nothing for --unlabelled to learn from"
        )
    tested = np.zeros(len(table), np.bool_) if table.split is None else is_test(table.split.tolist())
    seen = {digest.tobytes() for digest in table.digests[known]}
    copies = np.array([digest.tobytes() in seen for digest in table.digests], np.bool_)
    rows = np.flatnonzero(~known & ~tested & ~copies)
    notes = [
        f"{count} rows without a label are not used: {why}"
        for count, why in (
            (int((~known & tested).sum()), "they are in the test split"),
            (int((~known & ~tested & copies).sum()), "they are copies of labelled images"),
        )
        if count
    ]
    if not len(rows):
        raise LabelsError(f"no row without a label can be learnt from: {'; '.join(notes)}")
    return rows, notes
