"""finetune: whether more than the frozen features pays, rung after rung, on the same rows as a probe.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embedkit.backbones import FeatureRequest, as_requests
from embedkit.errors import LabelsError, OutputExistsError, UsageError
from embedkit.evaluation import Task, labels_of, mcnemar_test, share_interval, tasks_of, validation_rows
from embedkit.extraction import Progress
from embedkit.render import p_text
from embedkit.results import Attempt, FineTuneReport, RungResult
from embedkit.results import Rows as TestedRows
from embedkit.tables import FeatureTable
from embedkit.workflows.origins import data_name, origin_of
from embedkit.workflows.reading import read_line
from embedkit.workflows.targets import images_in_order, open_store, open_target, request_of, tables_of

if TYPE_CHECKING:
    from embedkit.adaptation import Climbed, Rung, Trial, TuningSettings

_SIGNIFICANT = 0.05


def finetune(
    target: Any,
    model: str | FeatureRequest | None = None,
    *,
    until: Rung = "cached",
    settings: TuningSettings | None = None,
    output: str | os.PathLike[str] | None = None,
    label_column: str | None = None,
    drop_unlabelled: bool = False,
    store: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> FineTuneReport:
    """Climb from a classifier on frozen features to tuned blocks, and test each rung against the one below.

    The rows are those of `probe` by its protocol ``"quick"``: what is tried is compared on the validation split, or on
    a stratified part of the training rows; the numbers come from the test split. Without splits, one of five folds is
    tested.

    Parameters
    ----------
    target : path, or sequence of images
        A feature file, or a source of images; with one class an image.
    model : str or FeatureRequest, optional
        For a source of images, by default the bundled backbone; not allowed for a feature file. Blocks are tuned of
        timm's vision transformers and EfficientNets.
    until : {"frozen", "head", "cached", "lora", "bias", "gradual", "full"}
        The highest rung: the classifier on frozen features; the same trained on by AdamW; the last blocks on cached
        maps of the blocks before; of these blocks only what LoRA adds; their biases alone; one block after the other;
        the whole network from pixels.
    settings : TuningSettings, optional
        What is tried, and for how long.
    output : path, optional
        Where the weights of the tuned network are written, ``.safetensors``; only where blocks are tuned.
    label_column : str, optional
        The column that holds the labels.
    drop_unlabelled : bool
        Leave rows without a label out, and say how many; else they are an error.
    store : path, optional
        The folder of the store; by default the user's. It keeps the maps, which are large.
    force : bool
        Replace `output`.
    progress : callable, optional

    Returns
    -------
    FineTuneReport

    Raises
    ------
    AdaptationError
        The network cannot be taken apart, the disk is too small for the maps, or tuning diverges.
    ProbeError
        Labels or splits do not allow an answer.

    Examples
    --------
    >>> report = finetune("photos/", "vit_tiny_patch16_224", output="tuned.safetensors")  # doctest: +SKIP
    >>> report.recommended  # doctest: +SKIP
    'cached'
    """
    from embedkit.adaptation import Problem, TuningSettings, check_tunable, climb_ladder, recommended, write_weights

    chosen = settings or TuningSettings()
    requests = as_requests(model)
    if len(requests) > 1:
        raise UsageError(f"{len(requests)} models are named; a ladder is of one")
    if output is not None:
        _check_output(output, until, force)
    feature_store = open_store(store)
    opened = open_target(target, label_column=label_column, drop_unlabelled=drop_unlabelled)
    if opened.target_type != "class":
        raise LabelsError(
            f"{opened.name} has labels of the kind {opened.target_type!r}, and tuning takes one class an image: name "
            "a column of classes by --label-column (label_column=...)"
        )
    asked = requests[0] if requests else request_of(opened)
    _check_plain(asked)
    if not (requests and opened.table is not None):  # `tables_of` refuses both together
        check_tunable(asked, until, chosen)
    tables = tables_of(opened, requests, feature_store, progress=progress)
    named = tables.named[0]
    table = named.table
    task = tasks_of(table, random_state=chosen.random_state, scored=False)[0]
    split, labels = task.split, labels_of(table)
    declared = np.zeros(0, np.intp) if table.split is None else validation_rows(table.split.tolist())
    problem = Problem(
        y=labels.targets,
        classes=len(labels.classes),
        fit=split.fit,
        select=split.select,
        beside=np.setdiff1d(declared, split.train),
    )
    ladder = climb_ladder(
        task.features.take(np.arange(len(table))),
        problem,
        split.test,
        images_in_order(opened, table, feature_store),
        asked,
        feature_store,
        until=until,
        settings=chosen,
        weights=table.spec.backbone.weights,
        progress=progress,
    )
    rungs = _results(ladder.rungs, table, task)
    notes = [*_split_notes(split.notes, len(problem.beside)), *ladder.notes, *_losses(rungs)]
    written: str | None = None
    if output is not None and ladder.tail is not None:
        written = str(write_weights(ladder.tail, output, force=force))
    elif output is not None:
        notes.append(f"{output} is not written: no block was tuned")
    if table.split is None:
        notes.append("without splits one fold of five is tested; a tuning of each would take five times as long")
    data = data_name(named)
    return FineTuneReport(
        rungs=rungs,
        recommended=recommended([one.tuned for one in ladder.rungs]).rung,
        output=written,
        model=named.name,
        data=data,
        n_train=len(problem.train),
        n_test=len(split.test),
        classes=problem.classes,
        selected_on=split.selected_on + (f" and {len(problem.beside)} of validation" if len(problem.beside) else ""),
        reported_on=split.reported_on,
        views=chosen.views if ladder.maps_bytes else 0,
        maps_bytes=ladder.maps_bytes,
        prefix_passes=ladder.prefix_passes,
        prefix_seconds=ladder.prefix_seconds,
        skipped=tables.skipped,
        read=[read_line(opened)],
        notes=notes,
        origin=origin_of(
            "finetune",
            {
                "target": target,
                "model": model,
                "until": until,
                **{name: getattr(chosen, name) for name in TuningSettings.__slots__},
                "output": output,
                "label_column": label_column,
                "drop_unlabelled": drop_unlabelled or None,
            },
            {data: [named]},
            seeds=[chosen.random_state],
        ),
    )


def _split_notes(notes: Sequence[str], beside: int) -> list[str]:
    """Say what becomes of a validation split that lacks a class: here it compares, where a probe leaves it out."""
    if not beside:
        return list(notes)
    said = f"the validation split ({beside} images) lacks classes: it compares what is tried, and chooses no C"
    return [said if " is not used: it lacks " in note else note for note in notes]


def _losses(rungs: Sequence[RungResult]) -> list[str]:
    """Name the rungs that the tested rows show to be worse than the one below, whatever validation rows said."""
    return [
        f"{one.rung} is worse than {below.rung} on the tested images: {100 * (one.value - below.value):+.1f} points, "
        f"{p_text(one.p)}; validation rows did not foresee it"
        for below, one in pairwise(rungs)
        if one.p is not None and one.p < _SIGNIFICANT and one.value < below.value
    ]


def _check_output(output: str | os.PathLike[str], until: str, force: bool) -> None:
    path = Path(output)
    if until in ("frozen", "head"):
        raise UsageError(f"a file of weights is of tuned blocks, and {until} tunes none: leave it out, or use cached")
    if path.suffix != ".safetensors":
        raise UsageError(f"{path} ends in {path.suffix!r}, expected .safetensors")
    if path.exists() and not force:
        raise OutputExistsError(f"{path} exists; name another file, or use --force (force=True) to replace it")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder {path.absolute().parent} does not exist; create it first")


def _check_plain(request: FeatureRequest) -> None:
    if request.outputs != ((None, "auto"),):
        raise UsageError(
            f"the features are of layer {request.layer} with pool {request.pool}, and tuning starts from the model's "
            "own output: leave layer and pool out"
        )


def _attempt(trial: Trial) -> Attempt:
    return Attempt(**{one.name: getattr(trial, one.name) for one in dataclasses.fields(Attempt)})


def _results(climbed: list[Climbed], table: FeatureTable, task: Task) -> list[RungResult]:
    test, y = task.split.test, task.labels.targets
    results: list[RungResult] = []
    below: Any = None
    for one in climbed:
        tuned, predicted = one.tuned, one.logits.argmax(axis=1)
        right = predicted == y[test]
        shifted = np.exp(one.logits.astype(np.float64) - one.logits.max(axis=1, keepdims=True))
        rows = TestedRows(
            keys=[table.keys[row] for row in test.tolist()],
            y_true=task.labels.classes[y[test]],
            y_pred=task.labels.classes[predicted],
            scores=shifted / shifted.sum(axis=1, keepdims=True),
            probabilities=True,
            classes=task.labels.classes.tolist(),
            fold=np.zeros(len(test), np.int64),
        )
        results.append(
            RungResult(
                rung=tuned.rung,
                value=float(right.mean()),
                interval=share_interval(int(right.sum()), len(right)),
                p=None if below is None else mcnemar_test(right, below).p_value,
                validation=tuned.validation,
                validation_loss=tuned.kept.loss,
                depth=tuned.depth,
                supported=tuned.supported,
                seconds=tuned.seconds,
                cpu_seconds=tuned.cpu_seconds,
                peak_bytes=tuned.peak_bytes,
                trained_parameters=tuned.parameters,
                chosen=None if tuned.trial is None else _attempt(tuned.trial),
                attempts=[_attempt(trial) for trial in tuned.trials],
                rows=rows,
            )
        )
        below = right
    return results
