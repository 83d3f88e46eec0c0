"""label: which images of a target to label next, and whether it pays.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import LabelsError, OutputExistsError, UsageError
from embedkit.evaluation import is_test
from embedkit.extraction import Progress
from embedkit.files import commit_to
from embedkit.labelling import MOST_CANDIDATES, choose, in_few_directions, outlook, read_answers
from embedkit.results import ChosenImage, LabelResult, Skipped
from embedkit.tables import FeatureTable
from embedkit.text import csv_text
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.targets import open_store, open_target, tables_of


def label(
    target: Any,
    model: str | FeatureRequest | None = None,
    *,
    budget: int = 50,
    answers: Sequence[str | os.PathLike[str]] = (),
    output: str | os.PathLike[str] | None = None,
    label_column: str | None = None,
    force: bool = False,
    store: str | os.PathLike[str] | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
) -> LabelResult:
    """Choose the images whose labels tell most.

    Before there are labels of two classes: a typical image of each of as many clusters. Then: of the images between
    whose two likeliest classes least is to choose, one of each cluster. Copies are chosen once, no image of a test
    split is.

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, or a source of images. Its labels, where it has some, are taken as answers.
    model : str or FeatureRequest, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file.
    budget : int
        How many images to choose.
    answers : sequence of path
        CSV files with the columns ``path`` and ``label``; a later one counts before an earlier one, and all of them
        before the target.
    output : path, optional
        A CSV file to fill in: ``path``, ``label`` (empty), ``reason``.
    label_column, store, progress
        As in `probe`.
    force : bool
        Replace an existing output.
    random_state : int

    Returns
    -------
    LabelResult

    Raises
    ------
    LabelsError
        All images have labels, the labels are no classes, or answers cannot be understood.
    OutputExistsError
        The output is there, and `force` was not given.
    """
    if budget < 1:
        raise UsageError(f"budget={budget}, expected at least 1 image to choose")
    if isinstance(answers, str | os.PathLike):
        raise UsageError("answers are a list of files; write [FILE]")
    if output is not None and Path(output).suffix.lower() != ".csv":
        raise UsageError(f"{output} is no name of a CSV file; let it end in .csv")
    if output is not None and os.path.lexists(output) and not force:
        raise OutputExistsError(f"{output} exists; name another file, or use --force (force=True) to replace it")
    opened = open_target(target, label_column=label_column)
    if opened.target_type not in ("class", "none"):
        raise LabelsError(f"what to label next is known of classes, and the labels are of type {opened.target_type!r}")
    [named] = tables_of(opened, as_requests(model), open_store(store), progress=progress).named
    table = named.table
    y = _labels(table, [read_answers(file, set(table.keys)) for file in answers])
    tested = np.zeros(len(table), np.bool_) if table.split is None else is_test(table.split.tolist())
    labelled, open_rows = np.flatnonzero((y != "") & ~tested), np.flatnonzero((y == "") & ~tested)
    if not len(open_rows):
        raise LabelsError(f"{named.name}: each of the {len(table)} images has a label or is of the test split")
    notes: list[str] = []
    candidates = _without_copies(table, labelled, open_rows)
    if len(candidates) > MOST_CANDIDATES:
        drawn = np.random.default_rng(random_state).permutation(candidates)[:MOST_CANDIDATES]
        notes.append(
            f"of {len(candidates)} images without a label {MOST_CANDIDATES} were drawn at random and looked at"
        )
        candidates = np.sort(drawn)
    rows = np.union1d(labelled, candidates)
    X, few = in_few_directions(table[rows].X), y[rows]
    choices, strategy = choose(X, few, np.searchsorted(rows, candidates), budget, random_state=random_state)
    expected = outlook(X[few != ""], few[few != ""], budget)
    result = LabelResult(
        chosen=[ChosenImage(table.keys[int(rows[one.row])], one.reason) for one in choices],
        model=named.name,
        labelled=len(labelled),
        unlabelled=len(open_rows),
        classes=np.unique(y[labelled]).tolist(),
        strategy=strategy,
        accuracy=None if expected is None else expected.accuracy,
        gain=None if expected is None else expected.gain,
        gain_interval=None if expected is None else expected.interval,
        output=None if output is None else str(output),
        notes=notes,
        skipped=[Skipped(failure.key, failure.reason) for failure in table.failures],
        origin=origin_of(
            "label",
            {
                "target": target,
                "model": model,
                "budget": budget,
                "answers": [os.fspath(file) for file in answers] or None,
                "output": output,
                "label_column": label_column,
                "random_state": random_state,
            },
            {data_name(named): [named]},
            seeds=[random_state],
        ),
    )
    if output is not None:
        lines = [["path", "label", "reason"], *(list(row.values()) for row in result.table())]
        commit_to(Path(output), [csv_text(lines, line_end="\n").encode("utf-8", "surrogateescape")], sealed=False)
    return result


def _labels(table: FeatureTable, answers: list[dict[str, str]]) -> npt.NDArray[Any]:
    """Return the label of each row, "" where there is none; answers before the table's own."""
    given: list[str] = [""] * len(table) if table.y is None else [str(one) for one in table.y.tolist()]
    merged: dict[str, str] = {}
    for one in answers:
        merged |= one
    return np.array([merged.get(key, own) for key, own in zip(table.keys, given, strict=True)], dtype=np.str_)


def _without_copies(
    table: FeatureTable, labelled: npt.NDArray[np.intp], rows: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Return rows whose bytes neither a labelled row nor an earlier one has."""
    seen = {table.digests[row].tobytes() for row in labelled}
    kept: list[int] = []
    for row in cast(list[int], rows.tolist()):
        digest = table.digests[row].tobytes()
        if digest not in seen:
            seen.add(digest)
            kept.append(row)
    return np.array(kept, np.intp)
