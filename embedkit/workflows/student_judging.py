"""What a student is worth: beside pixels, its teacher and itself with random weights, on labelled data.

Layer: workflows; imports everything below, never click.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedkit.backbones import FeatureRequest, licence_of, load_backbone
from embedkit.errors import LabelsError, UsageError
from embedkit.evaluation import is_test, mcnemar_test
from embedkit.extraction import Progress, image_digests
from embedkit.images import ImageSource
from embedkit.probes import run_protocol
from embedkit.results import StudentJudged
from embedkit.store import FeatureStore
from embedkit.workflows.duplicated import search_for_duplicates
from embedkit.workflows.origins import data_titles
from embedkit.workflows.student_task import Classifier
from embedkit.workflows.targets import Target, open_target, tables_of

_FLOOR = "pixels32"
_PASSES = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JudgedData:
    """A labelled data set, and what it is called."""

    name: str
    target: Target
    source: ImageSource


def open_judged(targets: Sequence[Any], classifier: Classifier | None) -> list[JudgedData]:
    """Open the data that a student is judged on.

    Raises
    ------
    LabelsError
        They have no classes, and there is no classifier whose answers can be compared without.
    """
    opened = [open_target(target) for target in targets]
    for one in opened:
        if one.images is None:
            raise UsageError(f"{one.name} is a feature file of one model; name the images, for each network sees them")
        if one.target_type != "class" and (classifier is None or one.target_type != "none"):
            raise LabelsError(
                f"{one.name} has labels of the kind {one.target_type!r}, and a student is judged on one class an "
                "image: name other data to evaluate on, or none"
            )
    titles = data_titles(list(dict.fromkeys(one.name for one in opened)))
    return [
        JudgedData(name=titles[one.name], target=one, source=one.images) for one in opened if one.images is not None
    ]


def tested_digests(judged: Sequence[JudgedData], store: FeatureStore) -> npt.NDArray[np.uint8]:
    """Return the digests of the rows that a split calls test, uint8 (n, 32): these are not trained on."""
    found: list[npt.NDArray[np.uint8]] = [np.zeros((0, 32), np.uint8)]
    for one in judged:
        if one.source.split is not None:
            found.append(image_digests(one.source, store)[is_test(one.source.split)])
    return np.concatenate(found)


def judge_student(
    judged: Sequence[JudgedData],
    teacher: FeatureRequest,
    student: FeatureRequest,
    trained: npt.NDArray[np.uint8],
    store: FeatureStore,
    *,
    start: FeatureRequest | None = None,
    seed: int,
    progress: Progress | None,
) -> list[StudentJudged]:
    """Compare on each data set that has labels.

    Parameters
    ----------
    judged : sequence of JudgedData
    teacher, student : FeatureRequest
    trained : uint8 (n, 32)
        Digests of the images trained on.
    store : FeatureStore
    start : FeatureRequest, optional
        The student before it was taught, where that had trained weights.
    seed : int
    progress : callable, optional
    """
    requests = [FeatureRequest(_FLOOR), teacher, student, dataclasses.replace(student, weights="random")]
    requests += [] if start is None else [start]
    known = {one.tobytes() for one in trained}
    found: list[StudentJudged] = []
    for data in judged:
        if data.target.target_type != "class":
            continue
        tables = tables_of(data.target, requests, store, progress=progress).named
        options: dict[str, Any] = {"estimator": "logistic", "random_state": seed}
        options["duplicates"] = search_for_duplicates(tables, random_state=seed).found
        runs = [run_protocol("quick", one.table, model=one.name, **options) for one in tables]
        pixels, of_teacher, of_student, of_random, *of_start = (run.result.value for run in runs)
        gain = of_teacher - pixels
        named = [one.per_image == 1 for one in runs]
        found.append(
            StudentJudged(
                data=data.name,
                trained_on=any(digest.tobytes() in known for digest in tables[0].table.digests),
                pixels=pixels,
                teacher=of_teacher,
                student=of_student,
                random=of_random,
                interval=runs[2].result.interval,
                retained=(of_student - pixels) / gain if gain > 0 else None,
                p=mcnemar_test(named[2], named[3]).p_value,
                n_test=runs[2].result.n_test,
                reported_on=runs[2].result.reported_on,
                start=of_start[0] if of_start else None,
                start_retained=(of_start[0] - pixels) / gain if of_start and gain > 0 else None,
                start_p=mcnemar_test(named[2], named[4]).p_value if of_start else None,
            )
        )
    return found


def pace(request: FeatureRequest) -> float:
    """Return the images a second of a network alone, on one core, by torch in fp32: the best of some batches."""
    backbone = load_backbone(dataclasses.replace(request, engine="torch", precision="fp32", device="cpu"))
    pixels = np.zeros((backbone.batch_size, 3, *backbone.preprocess.input_size), np.uint8)
    seconds: list[float] = []
    for _ in range(_PASSES):
        began = time.perf_counter()
        backbone(pixels)
        seconds.append(time.perf_counter() - began)
    return len(pixels) / min(seconds)


def licence(request: FeatureRequest) -> str:
    """Say under which licence a model's weights are, as far as timm knows them."""
    said = licence_of(str(request.model))
    if request.weights_file is not None:
        return f"of a file, unknown ({said} are timm's own)" if said else "of a file, unknown"
    return said or "unknown"
